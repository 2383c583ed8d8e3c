"""What ties rows together: prompts, images and their like, and the columns that name a group."""

import json
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from basereward.curation.fingerprints.features import Features
from basereward.curation.fingerprints.image import near_blocks, near_hashes
from basereward.curation.fingerprints.looks import is_copy, shrink
from basereward.curation.fingerprints.text import mix, text_hashes
from basereward.curation.split.components import Components
from basereward.curation.split.settings import SplitSettings
from basereward.data.columns import column, user_turns
from basereward.data.images import load_image
from basereward.data.places import iterate_rows
from basereward.data.rows import row_images

_BATCH_ROWS = 10_000
_BETWEEN = "\n"


class Keys(NamedTuple):
    """Keys of rows: those with an equal one are tied. ``places`` are places among the rows, one for each key."""

    places: np.ndarray
    keys: np.ndarray


class LinkKind(NamedTuple):
    """One kind of tie, and the components that it makes alone."""

    name: str
    components: Components


def find_links(
    features: Features, rows: datasets.Dataset, kept: np.ndarray, settings: SplitSettings
) -> Iterator[LinkKind]:
    """Yield each kind of tie between the rows numbered ``kept`` with what it joins.

    Rows with equal content are tied whatever is asked for, so that no pair stands on two sides.

    Args:
        kept: numbers of rows that rise, shape (n,).
    """
    count = len(kept)
    everywhere = np.arange(count)
    yield _by_keys("equal pair", count, Keys(everywhere, features.content[kept]))
    prompts = [_said(everywhere, features.question[kept]), _user_keys(rows, kept)]
    if settings.prompts == "shown":
        is_bare = features.images[kept] == 0
        prompts = [Keys(*(values[is_bare[own.places]] for values in own)) for own in prompts]
    yield _by_keys("prompt", count, *prompts)
    table = features.pictures[np.isin(features.pictures["owner"], kept)]
    owners = np.searchsorted(kept, table["owner"])
    if len(table):
        yield _by_keys("image", count, Keys(owners, table["exact"]))
        if settings.like_images != "pixels":
            yield LinkKind("like image", _like_images(table, owners, count, rows, settings.like_images == "copies"))
    for name, keys in _group_keys(rows, kept, settings.groups):
        yield _by_keys(name, count, keys)


def _by_keys(name: str, count: int, *parts: Keys) -> LinkKind:
    found = Components(count)
    for part in parts:
        found.join_equal(*part)
    return LinkKind(name, found)


def _said(places: np.ndarray, hashes: np.ndarray) -> Keys:
    """Return the keys of texts that say something: two pictures without a word are not one prompt."""
    is_said = hashes != text_hashes([""])[0]
    return Keys(places[is_said], hashes[is_said])


def _user_keys(rows: datasets.Dataset, kept: np.ndarray) -> Keys:
    """Return the keys of what the users say alone: a prompt is the same behind another system prompt."""
    prompts = rows.select_columns("prompt").with_format("arrow")
    found, start = [np.empty(0, np.uint64)], 0
    for table in prompts.select(kept).iter(batch_size=_BATCH_ROWS):
        texts: list[list[str]] = [[] for _ in range(len(table))]
        for place, text in zip(*user_turns(column(table, "prompt")), strict=True):
            texts[place].append(text)
        found.append(text_hashes([_BETWEEN.join(own) for own in texts]))
        start += len(table)
    return _said(np.arange(start), np.concatenate(found))


def _like_images(
    table: np.ndarray, owners: np.ndarray, count: int, rows: datasets.Dataset, are_compared: bool
) -> Components:
    """Return what images join whose perceptual hashes are near, the same picture of many rows taken once."""
    found = Components(count)
    _, first, number = np.unique(table["exact"], return_index=True, return_inverse=True)
    hashes = table["looks"][first, 0]
    found.join_equal(owners, number.reshape(-1))
    if are_compared:
        left, right = _copies(hashes, table[first], rows)
        found.join(owners[first[left]], owners[first[right]])
        return found
    # Of equal hashes one is looked for: drawings of one template are thousands.
    known, place = np.unique(hashes, return_index=True)
    found.join_equal(*(values[hashes != 0] for values in (owners[first], hashes)))
    for near in near_blocks(known, known):
        is_pair = near.queries < near.entries
        found.join(*(owners[first[place[side[is_pair]]]] for side in near))
    return found


