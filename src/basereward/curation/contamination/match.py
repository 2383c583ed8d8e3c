"""Finds the benchmark items that training pairs share content with.

Questions and responses are compared as normalised words, images by pixels and by look. A question alone is no match
where there are images: "Describe this image in detail." is the question of 410 items of VL-RewardBench.
"""

from collections.abc import Iterator
from typing import NamedTuple

import datasets
import numpy as np

from basereward.curation.contamination.asked import EQUAL, HELD, NEAR, NOT_ASKED, WITHIN, AskedQuestions, find_questions
from basereward.curation.contamination.index import Index
from basereward.curation.contamination.pictures import Pictures, RowItems, Shown, find_pictures
from basereward.curation.contamination.provenance import stored_keys
from basereward.curation.contamination.questions import HELD_SHARE, LONG_WORDS, NEAR_SIMILARITY
from basereward.curation.fingerprints.features import Features
from basereward.curation.fingerprints.image import MAX_DISTANCE
from basereward.curation.fingerprints.looks import CUTS, LOOK_MOST
from basereward.curation.fingerprints.lookup import join
from basereward.curation.fingerprints.text import mix
from basereward.data.overlap import KINDS, MatchKind
from basereward.data.places import iterate_rows
from basereward.data.rows import row_images

# A response of so many words is the item's own wherever it stands; shorter ones need the same image beside them.
OWN_WORDS = 20
METHOD = {
    "near_similarity": NEAR_SIMILARITY,
    "held_share": HELD_SHARE,
    "long_words": LONG_WORDS,
    "own_words": OWN_WORDS,
    "image_bits": MAX_DISTANCE,
    "image_difference": LOOK_MOST,
    "image_cut": CUTS[-1],
}
# What a pair is whose images are the same as the item's, by how it asks the item's question.
_KIND_OF: dict[int, MatchKind] = {
    EQUAL: "same_question",
    NEAR: "near_question",
    HELD: "contained_question",
    WITHIN: "contained_question",
    NOT_ASKED: "same_image_new_question",
}


class Matches(NamedTuple):
    """Pairs by the number of their row, the items of the index that they match, and how: a place in ``KINDS``.

    Each pair and item stand together once, with their strongest kind, sorted by row and item. Of the items that share
    nothing but the question with a pair only the first of a benchmark is named, and of such pairs for an item.
    """

    pairs: np.ndarray
    items: np.ndarray
    kinds: np.ndarray


class _Side(NamedTuple):
    """The kept rows that are compared: their numbers, responses and number of images, and the questions they ask."""

    rows: np.ndarray
    chosen: np.ndarray
    rejected: np.ndarray
    images: np.ndarray
    asked: AskedQuestions


def find_matches(features: Features, kept: np.ndarray, rows: datasets.Dataset, index: Index) -> Matches:
    """Return what the rows numbered ``kept`` of a dataset share with the items of an index.

    The result depends neither on the order of the rows nor on what else is among them.

    Args:
        kept: numbers of rows that rise, shape (n,).
    """
    asked = find_questions(rows, kept, index.questions)
    side = _Side(kept, features.chosen[kept], features.rejected[kept], features.images[kept], asked)
    shown = find_pictures(*_pictures(features, kept, rows, index), index.images)
    found = [*_by_question(side, index, shown), *_by_response(side, index, shown), _by_origin(side, rows, index)]
    pairs = kept[np.concatenate([part.rows for _, part in found])]
    items = np.concatenate([part.items for _, part in found])
    kinds = np.concatenate([np.full(len(part.rows), KINDS.index(kind), np.int8) for kind, part in found])
    return _strongest(Matches(pairs, items, kinds))


def _strongest(matches: Matches) -> Matches:
    # Kinds are numbered from the strongest, so the first of each (pair, item) is what they share most.
    order = np.lexsort((matches.kinds, matches.items, matches.pairs))
    pairs, items, kinds = (values[order] for values in matches)
    is_first = np.ones(len(pairs), dtype=bool)
    is_first[1:] = (pairs[1:] != pairs[:-1]) | (items[1:] != items[:-1])
    return Matches(pairs[is_first], items[is_first], kinds[is_first])


def _pictures(features: Features, kept: np.ndarray, rows: datasets.Dataset, index: Index) -> tuple[Pictures, Pictures]:
    """Return the pictures of the kept rows, their owners as places in ``kept``, and those of the items."""
    table = features.pictures[np.isin(features.pictures["owner"], kept)]
    table["owner"] = np.searchsorted(kept, table["owner"])
    media = rows.select_columns(["images", "videos"])

    def open_own(entry: np.void) -> object:
        [row] = iterate_rows(media.select([kept[entry["owner"]]]))
        return row_images(row)[entry["place"]]

    return Pictures(table, open_own), Pictures(
        index.pictures, lambda entry: index.image(entry["owner"], entry["place"])
    )


