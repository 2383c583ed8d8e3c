"""Which components are held out: a seeded draw that ends as close to the wanted size as their sizes allow."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np

from basereward.curation.fingerprints.text import mix

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Ordered(NamedTuple):
    """Components in the order of the draw: their names, sizes, and the numbers of their sets, shape (components,)."""

    names: np.ndarray
    sizes: np.ndarray
    sets: np.ndarray


def order_components(labels: np.ndarray, content: np.ndarray, seed: int, sets: np.ndarray | None = None) -> Ordered:
    """Return the components in an order that the seed and the content of their rows decide, and nothing else.

    Each is known by the smallest content hash among its rows. It is mixed with the seed only then: a component of many
    rows has a smaller one, and would otherwise come first.

    Args:
        labels: the component of each row, shape (n,).
        content: hash of each row's content, equal in no two components, shape (n,).
        sets: the number of each row's set, shape (n,); a component belongs to that of its row with the smallest hash.
    """
    names, group, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    group = group.reshape(-1)
    known = np.full(len(names), np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(known, group, content)
    owners = np.zeros(len(names), np.int64)
    if sets is not None:
        is_smallest = content == known[group]
        owners[group[is_smallest]] = sets[is_smallest]
    keys = mix(known + mix(np.array([seed], np.uint64) + _GOLDEN))
    order = np.argsort(keys, kind="stable")
    return Ordered(names[order], sizes[order], owners[order])


def draw_parts(ordered: Ordered, wanted: Mapping[str, int], even: Collection[str] = ()) -> dict[str, np.ndarray]:
    """Return the places in ``ordered`` of the components of each part, one part after the other from what is left.

    So the first part does not depend on whether others are asked for.

    Args:
        even: parts that take as many rows from each set, as far as a set has them.
    """
    left = np.arange(len(ordered.sizes))
    drawn = {}
    for part, count in wanted.items():
        sets = ordered.sets[left] if part in even else np.zeros(len(left), np.int64)
        taken = left[_draw_evenly(ordered.sizes[left], sets, count)]
        left = np.setdiff1d(left, taken)
        drawn[part] = taken
    return drawn


def _draw_evenly(sizes: np.ndarray, sets: np.ndarray, wanted: int) -> np.ndarray:
    """Return the places of the components to take, from each set its share."""
    names, group = np.unique(sets, return_inverse=True)
    places = [np.flatnonzero(group.reshape(-1) == number) for number in range(len(names))]
    taken = []
    # The smallest sets first: what they lack is shared by those that have more.
    for left, own in zip(range(len(names), 0, -1), sorted(places, key=lambda one: int(sizes[one].sum())), strict=True):
        share = min(round(wanted / left), int(sizes[own].sum()))
        chosen = own[_draw(sizes[own], share)] if share else own[:0]
        taken.append(chosen)
        wanted -= int(sizes[chosen].sum())
    return np.sort(np.concatenate(taken))


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
