"""A table of 64-bit keys that millions of values are looked up in, most of which are not there."""

from typing import NamedTuple

import numpy as np

# Bits of the filter for each key: of values that are no key about one in sixteen passes it.
_SPARSE_BITS, _MOST_BITS = 4, 24


class Spans(NamedTuple):
    """All places of several segments, one segment after the other, and the segment of each place."""

    owners: np.ndarray
    places: np.ndarray


def spans(starts: np.ndarray, sizes: np.ndarray) -> Spans:
    """Return the places ``start .. start + size`` of every segment."""
    ends = np.cumsum(sizes)
    offsets = np.repeat(starts - (ends - sizes), sizes)
    return Spans(np.repeat(np.arange(len(sizes)), sizes), np.arange(len(offsets)) + offsets)


class Joined(NamedTuple):
    """Places of values, and of the keys that they equal."""

    values: np.ndarray
    keys: np.ndarray


class Lookup:
    """Finds all keys that a value equals; keys and values are hashes, spread over all 64 bits."""

    def __init__(self, keys: np.ndarray) -> None:
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]
        bits = min(len(keys).bit_length() + _SPARSE_BITS, _MOST_BITS)
        self._shift = np.uint64(64 - bits)
        # One gather in a table that fits in the cache, instead of a search, for what no key begins like.
        self._begins = np.zeros(1 << bits, dtype=bool)
        self._begins[keys >> self._shift] = True

    def find(self, values: np.ndarray) -> Joined:
        """Return every value and key that are equal, by the places of the values."""
        likely = np.flatnonzero(self._begins[values >> self._shift])
        found = _find_sorted(values[likely], self._keys, self._order)
        return Joined(likely[found.values], found.keys)


def join(left: np.ndarray, right: np.ndarray) -> Joined:
    """Return all places of equal values in two arrays."""
    order = np.argsort(right, kind="stable")
    return _find_sorted(left, right[order], order)


def _find_sorted(values: np.ndarray, keys: np.ndarray, order: np.ndarray) -> Joined:
    low, high = (np.searchsorted(keys, values, side) for side in ("left", "right"))
    found = spans(low, high - low)
    return Joined(found.owners, order[found.places])


def distinct_pairs(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct pairs of two columns, sorted."""
    order = np.lexsort((second, first))
    first, second = first[order], second[order]
    is_new = np.ones(len(order), dtype=bool)
    is_new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return first[is_new], second[is_new]
