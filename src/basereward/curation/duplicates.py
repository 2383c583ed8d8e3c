"""Duplicates: rows that repeat an earlier one exactly, but for case and punctuation, or but for a few words."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import datasets
import numpy as np
from PIL import Image

from basereward.curation.fingerprints.decisive import decisive
from basereward.curation.fingerprints.features import Features, pair_texts
from basereward.curation.fingerprints.image import NO_HASH
from basereward.curation.fingerprints.looks import is_copy
from basereward.curation.fingerprints.near import PICTURE_BITS, Candidates, candidates_within
from basereward.curation.fingerprints.text import count_shared, shingle_sets
from basereward.data.images import load_image
from basereward.data.places import iterate_rows
from basereward.data.rows import row_images
from basereward.data.validation import parse_row

# One word in ten replaced leaves at least 0.53 of the word triples of a long text. A part of a pair has fewer words and
# so may have more than its share of the edits; a response of its own has hardly any triple of another one.
NEAR, PART_NEAR = 0.5, 0.25
# Shingles of a part of 8 words; one of fewer has to be equal: "Yes, the statement is true." and "No, it is false."
SHORT = 6
# Candidates whose texts are held in memory at once.
_BLOCK = 20_000


class Repeats(NamedTuple):
    """Rows that repeat another one, and for each the row that it repeats."""

    rows: np.ndarray
    originals: np.ndarray


def exact_duplicates(features: Features, kept: np.ndarray) -> Repeats:
    """Return the kept rows whose images and normalised texts an earlier one has.

    Args:
        kept: numbers of rows that rise, shape (n,).
    """
    content = features.content[kept]
    _, first, group = np.unique(content, return_index=True, return_inverse=True)
    originals = first[group.reshape(-1)]
    is_repeat = originals != np.arange(len(kept))
    return Repeats(kept[is_repeat], kept[originals[is_repeat]])


def near_duplicates(features: Features, kept: np.ndarray, rows: datasets.Dataset, threshold: float = NEAR) -> Repeats:
    """Return the kept rows whose prompt, chosen and rejected are nearly those of an earlier row that stays.

    Candidates agree in a band of the signatures of their whole texts. They are near if each of prompt, chosen and
    rejected has a Jaccard similarity of word triples of at least ``PART_NEAR``, all three together at least
    ``threshold``, and nothing decides between them (``decisive``). So pairs that share a prompt and one response, and
    the two responses of one pair, are no duplicates, however long what they share. Parts of few words have to be equal,
    and so have the prompts of rows with images: another word asks for something else in the same picture.
    Images are equal, or as many, the first of like hashes, and copies of each other pixel by pixel.

    Args:
        kept: numbers of rows that rise, shape (n,).
    """
    is_shown = features.images[kept] > 0
    asked = np.where(is_shown, features.question[kept], np.uint64(0))
    places = candidates_within(features.signature[kept], threshold, features.picture[kept], asked)
    pairs = Candidates(kept[places.first], kept[places.second])
    pairs = Candidates(*(side[_may_show_same(features, *pairs)] for side in pairs))
    # By the later row, then by the earlier one: whether a row stays is known before it is asked for as an original.
    order = np.lexsort((pairs.first, pairs.second))
    originals: dict[int, int] = {}
    shown = _Shown(features, rows)
    for start in range(0, len(order), _BLOCK):
        block = [side[order[start : start + _BLOCK]] for side in pairs]
        numbers = np.unique(np.concatenate(block))
        parts = dict(zip(numbers.tolist(), _parts(rows, numbers), strict=True))
        for first, second in zip(*(side.tolist() for side in block), strict=True):
            # Only a row that stays makes another one superfluous, so a chain of small edits keeps its ends.
            if first in originals or second in originals:
                continue
            if _is_near(parts[first], parts[second], threshold) and shown.same(first, second):
                originals[second] = first
    return Repeats(np.array(list(originals), dtype=np.int64), np.array(list(originals.values()), dtype=np.int64))


class _Part(NamedTuple):
    """The shingles of prompt, chosen or rejected, and the text."""

    shingles: np.ndarray
    text: str


class _Shown:
    """The images of rows, decoded where hashes do not tell; those of the last few rows are kept."""

    def __init__(self, features: Features, rows: datasets.Dataset) -> None:
        self._features, self._rows = features, rows.select_columns(["images", "videos"])
        self._load = lru_cache(maxsize=8)(self._read)

    def same(self, first: int, second: int) -> bool:
        """Return whether two rows show equal images, or copies of the same ones."""
        if self._features.image[first] == self._features.image[second]:
            return True
        return all(is_copy(left, right) for left, right in zip(self._load(first), self._load(second), strict=True))

    def _read(self, number: int) -> list[Image.Image]:
        return [load_image(image) for row in iterate_rows(self._rows.select([number])) for image in row_images(row)]


def _may_show_same(features: Features, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    is_equal = features.image[first] == features.image[second]
    left, right = features.picture[first], features.picture[second]
    is_like = (left != NO_HASH) & (right != NO_HASH) & (np.bitwise_count(left ^ right) <= PICTURE_BITS)
    return is_equal | (is_like & (features.images[first] == features.images[second]))


def _parts(rows: datasets.Dataset, numbers: np.ndarray) -> Iterator[tuple[_Part, ...]]:
    """Yield the parts of each row: prompt, chosen and rejected."""
    found = zip(numbers.tolist(), iterate_rows(rows.select(numbers)), strict=True)
    texts = [text for number, row in found for text in pair_texts(parse_row(row, number))]
    parts = map(_Part, shingle_sets(texts), texts)
    yield from zip(parts, parts, parts, strict=True)


def _is_near(first: Sequence[_Part], second: Sequence[_Part], threshold: float) -> bool:
    shared = [count_shared(left.shingles, right.shingles) for left, right in zip(first, second, strict=True)]
    sizes = [[len(part.shingles) for part in side] for side in (first, second)]
    union = [left + right - own for left, right, own in zip(*sizes, shared, strict=True)]
    if sum(shared) < threshold * sum(union):
        return False
    least = [1.0 if min(both) < SHORT else PART_NEAR for both in zip(*sizes, strict=True)]
    if not all(0 < part * size <= own for part, own, size in zip(least, shared, union, strict=True)):
        return False
    return all(decisive(left.text) == decisive(right.text) for left, right in zip(first, second, strict=True))
