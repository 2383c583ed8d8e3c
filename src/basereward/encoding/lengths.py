"""Sizes of many pairs in flat arrays: an ordinary pair, one group with two responses, takes 24 bytes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt64

from basereward.encoding.groups import GroupLength
from basereward.encoding.packing import CostModel, GroupSizes

# A response has one token at least, because the shared prefix leaves it one: 0 is no response.
_COLUMNS = ("opening", "prompt", "prefix", "first", "second", "image_tokens")
_NO_GROUP = GroupLength(0, (), 0)
_CHUNK = 1 << 16


class PairLength(NamedTuple):
    """Sizes of one pair, or why it cannot be used."""

    groups: tuple[GroupLength, ...]
    problem: tuple[str, str] | None = None


class Sharing(NamedTuple):
    """What groups begin with alike: equal numbers stand for equal tokens, in order of the groups of a ``Lengths``.

    Args:
        pairs: place of the pair of each group, shape (groups,).
        openings: of everything up to the last image or video, shape (groups,).
        prompts: of the prompt, shape (groups,).
        responses: of the first two sequences, -1 where there is no second one, shape (groups, 2).
    """

    pairs: Int[np.ndarray, " groups"]
    openings: Int[np.ndarray, " groups"]
    prompts: Int[np.ndarray, " groups"]
    responses: Int[np.ndarray, "groups 2"]


Keys = UInt64[np.ndarray, "groups 4"]


@dataclass(frozen=True)
class Lengths:
    """Sizes of many pairs as flat arrays, group by group.

    Args:
        table: ``_COLUMNS`` of each group, 0 where there is none; a pair that cannot be used has a row of zeros.
        firsts: the first group of each pair and the number of groups, shape (pairs + 1,); None if each has one.
        more: group and size of each suffix behind the second, shape (_, 2).
        left_out: group and characters that the template leaves out, where it does, shape (_, 2).
        problems: why pairs cannot be used, by place.
        keys: reads numbers that are equal where openings, prompts and the first two sequences of groups are, shape
            (groups, 4): 64-bit hashes where the groups were measured, small ones where they were kept.
    """

    table: Int[np.ndarray, "groups 6"]
    firsts: Int[np.ndarray, " pairs_and_1"] | None
    more: Int[np.ndarray, "_ 2"]
    left_out: Int[np.ndarray, "_ 2"]
    problems: Mapping[int, tuple[str, str]]
    keys: Callable[[], Keys]

    @classmethod
    def of(cls, rows: Sequence[PairLength]) -> "Lengths":
        """Return the sizes of pairs that were measured."""
        groups = [row.groups or (_NO_GROUP,) for row in rows]
        counts = np.array([len(own) for own in groups], dtype=np.int64)
        flat = [group for own in groups for group in own]
        table = [_columns(group) for group in flat]
        keys = np.array([_key_columns(group) for group in flat], dtype=np.uint64).reshape(-1, 4)
        more = [(place, size) for place, group in enumerate(flat) for size in group.suffixes[2:]]
        left_out = [(place, group.removed) for place, group in enumerate(flat) if group.removed]
        return cls(
            np.array(table, dtype=np.int32).reshape(-1, len(_COLUMNS)),
            _firsts(counts),
            np.array(more, dtype=np.int32).reshape(-1, 2),
            np.array(left_out, dtype=np.int32).reshape(-1, 2),
            {place: row.problem for place, row in enumerate(rows) if row.problem},
            partial(_itself, keys),
        )

    @classmethod
    def join(cls, parts: Sequence["Lengths"]) -> "Lengths":
        """Return the sizes of the pairs of several, one after another."""
        parts = [cls.of([]), *parts]
        groups = np.cumsum([0, *(len(part.table) for part in parts)])
        pairs = np.cumsum([0, *map(len, parts)]).tolist()
        counts = np.concatenate([part.group_counts for part in parts])
        return cls(
            np.concatenate([part.table for part in parts]),
            _firsts(counts),
            _shifted([part.more for part in parts], groups),
            _shifted([part.left_out for part in parts], groups),
            {start + row: one for start, part in zip(pairs, parts, strict=False) for row, one in part.problems.items()},
            partial(_joined, [part.keys for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.table) if self.firsts is None else len(self.firsts) - 1

    def __getitem__(self, place: int) -> PairLength:
        """Return the sizes of one pair, without keys."""
        if (problem := self.problems.get(place)) is not None:
            return PairLength((), problem)
        first, last = (place, place + 1) if self.firsts is None else self.firsts[place : place + 2].tolist()
        return PairLength(tuple(self._group(group) for group in range(first, last)))

    def __iter__(self) -> Iterator[PairLength]:
        return (self[place] for place in range(len(self)))

    @property
    def group_counts(self) -> Int[np.ndarray, " pairs"]:
        """Groups of each pair, one for a pair that cannot be used."""
        return np.ones(len(self), dtype=np.int64) if self.firsts is None else np.diff(self.firsts)

    @property
    def usable(self) -> Int[np.ndarray, " usable"]:
        """The places of pairs that fit."""
        fits = np.ones(len(self), dtype=bool)
        fits[list(self.problems)] = False
        return np.flatnonzero(fits)

    @property
    def nbytes(self) -> int:
        """Bytes in memory, problems and keys aside."""
        held = (self.table, self.more, self.left_out, *(() if self.firsts is None else (self.firsts,)))
        return sum(values.nbytes for values in held)

    @property
    def image_tokens(self) -> Int[np.ndarray, " groups"]:
        """Tokens of images and videos of each group."""
        return self.table[:, 5]

    def sizes(self, first: int = 0, last: int | None = None) -> GroupSizes:
        """Return what costs are made of, of the groups from the first to the one before the last."""
        table = self.table[first:last].astype(np.int64)
        prefix, one, two = table[:, 2], table[:, 3], table[:, 4]
        total, squares, longest = one + two, one * one + two * two, np.maximum(one, two)
        count = (one > 0).astype(np.int64) + (two > 0)
        is_here = (self.more[:, 0] >= first) & (self.more[:, 0] < first + len(table))
        at, of_more = self.more[is_here, 0] - first, self.more[is_here, 1].astype(np.int64)
        for values, added in ((total, of_more), (squares, of_more**2), (count, np.ones_like(of_more))):
            np.add.at(values, at, added)
        np.maximum.at(longest, at, of_more)
        return GroupSizes(prefix, total, squares, prefix + longest, count, table[:, 5])

    def of_groups(self, compute: Callable[[GroupSizes], np.ndarray]) -> np.ndarray:
        """Return a number of each group; some groups at once, because the sizes of millions would fill memory."""
        starts = range(0, max(len(self.table), 1), _CHUNK)
        return np.concatenate([compute(self.sizes(start, start + _CHUNK)) for start in starts])

    def tokens(self) -> Int[np.ndarray, " pairs"]:
        """Packed tokens of every pair."""
        return self.of_pairs(self.of_groups(lambda sizes: sizes.tokens))

    def costs(self, model: CostModel) -> Float[np.ndarray, " pairs"]:
        """Computing cost of every pair."""
        return self.of_pairs(self.of_groups(model.of_sizes))

    def longest(self) -> Int[np.ndarray, " pairs"]:
        """Tokens of the longest sequence of every pair."""
        longest = self.of_groups(lambda sizes: sizes.longest)
        return longest if self.firsts is None else np.maximum.reduceat(longest, self.firsts[:-1])

    def of_pairs(self, values: np.ndarray) -> np.ndarray:
        """Return the sum of the values of the groups of each pair, of ``groups`` values."""
        return values if self.firsts is None else np.add.reduceat(values, self.firsts[:-1])

    @property
    def removed(self) -> Int[np.ndarray, " pairs"]:
        """Characters of every pair that the chat template leaves out."""
        found = np.zeros(len(self.table), dtype=np.int64)
        np.add.at(found, self.left_out[:, 0], self.left_out[:, 1])
        return self.of_pairs(found)

    def sharing(self) -> Sharing:
        """Return what the groups begin with alike; their keys are read now."""
        keys, is_none = self.keys(), self.table[:, 4] == 0
        responses = np.unique(keys[:, 2:], return_inverse=True)[1].reshape(-1, 2).astype(np.int32)
        responses[is_none, 1] = -1
        openings, prompts = (np.unique(keys[:, at], return_inverse=True)[1].astype(np.int32) for at in (0, 1))
        pairs = np.repeat(np.arange(len(self), dtype=np.int32), self.group_counts)
        return Sharing(pairs, openings, prompts, responses)

    def select(self, places: Sequence[int] | np.ndarray) -> "Lengths":
        """Return the sizes at these places."""
        kept = np.asarray(places, dtype=np.int64)
        if np.array_equal(kept, np.arange(len(self))):
            return self
        counts, starts = self.group_counts[kept], kept if self.firsts is None else self.firsts[kept]
        ends = np.cumsum(counts)
        # The running number of the result, moved by how far each pair's groups lie from where they stood.
        groups = np.repeat(starts - (ends - counts), counts) + np.arange(ends[-1] if len(ends) else 0)
        keys = self.keys
        places = np.flatnonzero(np.isin(kept, list(self.problems))).tolist() if self.problems else []
        problems = {new: self.problems[int(kept[new])] for new in places}
        return Lengths(
            self.table[groups],
            _firsts(counts),
            _moved(self.more, groups),
            _moved(self.left_out, groups),
            problems,
            partial(_picked, keys, groups),
        )

    def with_groups(self, added: Sequence[GroupLength | None]) -> "Lengths":
        """Return the sizes with one more group for some of the pairs, behind their own."""
        rows = [PairLength((own,)) for own in added if own]
        whole = Lengths.join([self.select(range(len(self))), Lengths.of(rows)])
        has_more = np.array([own is not None for own in added], dtype=np.int64)
        # Behind all own groups stand the added ones: each comes after those of its pair.
        order = np.argsort(
            np.concatenate([np.repeat(np.arange(len(self)), self.group_counts), np.flatnonzero(has_more)]),
            kind="stable",
        )
        keys = whole.keys
        return Lengths(
            whole.table[order],
            _firsts(self.group_counts + has_more),
            _moved(whole.more, order),
            _moved(whole.left_out, order),
            self.problems,
            partial(_picked, keys, order),
        )

    def _group(self, number: int) -> GroupLength:
        opening, prompt, prefix, first, second, image_tokens = self.table[number].tolist()
        more = self.more[self.more[:, 0] == number, 1].tolist()
        removed = int(self.left_out[self.left_out[:, 0] == number, 1].sum())
        suffixes = (first, *([second] if second else []), *more)
        return GroupLength(prefix, suffixes, image_tokens, removed, prompt, opening)


def _columns(group: GroupLength) -> tuple[int, ...]:
    first, second = (*group.suffixes, 0, 0)[:2]
    return group.opening, group.prompt, group.prefix, first, second, group.image_tokens


def _key_columns(group: GroupLength) -> tuple[int, ...]:
    if group.keys is None:
        return 0, 0, 0, 0
    first, second = (*group.keys.responses, 0, 0)[:2]
    return group.keys.opening, group.keys.prompt, first, second


def _firsts(counts: np.ndarray) -> np.ndarray | None:
    return None if (counts == 1).all() else np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _shifted(parts: Sequence[np.ndarray], starts: np.ndarray) -> np.ndarray:
    """Return the values of sparse groups of several parts together, each part's groups from its start on."""
    moved = [values + np.array([start, 0]) for start, values in zip(starts, parts, strict=False)]
    return np.concatenate(moved).astype(np.int32)


def _moved(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the values of sparse groups, of those of ``groups`` alone, each under its place there."""
    if not len(values):
        return values
    order = np.argsort(groups, kind="stable")
    first, last = (np.searchsorted(groups[order], values[:, 0], side=side) for side in ("left", "right"))
    counts = last - first
    ends = np.cumsum(counts)
    at = np.repeat(first - (ends - counts), counts) + np.arange(ends[-1])
    found = np.stack([order[at], np.repeat(values[:, 1], counts)], axis=1).astype(np.int32)
    return found[np.argsort(found[:, 0], kind="stable")]


# Functions of a module and not lambdas, so that what was measured can leave the process that measured it.
def _itself(keys: Keys) -> Keys:
    return keys


def _joined(parts: Sequence[Callable[[], Keys]]) -> Keys:
    return np.concatenate([part() for part in parts])


def _picked(keys: Callable[[], Keys], groups: Int[np.ndarray, " picked"]) -> Keys:
    return keys()[groups]
