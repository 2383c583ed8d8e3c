"""Sequences as a forest of token nodes: what several of them begin with stands once, to any depth."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

ROOT = -1


class TokenNode(NamedTuple):
    """Tokens ``start`` to ``end`` of a sequence, which continue those of ``parent`` (``ROOT``: nothing).

    All sequences below the node have these tokens; ``sequence`` is the first of them.
    """

    parent: int
    sequence: int
    start: int
    end: int


class TokenForest(NamedTuple):
    """Nodes, every parent in front of its children and every tree in one stretch, and where each sequence ends.

    Two equal sequences end in one node, and a sequence that another one continues ends in an inner node.
    """

    nodes: list[TokenNode]
    ends: list[int]


class _Open(NamedTuple):
    """Sequences that agree before ``start`` and stand below ``parent``."""

    parent: int
    start: int
    members: list[int]


def grow(sequences: Sequence[Int[np.ndarray, " _"]]) -> TokenForest:
    """Return the radix forest of sequences: every distinct beginning has its tokens in exactly one node.

    Args:
        sequences: integers that are equal where two sequences may share a token, each at least one long. Token ids
            are not enough where images stand: all images of one size have the same ids.
    """
    nodes: list[TokenNode] = []
    ends = [ROOT] * len(sequences)
    # A stack and not recursion: many sequences that each continue the one before would nest as deep as they are many.
    waiting = [_Open(ROOT, 0, part) for part in reversed(_parts(sequences, range(len(sequences)), 0))]
    while waiting:
        parent, start, members = waiting.pop()
        stop = _agreement(sequences, members, start)
        node = len(nodes)
        nodes.append(TokenNode(parent, members[0], start, stop))
        for member in members:
            if len(sequences[member]) == stop:
                ends[member] = node
        left = [member for member in members if len(sequences[member]) > stop]
        # Last in, first out: with the first child on top, children follow their parent before anything else does.
        waiting += [_Open(node, stop, part) for part in reversed(_parts(sequences, left, stop))]
    return TokenForest(nodes, ends)


def _parts(sequences: Sequence[Int[np.ndarray, " _"]], members: Sequence[int], place: int) -> list[list[int]]:
    """Return members with the same token at a place together, in the order of their first ones."""
    parts: dict[int, list[int]] = {}
    for member in members:
        parts.setdefault(int(sequences[member][place]), []).append(member)
    return list(parts.values())


def _agreement(sequences: Sequence[Int[np.ndarray, " _"]], members: Sequence[int], start: int) -> int:
    """Return the place behind the last token that all members have, from ``start`` on."""
    return start + common_length([sequences[member][start:] for member in members])


def common_length(sequences: Sequence[Int[np.ndarray, " _"]]) -> int:
    """Return the length of the longest common prefix."""
    shortest = min(map(len, sequences))
    first = sequences[0][:shortest]
    differs = np.zeros(shortest, dtype=bool)
    for other in sequences[1:]:
        differs |= other[:shortest] != first
    return int(differs.argmax()) if differs.any() else shortest


def shared_prefix(sequences: Sequence[Int[np.ndarray, " _"]]) -> int:
    """Return how many tokens to share: the common prefix, but at least one token is left to every response."""
    return min(common_length(sequences), min(map(len, sequences)) - 1)
