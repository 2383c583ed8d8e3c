"""Which components are held out: a seeded draw that ends as close to the wanted size as their sizes allow."""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from basereward.curation.fingerprints.text import mix

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Ordered(NamedTuple):
    """Components in the order of the draw: their names and sizes, shape (components,)."""

    names: np.ndarray
    sizes: np.ndarray


def order_components(labels: np.ndarray, content: np.ndarray, seed: int) -> Ordered:
    """Return the components in an order that the seed and the content of their rows decide, and nothing else.

    Each is known by the smallest content hash among its rows. It is mixed with the seed only then: a component of many
    rows has a smaller one, and would otherwise come first.

    Args:
        labels: the component of each row, shape (n,).
        content: hash of each row's content, equal in no two components, shape (n,).
    """
    names, group, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    known = np.full(len(names), np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(known, group.reshape(-1), content)
    keys = mix(known + mix(np.array([seed], np.uint64) + _GOLDEN))
    order = np.argsort(keys, kind="stable")
    return Ordered(names[order], sizes[order])


def draw_parts(ordered: Ordered, wanted: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Return the places in ``ordered`` of the components of each part, one part after the other from what is left.

    So the first part does not depend on whether others are asked for.
    """
    left = np.arange(len(ordered.sizes))
    drawn = {}
    for part, count in wanted.items():
        taken = left[_draw(ordered.sizes[left], count)]
        left = np.setdiff1d(left, taken)
        drawn[part] = taken
    return drawn


def _draw(sizes: np.ndarray, wanted: int) -> np.ndarray:
    """Return the places of the components to take: in their order, those that still fit."""
    taken, room = [], wanted
    for place, size in enumerate(sizes.tolist()):
        if size <= room:
            taken.append(place)
            room -= size
            if not room:
                break
    if room:
        taken = _nearer(sizes, wanted, room) or taken
    return np.array(taken, dtype=np.int64)


def _nearer(sizes: np.ndarray, wanted: int, room: int) -> list[int]:
    """Return the places of components that come nearer to ``wanted`` than by ``room``; none if there are no such."""
    counts = closest_counts(Counter(sizes.tolist()), wanted)
    if abs(sum(size * count for size, count in counts.items()) - wanted) >= room:
        return []
    left = dict(counts)
    chosen = []
    for place, size in enumerate(sizes.tolist()):
        if left.get(size):
            left[size] -= 1
            chosen.append(place)
    return chosen


def closest_counts(available: Mapping[int, int], wanted: int) -> dict[int, int]:
    """Return how many components of each size come closest to ``wanted`` rows together; of two, the smaller sum.

    Sums that can be reached are the bits of one integer (bounded subset sum); as many of a size as a power of two are
    one item, so that a million components of few sizes are few items.

    Args:
        available: number of components by size.
        wanted: rows, at least 1.
    """
    limit = (1 << (2 * wanted + 1)) - 1
    reachable, items = 1, []
    for size, count in sorted(available.items()):
        left, number = min(count, 2 * wanted // size), 1
        while left:
            number = min(number, left)
            items.append((size, number, reachable))
            reachable |= (reachable << (size * number)) & limit
            left, number = left - number, 2 * number
    total = next(sum_ for gap in range(wanted + 1) for sum_ in (wanted - gap, wanted + gap) if reachable >> sum_ & 1)
    counts: Counter[int] = Counter()
    for size, number, before in reversed(items):
        # Without the item where that is possible; what stood before it reaches the rest.
        if not before >> total & 1:
            counts[size] += number
            total -= size * number
    return dict(counts)
