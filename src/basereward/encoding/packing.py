"""Which groups go together: costs known from lengths, and their balanced split into micro-batches."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np

from basereward.encoding.groups import EncodedGroup, GroupLength
from basereward.encoding.tree import common_length

Count = TypeVar("Count", int | float, np.ndarray)


class NodeLength(NamedTuple):
    """Tokens of a node of a tree, and those of all nodes above it."""

    own: int
    above: int


class TreeLength(NamedTuple):
    """Sizes of a tree of any depth, and the tokens of the images that are computed for it."""

    nodes: tuple[NodeLength, ...]
    images: tuple[int, ...]

    @property
    def total(self) -> int:
        """Tokens computed for the tree."""
        return sum(node.own for node in self.nodes)

    @property
    def image_tokens(self) -> int:
        """Tokens of all images."""
        return sum(self.images)


class GroupSizes(NamedTuple):
    """What the cost of a group is made of: numbers of one, or arrays of shape (groups,).

    Args:
        prefix: tokens that all responses share.
        suffixes: tokens of all responses.
        squares: of the tokens of each response, summed.
        longest: tokens of the longest sequence.
        responses: how many.
        image_tokens: tokens of images and videos.
    """

    prefix: Any
    suffixes: Any
    squares: Any
    longest: Any
    responses: Any
    image_tokens: Any

    @classmethod
    def of(cls, length: GroupLength) -> "GroupSizes":
        """Return the sizes of one group."""
        own = length.suffixes
        squares = sum(size * size for size in own)
        return cls(length.prefix, sum(own), squares, length.longest, len(own), length.image_tokens)

    @property
    def tokens(self) -> Any:
        """Tokens computed in one tree."""
        return self.prefix + self.suffixes

    def attended(self, copies: Any = 1) -> Any:
        """Return how many pairs of tokens attend, with so many copies of the prompt.

        Causal: a prompt token sees half of the prompt on average, one of a response half of it and all of the prompt.
        """
        return copies * self.prefix**2 / 2 + self.prefix * self.suffixes + self.squares / 2


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

    def of(self, length: GroupLength | TreeLength) -> float:
        """Return the cost of one group, or of a tree of any depth."""
        if isinstance(length, TreeLength):
            return sum(self.node(*node) for node in length.nodes) + self.image * length.image_tokens
        return float(self.of_sizes(GroupSizes.of(length)))

    def node(self, own: Count, above: Count) -> Count:
        """Return the cost of a node's tokens, each of which attends to all above and to half of its own."""
        return own + self.attention * own * (above + own / 2)

    def of_sizes(self, sizes: GroupSizes) -> Any:
        """Return the cost of every group, computed as trees."""
        return sizes.tokens + self.attention * sizes.attended() + self.image * sizes.image_tokens


def fill_rows(groups: Sequence[EncodedGroup], cap: int, is_shared: bool = True) -> list[list[int]]:
    """Put groups into rows of at most ``cap`` tokens; a larger group gets a row of its own.

    Args:
        is_shared: a row computes what its groups begin with alike once. Those that do come together, and that is
            counted once. Else those of similar size come together, so that little is padded.

    Returns:
        Group indices of each row.
    """
    # In the order of their keys, no earlier group shares more with one than its neighbour does: what the neighbour
    # lacks of it is what it adds to the row. Big-endian, the first token that differs decides the order of the bytes.
    keys = [group.keys.astype(">i8").tobytes() if is_shared else group.tokens for group in groups]
    order = sorted(range(len(groups)), key=keys.__getitem__)
    rows: list[list[int]] = []
    filled = 0
    for place, former in zip(order, [None, *order], strict=False):
        group = groups[place]
        shared = common_length([group.keys, groups[former].keys]) if is_shared and former is not None else 0
        if not rows or filled + group.tokens - shared > cap:
            rows.append([])
            filled, shared = 0, 0
        rows[-1].append(place)
        filled += group.tokens - shared
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
