"""Which pairs stand in a step together: those of a prompt, or of the prompts of an image, up to a number of each.

A bundle is a run of pairs that share a prompt or an image. Bundles are drawn in random order and fill steps of exactly
so many pairs; one that does not fit is cut, and its rest begins the next step.
"""

from collections import Counter, deque
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from basereward.encoding.sharing import PairSharing


class Grouping(NamedTuple):
    """What the pairs of a step are drawn by, and how many of one prompt and of one image a step holds at most."""

    by: Literal["prompt", "image"]
    pairs_per_prompt: int = 8
    pairs_per_image: int = 16

    @property
    def most(self) -> int:
        """Pairs of a step that share what they are drawn by."""
        return self.pairs_per_image if self.by == "image" else self.pairs_per_prompt

    def keys(self, sharing: PairSharing) -> Int[np.ndarray, " pair"]:
        """Return the code of what each pair is drawn by; text has no image, and is drawn by its prompt."""
        if self.by == "prompt":
            return sharing.prompt
        return np.where(sharing.opening >= 0, sharing.opening, sharing.opening.max() + 1 + sharing.prompt)


class Bundles(NamedTuple):
    """Pairs laid bundle by bundle; bundle ``b`` holds ``pairs[starts[b] : starts[b + 1]]``."""

    pairs: Int[np.ndarray, " pair"]
    starts: Int[np.ndarray, " bundles_and_one"]


class Slice(NamedTuple):
    """A stretch of the laid pairs that share the key that they are drawn by."""

    start: int
    end: int
    key: int

    def cut(self, size: int) -> "tuple[Slice, Slice | None]":
        """Return at most so many pairs, and the rest if there is one."""
        if self.end - self.start <= size:
            return self, None
        return self._replace(end=self.start + size), self._replace(start=self.start + size)


def draw_bundles(sharing: PairSharing, grouping: Grouping, generator: torch.Generator) -> Bundles:
    """Return all pairs in bundles, in random order.

    The pairs of a prompt are cut into even chunks. Of an image, chunks of different prompts are bundled: two of one
    prompt in a bundle would be more pairs of it than a step may hold.
    """
    drawn = torch.randperm(len(sharing.prompt), generator=generator).numpy()
    # Stable: the pairs of a prompt keep the order drawn, so that other ones stand together in another epoch.
    pairs = drawn[np.argsort(sharing.prompt[drawn], kind="stable")]
    starts, turns = _even_chunks(sharing.prompt[pairs], grouping.pairs_per_prompt)
    sizes = np.diff(starts)
    order = torch.randperm(len(sizes), generator=generator).numpy()
    if grouping.by == "prompt":
        return Bundles(pairs[stretches(starts[order], sizes[order])], np.append(0, np.cumsum(sizes[order])))
    keys = grouping.keys(sharing)[pairs[starts[:-1]]]
    # Of each image the first chunks of all its prompts, in random order, then the second ones.
    order = order[np.lexsort((turns[order], keys[order]))]
    owners = _join(keys[order], turns[order], sizes[order], grouping.pairs_per_image)
    places = torch.randperm(int(owners[-1]) + 1, generator=generator).numpy()[owners]
    by_place = np.argsort(places, kind="stable")
    order, bundled = order[by_place], np.bincount(places, sizes[order]).astype(np.int64)
    return Bundles(pairs[stretches(starts[order], sizes[order])], np.append(0, np.cumsum(bundled)))