def _copies(hashes: np.ndarray, table: np.ndarray, rows: datasets.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs of images with near hashes that are copies of each other, but those that others join anyway."""
    media = rows.select_columns(["images", "videos"])

    @lru_cache(maxsize=64)
    def opened(number: int) -> Image.Image:
        [row] = iterate_rows(media.select([table["owner"][number]]))
        return shrink(load_image(row_images(row)[table["place"][number]]))

    near = near_hashes(hashes, hashes)
    original = list(range(len(hashes)))
    pairs: list[tuple[int, int]] = []
    for left, right in zip(near.queries.tolist(), near.entries.tolist(), strict=True):
        # The first of several copies stands for all of them.
        first, second = _root(original, left), _root(original, right)
        if left < right and first != second and is_copy(opened(left), opened(right)):
            original[max(first, second)] = min(first, second)
            pairs.append((left, right))
    found = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _root(original: list[int], place: int) -> int:
    while original[place] != place:
        original[place] = place = original[original[place]]
    return place


def _group_keys(rows: datasets.Dataset, kept: np.ndarray, columns: Sequence[str]) -> Iterator[tuple[str, Keys]]:
    """Yield the keys of each column that names a group, for the columns that there are.

    Ids count within their source, as many sets count from 0; other columns count over all sources, as one set may lie
    in several files.
    """
    if "id" in columns:
        named = rows.select_columns(["id", "source"]).with_format("arrow").select(kept)
        hashes = [_hash_named(table) for table in named.iter(batch_size=_BATCH_ROWS)]
        yield "id", Keys(np.arange(len(kept)), np.concatenate([np.empty(0, np.uint64), *hashes]))
    others = [name for name in columns if name != "id"]
    found: dict[str, tuple[list[int], list[str]]] = {name: ([], []) for name in others}
    if not others:
        return
    # Few sets have extra columns at all; only rows that may have one of these are read as JSON.
    pattern = "|".join(re.escape(json.dumps(name, ensure_ascii=False)) for name in others)
    start = 0
    for table in rows.select_columns("extra_json").with_format("arrow").select(kept).iter(batch_size=_BATCH_ROWS):
        extras = pc.fill_null(column(table, "extra_json"), "")
        for place in np.flatnonzero(pc.match_substring_regex(extras, pattern).to_numpy(zero_copy_only=False)).tolist():
            record = json.loads(extras[place].as_py())
            for name in others:
                if (value := _group_name(record.get(name))) is not None:
                    found[name][0].append(start + place)
                    found[name][1].append(value)
        start += len(table)
    for name, (places, values) in found.items():
        if places:
            yield name, Keys(np.array(places), _exact_hashes(values))


def _hash_named(table: pa.Table) -> np.ndarray:
    ids, sources = (_exact_hashes(column(table, name).to_pylist()) for name in ("id", "source"))
    return mix(ids + mix(sources))


def _exact_hashes(values: Sequence[Any]) -> np.ndarray:
    # As they are written: names of groups are no texts, "a-1" is another one than "a 1".
    data = pa.array([str(value) for value in values], pa.string())
    encoded = pc.dictionary_encode(data)
    known = text_hashes([value.encode("utf-8", "surrogatepass").hex() for value in encoded.dictionary.to_pylist()])
    return known[encoded.indices.to_numpy(zero_copy_only=False)] if len(known) else np.empty(0, np.uint64)


def _group_name(value: Any) -> str | None:
    """Return what a column says as the name of a group, None where it says nothing; 7 and "7" are one name."""
    if value is None or isinstance(value, bool) or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, float) and value.is_integer():
        # A column of numbers with gaps becomes one of floats in some files.
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
