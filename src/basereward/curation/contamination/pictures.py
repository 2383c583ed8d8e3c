"""Which rows show the images of benchmark items, one by one: equal, re-encoded, framed, mirrored or cropped."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from basereward.curation.fingerprints.image import NO_HASH, near_hashes
from basereward.curation.fingerprints.looks import ITEM_LOOKS, ROW_LOOKS, Look, differs_in_one_place, looks_same, shrink
from basereward.curation.fingerprints.lookup import distinct_pairs, join
from basereward.data.images import load_image

# Of an item's images so many have to be among those of a row: of one to four all, of a video's frames most.
SHOWN_SHARE = 0.8


class Pictures(NamedTuple):
    """Images of rows or of items: a table of ``pictures_type``, and what opens the image of one of its entries."""

    table: np.ndarray
    open: Callable[[np.void], Any]


class RowItems(NamedTuple):
    """Places of rows, and of items beside them."""

    rows: np.ndarray
    items: np.ndarray


class Shown(NamedTuple):
    """Rows and items whose images are the same, and those whose images only look alike."""

    same: RowItems
    alike: RowItems


class _Near(NamedTuple):
    """Numbers of pictures of rows and of items whose looks have near hashes, and which looks."""

    own: np.ndarray
    theirs: np.ndarray
    own_look: np.ndarray
    their_look: np.ndarray


def find_pictures(own: Pictures, theirs: Pictures, counts: np.ndarray) -> Shown:
    """Return which rows show the images of which items.

    Hashes that are near each other are candidates; they count as the same if ``looks_same`` finds one of their looks
    so, and else as alike: a corner cut off, a rotation, or another drawing of the same template.

    Args:
        own: pictures of rows, with the hashes of ``ROW_LOOKS``.
        theirs: pictures of items, with the hashes of ``ITEM_LOOKS``.
        counts: number of images of each item.
    """
    # Many rows show the same picture: it is compared once.
    mine, my_first, my_number = np.unique(own.table["exact"], return_index=True, return_inverse=True)
    known, their_first, their_number = np.unique(theirs.table["exact"], return_index=True, return_inverse=True)
    near = _near(own.table["looks"][my_first], theirs.table["looks"][their_first])
    near = _Near(*(values[mine[near.own] != known[near.theirs]] for values in near))
    is_same = _confirm(near, own._replace(table=own.table[my_first]), theirs._replace(table=theirs.table[their_first]))
    numbers = my_number.reshape(-1), their_number.reshape(-1)
    found = []
    for also in (is_same, np.ones(len(is_same), dtype=bool)):
        pairs = [
            np.concatenate(side) for side in zip(join(mine, known), (near.own[also], near.theirs[also]), strict=True)
        ]
        found.append(_row_items(own.table, theirs.table, numbers, pairs, counts))
    same, either = found
    is_new = ~np.isin(_codes(*either), _codes(*same))
    return Shown(same, RowItems(either.rows[is_new], either.items[is_new]))


def _codes(rows: np.ndarray, items: np.ndarray) -> np.ndarray:
    return rows.astype(np.int64) << 32 | items


def _near(own: np.ndarray, theirs: np.ndarray) -> _Near:
    """Return the pictures whose hashes are near; ``own`` and ``theirs`` have a column for each look."""
    mine, known = own.reshape(-1), theirs.reshape(-1)
    queries, entries = (np.unique(hashes[hashes != NO_HASH]) for hashes in (mine, known))
    found = near_hashes(queries, entries)
    left = join(queries[found.queries], mine)
    right = join(entries[found.entries][left.values], known)
    own_number, own_look = np.divmod(left.keys[right.values], own.shape[1])
    their_number, their_look = np.divmod(right.keys, theirs.shape[1])
    return _Near(own_number, their_number, own_look, their_look)


def _confirm(near: _Near, own: Pictures, theirs: Pictures) -> np.ndarray:
    """Return which near pictures are the same in one of their looks."""

    @lru_cache(maxsize=4)
    def mine(number: int) -> Image.Image:
        return load_image(own.open(own.table[number]))

    @lru_cache(maxsize=8)
    def known(number: int) -> Image.Image:
        return load_image(theirs.open(theirs.table[number]))

    @lru_cache(maxsize=1)
    def is_other(left: int, right: int) -> bool:
        return differs_in_one_place(mine(left), known(right))

    @lru_cache(maxsize=64)
    def known_look(number: int, look: Look) -> Image.Image:
        return shrink(look.of(known(number)))

    is_same = np.zeros(len(near.own), dtype=bool)
    confirmed: set[tuple[int, int]] = set()
    order = np.lexsort((near.their_look, near.own_look, near.theirs, near.own))
    for place in order.tolist():
        left, right = int(near.own[place]), int(near.theirs[place])
        if (left, right) not in confirmed:
            # Cut at its edges such a pair may seem the same.
            if is_other(left, right):
                continue
            seen = shrink(ROW_LOOKS[near.own_look[place]].of(mine(left)))
            if not looks_same(seen, known_look(right, ITEM_LOOKS[near.their_look[place]])):
                continue
            confirmed.add((left, right))
        is_same[place] = True
    return is_same


def _row_items(
    own: np.ndarray,
    theirs: np.ndarray,
    numbers: tuple[np.ndarray, np.ndarray],
    pairs: list[np.ndarray],
    counts: np.ndarray,
) -> RowItems:
    """Return the rows that show enough of an item's images, from the pairs of pictures that are the same."""
    pairs = list(distinct_pairs(*pairs))
    left = join(pairs[0], numbers[0])
    right = join(pairs[1][left.values], numbers[1])
    row, entry = own["owner"][left.keys[right.values]], theirs[right.keys]
    codes, _ = distinct_pairs(_codes(row, entry["owner"]), entry["place"])
    codes, shown = np.unique(codes, return_counts=True)
    items = codes & 0xFFFFFFFF
    is_enough = shown >= np.ceil(SHOWN_SHARE * counts[items])
    return RowItems(codes[is_enough] >> 32, items[is_enough])