def _by_question(side: _Side, index: Index, shown: Shown) -> Iterator[tuple[MatchKind, RowItems]]:
    asked = index.questions.place
    how = side.asked.find(shown.same.rows, asked[shown.same.items])
    for value, kind in _KIND_OF.items():
        yield kind, _select(shown.same, how == value)
    is_asked = side.asked.find(shown.alike.rows, asked[shown.alike.items]) < NOT_ASKED
    yield "same_question_like_image", _select(shown.alike, is_asked)
    without = np.flatnonzero(index.images == 0)
    place, entry = join(side.asked.questions, asked[without])
    found, how = RowItems(side.asked.rows[place], without[entry]), side.asked.how[place]
    # A text question of many words is the item's own beside an image too.
    is_own = (side.images[found.rows] == 0) | (index.questions.sizes[asked[found.items]] >= LONG_WORDS)
    for value in (EQUAL, NEAR, HELD):
        yield _KIND_OF[value], _select(found, is_own & (how == value))
    for part in _same_questions(side.asked, index):
        yield "same_question_other_image", part


def _by_response(side: _Side, index: Index, shown: Shown) -> Iterator[tuple[MatchKind, RowItems]]:
    asked = side.asked
    of_question = index.questions.place[index.response_item]
    is_long = index.response_words >= OWN_WORDS
    # What answers several questions of a benchmark, such as a refusal, is nobody's own.
    (
        _,
        group,
    ) = np.unique(index.response, return_inverse=True)
    own = np.flatnonzero(is_long & _has_one(group.reshape(-1), of_question))
    keys = mix(index.response + mix(of_question.astype(np.uint64)))
    firm = np.flatnonzero(asked.how <= HELD)
    for response in (side.chosen, side.rejected):
        place, entry = join(mix(response[asked.rows[firm]] + mix(asked.questions[firm].astype(np.uint64))), keys)
        found = RowItems(asked.rows[firm][place], index.response_item[entry])
        yield "same_pair", _select(found, is_long[entry] | _shows_same(found, side, index, shown))
        place, entry = join(response, index.response[own])
        yield "same_response", RowItems(place, index.response_item[own][entry])


def _has_one(groups: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return of each entry whether all values of its group are equal."""
    least = np.full(groups.max(initial=-1) + 1, np.iinfo(np.int64).max)
    most = np.full_like(least, -1)
    np.minimum.at(least, groups, values)
    np.maximum.at(most, groups, values)
    return (least == most)[groups]


def _shows_same(found: RowItems, side: _Side, index: Index, shown: Shown) -> np.ndarray:
    """Return which rows and items show the same images, or none on both sides."""
    codes, known = (pairs.rows.astype(np.int64) << 32 | pairs.items for pairs in (found, shown.same))
    return np.isin(codes, known) | ((side.images[found.rows] == 0) & (index.images[found.items] == 0))


def _by_origin(side: _Side, rows: datasets.Dataset, index: Index) -> tuple[MatchKind, RowItems]:
    """Return the pairs with an id or file name of an item that ask its question."""
    named = rows.select_columns(["id", "source", "extra_json"]).with_format("arrow")
    pairs, items = [], []
    place = 0
    for table in named.select(side.rows).iter(batch_size=10_000):
        for row in table.to_pylist():
            own = {item for key in stored_keys(row) for item in index.provenance.get(key, ())}
            pairs += [place] * len(own)
            items += sorted(own)
            place += 1
    found = RowItems(np.array(pairs, dtype=np.int64), np.array(items, dtype=np.int64))
    return "provenance", _select(found, side.asked.find(found.rows, index.questions.place[found.items]) <= HELD)


def _same_questions(asked: AskedQuestions, index: Index) -> Iterator[RowItems]:
    """Yield, for each benchmark, each pair with the first item of its question, and each item with the first pair."""
    is_equal = asked.how == EQUAL
    rows, wanted = asked.rows[is_equal], asked.questions[is_equal]
    questions, first_rows = np.unique(wanted, return_index=True)
    for code in range(len(index.names)):
        own = np.flatnonzero(index.benchmark == code)
        known, first_items = np.unique(index.questions.place[own], return_index=True)
        pairs = join(wanted, known)
        yield RowItems(rows[pairs.values], own[first_items[pairs.keys]])
        items = join(index.questions.place[own], questions)
        yield RowItems(rows[first_rows[items.keys]], own[items.values])


def _select(found: RowItems, mask: np.ndarray) -> RowItems:
    return RowItems(found.rows[mask], found.items[mask])
