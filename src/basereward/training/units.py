"""The units of a step: pairs that share a prompt or an image and are computed together, cut so that ranks are balanced.

All steps are cut at once, on flat arrays. The pairs of a step lie in an order in which those that share stand together,
so that a unit is a stretch of places, and cutting it is choosing a place.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from basereward.encoding.packing import CostModel
from basereward.encoding.sharing import Further, PairSharing
from basereward.training.bundles import Grouping, stretches

# Costs are whole parts of a token: sums are then exact, and a step alone is cut as it is among all others.
PARTS = 64


class Laid(NamedTuple):
    """The pairs of steps, those that share together, with the places where each of their nodes stands before and next.

    ``before`` is -1 and ``after`` the number of places where there is none in the same step. Nodes are the opening, the
    rest of the prompt and both responses.
    """

    pairs: Int[np.ndarray, " place"]
    before: Int[np.ndarray, "place node"]
    after: Int[np.ndarray, "place node"]
    keys: Int[np.ndarray, " place"]
    size: int


class Units(NamedTuple):
    """Stretches of laid pairs that are computed together; cost in ``PARTS`` of a token."""

    laid: Laid
    starts: Int[np.ndarray, " unit"]
    ends: Int[np.ndarray, " unit"]
    costs: Int[np.ndarray, " unit"]

    @property
    def steps(self) -> Int[np.ndarray, " unit"]:
        """The step of each unit."""
        return self.starts // self.laid.size


class SharedWork:
    """What pairs cost together.

    Args:
        sharing: of all pairs.
        model: of costs.
        grouping: what units are.
        further: what each pair takes beside its tree.
    """

    def __init__(
        self,
        sharing: PairSharing,
        model: CostModel,
        grouping: Grouping,
        further: Further | None = None,
    ) -> None:
        self.sharing, self.grouping = sharing, grouping
        self.costs = np.rint(PARTS * sharing.nodes(model)).astype(np.int64)
        asked = sharing.prompt_tokens
        behind = sharing.sequence_tokens - asked[:, None]
        self.tokens = np.column_stack([sharing.opening_tokens, asked - sharing.opening_tokens, behind])
        further = further or Further(np.zeros_like(asked), np.zeros(len(asked)))
        self.further_tokens, self.further_costs = further.tokens, np.rint(PARTS * further.costs).astype(np.int64)
        self.keys = grouping.keys(sharing)
        low, high = sharing.responses.min(axis=1), sharing.responses.max(axis=1)
        # The place of each pair among all, those that share next to each other.
        self.ranks = np.empty(len(asked), dtype=np.int64)
        self.ranks[np.lexsort((high, low, sharing.prompt, self.keys))] = np.arange(len(asked))
        # Responses are told apart within a prompt alone.
        self.leaves = sharing.prompt[:, None].astype(np.int64) * (int(high.max()) + 1) + sharing.responses

    def lay(self, steps: Int[np.ndarray, "step pair"]) -> Laid:
        """Lay the pairs of steps so that those that share stand together."""
        order = np.argsort(self.ranks[steps], axis=1)
        ordered = np.take_along_axis(steps, order, axis=1)
        count, size = steps.shape
        before = np.full((count, size, 4), -1, dtype=np.int64)
        after = np.full((count, size, 4), count * size, dtype=np.int64)
        places = np.arange(count * size).reshape(count, size)
        for node, codes in enumerate((self.sharing.opening, self.sharing.prompt)):
            is_same = codes[ordered[:, 1:]] == codes[ordered[:, :-1]]
            before[:, 1:, node][is_same] = places[:, :-1][is_same]
            after[:, :-1, node][is_same] = places[:, 1:][is_same]
        # Of both sides of all pairs of a step, one behind the other: the same response may be on either side.
        leaves = self.leaves[ordered].reshape(count, 2 * size)
        alike = np.argsort(leaves, axis=1, kind="stable")
        sorted_leaves = np.take_along_axis(leaves, alike, axis=1)
        rows, at = np.nonzero(sorted_leaves[:, 1:] == sorted_leaves[:, :-1])
        first, second = alike[rows, at], alike[rows, at + 1]
        before[rows, second // 2, 2 + second % 2] = rows * size + first // 2
        after[rows, first // 2, 2 + first % 2] = rows * size + second // 2
        pairs = ordered.reshape(-1)
        return Laid(pairs, before.reshape(-1, 4), after.reshape(-1, 4), self.keys[pairs], size)

    def whole(self, laid: Laid) -> Units:
        """Return units that are not cut: all pairs of a step that share what they are drawn by."""
        starts_anew = np.append(True, laid.keys[1:] != laid.keys[:-1])
        starts_anew[:: laid.size] = True
        starts = np.flatnonzero(starts_anew)
        ends = np.append(starts[1:], len(laid.keys))
        return Units(laid, starts, ends, self._sum(laid, starts, ends, self.costs, self.further_costs))

    def measure(self, units: Units) -> Int[np.ndarray, " unit"]:
        """Return the tokens of each unit."""
        return self._sum(units.laid, units.starts, units.ends, self.tokens, self.further_tokens)

    def cut(self, steps: Int[np.ndarray, "step pair"], bins: int) -> Units:
        """Return the units of steps that are to be spread over so many bins.

        One that costs more than 4/3 of the mean load of a bin is halved; and the dearest ones are until there is one
        for each bin. What the halves share is computed twice.
        """
        units = self.whole(self.lay(steps))
        while True:
            numbers, count = units.steps, len(steps)
            loads = np.bincount(numbers, units.costs, minlength=count).astype(np.int64)
            can_halve = units.ends - units.starts > 1
            # At the mean itself halves compute so much twice that the dearest rank finishes later, not earlier.
            is_dear = can_halve & (3 * bins * units.costs > 4 * loads[numbers])
            missing = bins - np.bincount(numbers, minlength=count) - np.bincount(numbers, is_dear, minlength=count)
            chosen = is_dear | (can_halve & (_turns(units, is_dear | ~can_halve) < missing[numbers]))
            if not chosen.any():
                return units
            units = self._halve(units, chosen)

    def _halve(self, units: Units, chosen: Bool[np.ndarray, " unit"]) -> Units:
        """Cut each chosen unit where its dearer half is cheapest."""
        laid, starts, ends = units.laid, units.starts[chosen], units.ends[chosen]
        sizes = ends - starts
        places = stretches(starts, sizes)
        first, behind = np.cumsum(sizes) - sizes, np.cumsum(sizes)
        costs, further = self.costs[laid.pairs[places]], self.further_costs[laid.pairs[places]]
        # What a pair adds to those in front of it in the unit, and to those behind it.
        added = np.where(laid.before[places] < np.repeat(starts, sizes)[:, None], costs, 0).sum(axis=1) + further
        added_behind = np.where(laid.after[places] >= np.repeat(ends, sizes)[:, None], costs, 0).sum(axis=1) + further
        left, right = np.cumsum(added), np.cumsum(added_behind)
        left -= np.repeat(left[first] - added[first], sizes)
        right = np.repeat(right[behind - 1], sizes) - right
        dearer = np.maximum(left, right)
        # Behind its last pair a unit is not cut.
        dearer[behind - 1] = np.iinfo(np.int64).max
        best = np.flatnonzero(dearer == np.repeat(np.minimum.reduceat(dearer, first), sizes))
        owners = np.repeat(np.arange(len(sizes)), sizes)[best]
        at = best[np.searchsorted(owners, np.arange(len(sizes)))]
        cuts = places[at] + 1
        return _in_order(
            laid,
            np.concatenate([units.starts[~chosen], starts, cuts]),
            np.concatenate([units.ends[~chosen], cuts, ends]),
            np.concatenate([units.costs[~chosen], left[at], right[at]]),
        )

    def _sum(
        self, laid: Laid, starts: np.ndarray, ends: np.ndarray, values: np.ndarray, further: np.ndarray
    ) -> Int[np.ndarray, " unit"]:
        """Return the sum over the nodes of each unit, those that its pairs share once; units cover all places."""
        is_first = laid.before < np.repeat(starts, ends - starts)[:, None]
        added = np.where(is_first, values[laid.pairs], 0).sum(axis=1) + further[laid.pairs]
        return np.add.reduceat(added, starts)


def _turns(units: Units, is_last: Bool[np.ndarray, " unit"]) -> Int[np.ndarray, " unit"]:
    """Return the place of each unit among those of its step, from dear to cheap, with those that are last behind."""
    steps = units.steps
    turns = np.empty(len(steps), dtype=np.int64)
    order = np.lexsort((units.starts, -units.costs, is_last, steps))
    turns[order] = np.arange(len(steps)) - np.searchsorted(steps, steps)
    return turns


def _in_order(laid: Laid, starts: np.ndarray, ends: np.ndarray, costs: np.ndarray) -> Units:
    order = np.argsort(starts)
    return Units(laid, starts[order], ends[order], costs[order])