def sort_windows(bundles: Bundles, costs: Float[np.ndarray, " pair"], pairs: int) -> Bundles:
    """Return the bundles with those of each window of so many pairs from cheap to dear, by the mean of their pairs."""
    starts, sizes = bundles.starts[:-1], np.diff(bundles.starts)
    means = np.add.reduceat(costs[bundles.pairs], starts) / sizes
    order = np.lexsort((means, starts // pairs))
    return Bundles(bundles.pairs[stretches(starts[order], sizes[order])], np.append(0, np.cumsum(sizes[order])))


def stretches(starts: Int[np.ndarray, " stretch"], sizes: Int[np.ndarray, " stretch"]) -> Int[np.ndarray, " place"]:
    """Return the places ``start, start + 1, ...`` of each stretch, one stretch behind the other."""
    before = np.cumsum(sizes) - sizes
    return np.repeat(starts - before, sizes) + np.arange(int(sizes.sum()))


def _even_chunks(sorted_codes: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where the chunks of equal codes start, the end behind them, and which one of its code each chunk is."""
    first = np.flatnonzero(np.append(True, sorted_codes[1:] != sorted_codes[:-1]))
    counts = np.diff(np.append(first, len(sorted_codes)))
    chunks = -(-counts // most)
    turns = stretches(np.zeros_like(chunks), chunks)
    # The j-th of k chunks of n starts at ceil(j n / k): sizes differ by one at most.
    inner = -(-turns * np.repeat(counts, chunks) // np.repeat(chunks, chunks))
    return np.append(np.repeat(first, chunks) + inner, len(sorted_codes)), turns


def _join(keys: np.ndarray, turns: np.ndarray, sizes: np.ndarray, most: int) -> np.ndarray:
    """Return the bundle of each chunk: neighbours of one key and turn, as long as they are few enough pairs."""
    owners = np.empty(len(keys), dtype=np.int64)
    owner, held, before = -1, 0, (-1, -1)
    for place, (key, turn, size) in enumerate(zip(keys.tolist(), turns.tolist(), sizes.tolist(), strict=True)):
        if (key, turn) != before or held + size > most:
            owner, held, before = owner + 1, 0, (key, turn)
        held += size
        owners[place] = owner
    return owners


class _Step:
    """Slices of pairs with the keys that they have, and how many pairs are missing."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.taken: list[Slice] = []
        self.keys: set[int] = set()

    def add(self, own: Slice) -> Slice | None:
        """Take as much as there is room for, and return the rest."""
        rest = None
        if own.end - own.start > self.room:
            own, rest = own.cut(self.room)
        self.room -= own.end - own.start
        self.taken.append(own)
        self.keys.add(own.key)
        return rest

    def give(self, count: int, banned: set[int]) -> list[Slice] | None:
        """Give away so many pairs with other keys than these; None, and nothing changes, if there are too few."""
        given, kept, freed = [], [], 0
        for own in self.taken:
            if own.key in banned or freed == count:
                kept.append(own)
                continue
            part, rest = own.cut(count - freed)
            given.append(part)
            kept += [rest] if rest else []
            freed += part.end - part.start
        if freed < count:
            return None
        self.taken, self.keys = kept, {own.key for own in kept}
        self.room += count
        return given


class StepFiller:
    """Fills steps of exactly ``size`` pairs from bundles in their order.

    A bundle waits for the next step while its prompt or image has as many pairs in this one as a step may hold. A step
    holds more only if all that is left of an epoch is of prompts that are in all its steps already.
    """

    def __init__(self, bundles: Bundles, sharing: PairSharing, grouping: Grouping, size: int) -> None:
        self.pairs, self.size, self.grouping = bundles.pairs, size, grouping
        keys = grouping.keys(sharing)[bundles.pairs[bundles.starts[:-1]]]
        bounds = bundles.starts.tolist()
        self.supply = map(Slice, bounds[:-1], bounds[1:], keys.tolist())
        self.prompts: list[int] = sharing.prompt[bundles.pairs].tolist()
        self.waiting: dict[int, deque[Slice]] = {}
        self.rest: Slice | None = None
        self.steps: list[_Step] = []
        # Keys of which every step holds as many as it may.
        self.everywhere: set[int] = set()

    def fill(self) -> Int[np.ndarray, "step pair"]:
        """Return the pairs of all full steps; bundles stand in one piece."""
        while len(self.steps) < len(self.pairs) // self.size:
            step = _Step(self.size)
            if self.rest:
                self.rest = step.add(self.rest)
            self._take_waiting(step)
            self._take_new(step)
            while step.room:
                self._take_anyway(step)
            self.steps.append(step)
        taken = [own for step in self.steps for own in step.taken]
        starts = np.array([own.start for own in taken], dtype=np.int64)
        ends = np.array([own.end for own in taken], dtype=np.int64)
        return self.pairs[stretches(starts, ends - starts)].reshape(-1, self.size)

    def _fits(self, step: _Step, own: Slice) -> bool:
        return own.key not in step.keys or self._fitting(step, own) == own.end - own.start

    def _fitting(self, step: _Step, own: Slice) -> int:
        """Return how many pairs of a slice, its first ones, a step may hold beside those that it has."""
        alike = [part for part in step.taken if part.key == own.key]
        together = Counter(prompt for part in alike for prompt in self.prompts[part.start : part.end])
        most = min(own.end - own.start, self.grouping.most - together.total())
        for count in range(most):
            prompt = self.prompts[own.start + count]
            together[prompt] += 1
            if together[prompt] > self.grouping.pairs_per_prompt:
                return count
        return max(most, 0)

    def _take_waiting(self, step: _Step) -> None:
        for key, queue in list(self.waiting.items()):
            while queue and step.room and self._fits(step, queue[0]):
                self.rest = step.add(queue.popleft())
            if not queue:
                del self.waiting[key]

    def _take_new(self, step: _Step) -> None:
        while step.room and (own := next(self.supply, None)):
            if self._fits(step, own):
                self.rest = step.add(own)
            else:
                self.waiting.setdefault(own.key, deque()).append(own)

    def _take_anyway(self, step: _Step) -> None:
        """Take a bundle that has to wait although nothing else is left, by exchange with an earlier step if one can."""
        key, queue = next(iter(self.waiting.items()))
        own, rest = queue.popleft().cut(step.room)
        if rest:
            queue.appendleft(rest)
        if not queue:
            del self.waiting[key]
        given = None if key in self.everywhere else self._exchange(step, own)
        if given is None:
            self.everywhere.add(key)
        for part in given or [own]:
            step.add(part)

    def _exchange(self, step: _Step, own: Slice) -> list[Slice] | None:
        """Put the first pairs of a slice into an earlier step, and return what leaves it for this one."""
        for earlier in reversed(self.steps):
            if count := self._fitting(earlier, own):
                given = earlier.give(count, banned={own.key, *step.keys})
                if given is not None:
                    first, rest = own.cut(count)
                    earlier.add(first)
                    if rest:
                        self.waiting.setdefault(own.key, deque()).appendleft(rest)
                    return given
        return None


def crowded_steps(steps: Int[np.ndarray, "step pair"], sharing: PairSharing, grouping: Grouping) -> int:
    """Return how many steps hold more pairs of a prompt or image than they should."""
    limits = [(sharing.prompt, grouping.pairs_per_prompt), (grouping.keys(sharing), grouping.most)]
    is_crowded = np.zeros(len(steps), dtype=bool)
    for codes, most in limits:
        ordered = np.sort(codes[steps], axis=1)
        # With more than ``most`` of a code, one stands that many places before itself.
        is_crowded |= (ordered[:, most:] == ordered[:, : max(0, ordered.shape[1] - most)]).any(axis=1)
    return int(is_crowded.sum())
