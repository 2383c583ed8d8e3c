"""Which groups go together: costs known from lengths, and their balanced split into micro-batches."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from basereward.encoding.template import GroupLength


@dataclass(frozen=True, slots=True)
class CostModel:
    """Computing cost of a group, in units of one text token through the linear layers.

    ``cost = tokens + attention * (attended pairs) + image * (image tokens)``

    Args:
        attention: cost of one query attending to one key, relative to a token.
        image: additional cost of one image token in the vision tower, relative to a token.
    """

    attention: float = 0.0
    image: float = 0.0

    def of(self, length: GroupLength) -> float:
        """Return the cost of one group computed as a tree."""
        prefix = length.prefix
        attended = prefix * prefix / 2 + sum(size * (prefix + size / 2) for size in length.suffixes)
        return length.total + self.attention * attended + self.image * length.image_tokens


def fill_rows(sizes: Sequence[int], cap: int) -> list[list[int]]:
    """Put items into rows of at most ``cap``, those of similar size together; a larger item gets a row of its own.

    Returns:
        Item indices of each row.
    """
    rows: list[list[int]] = []
    filled = 0
    for item in sorted(range(len(sizes)), key=lambda item: sizes[item]):
        if not rows or filled + sizes[item] > cap:
            rows.append([])
            filled = 0
        rows[-1].append(item)
        filled += sizes[item]
    return rows


def balanced_bins(costs: Sequence[float], bins: int) -> list[list[int]]:
    """Split items into bins of nearly equal cost: the dearest first, each into the cheapest bin so far.

    Returns:
        Item indices per bin, the dearest bin first; no bin is empty if there are at least ``bins`` items.
    """
    order = sorted(range(len(costs)), key=lambda item: (-costs[item], item))
    heap = [(0.0, 0, number) for number in range(bins)]
    members: list[list[int]] = [[] for _ in range(bins)]
    for item in order:
        load, count, number = heapq.heappop(heap)
        members[number].append(item)
        heapq.heappush(heap, (load + costs[item], count + 1, number))
    return sorted(members, key=lambda own: -sum(costs[item] for item in own))
