"""The order of training: fixed pairs per step, balanced over ranks and micro-batches by cost."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from transformers.trainer_pt_utils import BatchRebalanceSampler

from basereward.encoding.packing import balanced_bins
from basereward.errors import TrainingError
from basereward.training.bundles import StepFiller, draw_bundles, sort_windows
from basereward.training.units import PARTS, SharedWork

SEED_STRIDE = 1_000_003
# Steps that are cut at once: enough for flat arrays to be quick, few enough for them to be small.
_BLOCK = 1024


class Bin(NamedTuple):
    """The pairs of one micro-batch, what they cost together, and their packed tokens at most."""

    pairs: list[int]
    cost: float
    tokens: int


class PairSampler(BatchRebalanceSampler):
    """Yields the micro-batches of one rank; Trainer passes only this class's family through unchanged.

    Each step has exactly ``pairs_per_step`` pairs, whatever the number of ranks and micro-batches, and the pairs
    of a step depend on the seed and the epoch alone. Pairs that do not fill a last step wait for another epoch.
    Pairs that share a prompt or image and are drawn together stand in one micro-batch as far as balance allows.

    Args:
        tokens: packed tokens of every pair.
        costs: computing cost of every pair.
        pairs_per_step: pairs of one optimiser step over all ranks.
        dp_size: data-parallel ranks.
        grad_accum: micro-batches of one rank in a step.
        seed: the recipe's seed.
        rank: this rank.
        window: steps drawn from one length-sorted window. 1 mixes all lengths in every step; with few pairs a
            rank, 32 raises the balance of ranks from 0.70 to 0.98, at the price of steps of similar pairs.
        shared: what pairs share, if those that do are drawn together.
    """

    lengths: Any

    def __init__(
        self,
        tokens: Sequence[int] | np.ndarray,
        costs: Sequence[float] | np.ndarray,
        pairs_per_step: int,
        dp_size: int = 1,
        grad_accum: int = 1,
        seed: int = 0,
        rank: int = 0,
        window: int = 1,
        shared: SharedWork | None = None,
    ) -> None:
        if len(tokens) < pairs_per_step:
            raise TrainingError(f"Found {len(tokens)} usable pairs, fewer than pairs_per_step {pairs_per_step}.")
        _check_filled(pairs_per_step, dp_size, grad_accum)
        # The base makes a list of what it is given, of millions of numbers tens of megabytes more.
        super().__init__(
            [], pairs_per_step, dp_size=dp_size, grad_accum=grad_accum, seed=seed, rank=rank, drop_last=True
        )
        self.lengths = np.asarray(tokens, dtype=np.int64)
        self.costs = np.asarray(costs, dtype=np.float64)
        self.num_full_batches = self.num_global_batches = len(self.lengths) // pairs_per_step
        self.remainder = len(self.lengths) % pairs_per_step
        self.window = window
        self.shared = shared

    def place(self, rank: int, grad_accum: int) -> None:
        """Say which rank this is and how many micro-batches a step is cut into.

        Raises:
            TrainingError: there are more micro-batches than pairs.
        """
        _check_filled(self.effective_batch_size, self.dp_size, grad_accum)
        self.rank = rank
        self.grad_accum = grad_accum

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps(self.epoch):
            yield from self._yield_global_batch(step.tolist())

    def steps(self, epoch: int) -> Int[np.ndarray, "steps pairs"]:
        """Return the pairs of every step of an epoch, from the seed, the epoch and the window alone."""
        # A plain sum would give seed 1 the second epoch of seed 0 as its first.
        generator = torch.Generator().manual_seed(self.seed * SEED_STRIDE + epoch)
        steps = self._draw_together(self.shared, generator) if self.shared else self._draw(generator)
        if self.window == 1:
            return steps
        for start in range(0, len(steps), self.window):
            window = steps[start : start + self.window]
            # Else every window would go from short to long pairs, and the loss with it.
            steps[start : start + self.window] = window[torch.randperm(len(window), generator=generator).numpy()]
        return steps

    def _draw(self, generator: torch.Generator) -> Int[np.ndarray, "steps pairs"]:
        size = self.effective_batch_size
        order = torch.randperm(len(self.lengths), generator=generator).numpy()
        # The rest would make a smaller step, whose pairs weighed more; another epoch has another rest.
        order = order[: self.num_full_batches * size]
        # A window of one step is left as drawn: a step's own order changes nothing but how ties are cut.
        for start in range(0, len(order), size * self.window) if self.window > 1 else ():
            window = order[start : start + size * self.window]
            order[start : start + len(window)] = window[np.argsort(self.costs[window], kind="stable")]
        return order.reshape(-1, size)

    def _draw_together(self, shared: SharedWork, generator: torch.Generator) -> Int[np.ndarray, "steps pairs"]:
        size = self.effective_batch_size
        bundles = draw_bundles(shared.sharing, shared.grouping, generator)
        if self.window > 1:
            bundles = sort_windows(bundles, self.costs, size * self.window)
        return StepFiller(bundles, shared.sharing, shared.grouping, size).fill()

    def tokens_of(self, steps: Int[np.ndarray, "steps pairs"]) -> Int[np.ndarray, " steps"]:
        """Return the tokens of each step, what is drawn together counted once."""
        if self.shared is None:
            return self.lengths[steps].sum(axis=1)
        units = self.shared.whole(self.shared.lay(steps))
        return np.bincount(units.steps, self.shared.measure(units)).astype(np.int64)

    def bins(self, steps: Int[np.ndarray, "steps pairs"], count: int) -> Iterator[list[Bin]]:
        """Yield for each step so many bins of nearly equal cost, none of them empty, the dearest first."""
        if self.shared is None:
            for step in steps:
                yield _fill(step[:, None].tolist(), self.costs[step].tolist(), self.lengths[step].tolist(), count)
            return
        for start in range(0, len(steps), _BLOCK):
            yield from _cut_block(self.shared, steps[start : start + _BLOCK], count)

    def _assign(self, indices: list[int], lengths: list[int]) -> list[list[list[int]]]:
        """Return [rank][micro-batch] lists; each round of micro-batches has bins of similar cost on all ranks."""
        # Trainer passes the lengths that it knows; memory follows tokens, but waiting follows cost.
        [bins] = self.bins(np.array([indices]), self.dp_size * self.grad_accum)
        # Bins come dearest first, so neighbours are alike: they are dealt to the ranks round by round, because ranks
        # wait for each other in every round and not only at the end of the step.
        return [
            [bins[slot * self.dp_size + rank].pairs for slot in range(self.grad_accum)] for rank in range(self.dp_size)
        ]


def _cut_block(shared: SharedWork, steps: Int[np.ndarray, "steps pairs"], count: int) -> Iterator[list[Bin]]:
    units = shared.cut(steps, count)
    pairs, tokens, costs = units.laid.pairs.tolist(), shared.measure(units).tolist(), (units.costs / PARTS).tolist()
    stretches = list(zip(units.starts.tolist(), units.ends.tolist(), strict=True))
    bounds = np.searchsorted(units.steps, np.arange(len(steps) + 1)).tolist()
    for first, behind in itertools.pairwise(bounds):
        members = [pairs[start:end] for start, end in stretches[first:behind]]
        yield _fill(members, costs[first:behind], tokens[first:behind], count)


def _fill(units: Sequence[list[int]], costs: Sequence[float], tokens: Sequence[int], count: int) -> list[Bin]:
    return [
        Bin(
            [pair for unit in own for pair in units[unit]],
            sum(costs[unit] for unit in own),
            sum(tokens[unit] for unit in own),
        )
        for own in balanced_bins(costs, count)
    ]


def _check_filled(pairs: int, ranks: int, microbatches: int) -> None:
    if pairs < ranks * microbatches:
        raise TrainingError(
            f"{pairs} pairs a step cannot fill {ranks} ranks x {microbatches} micro-batches; "
            "raise pairs_per_step, or use fewer ranks or a larger tokens_per_microbatch."
        )


class BinPlan(NamedTuple):
    """How steps are cut: micro-batches per rank, the largest in tokens, and the mean balance of ranks.

    ``balance`` is mean over largest load: 1 if no rank ever waits for another.
    """

    grad_accum: int
    largest: int
    balance: float


def plan_bins(sampler: PairSampler, cap: int | None, epochs: int = 1, reserved: int = 0) -> BinPlan:
    """Return the fewest micro-batches for which no one exceeds ``cap`` packed tokens, in any step of the run.

    Args:
        sampler: the order of the run; its own ``grad_accum`` is not used.
        cap: packed tokens of one micro-batch; without it a step is one micro-batch on each rank.
        epochs: passes over the data; each has its own order, and so its own fullest micro-batch.
        reserved: tokens of a micro-batch that belong to no pair.

    Raises:
        TrainingError: one pair alone is larger than the cap, or the step cannot be cut so finely.
    """
    return plan_steps(sampler, np.concatenate([sampler.steps(epoch) for epoch in range(epochs)]), cap, reserved)


def plan_steps(
    sampler: PairSampler, steps: Int[np.ndarray, "steps pairs"], cap: int | None, reserved: int = 0
) -> BinPlan:
    """Return what ``plan_bins`` does, of some steps.

    Raises:
        TrainingError: as ``plan_bins``.
    """
    if cap is None:
        return _cut(sampler, steps, 1)
    check_cap(int(sampler.lengths.max()), cap, reserved)
    room = cap - reserved
    heaviest = int(sampler.tokens_of(steps).max())
    # Fewer micro-batches cannot hold the heaviest step, however well it is cut.
    accumulation = max(1, heaviest // (sampler.dp_size * room))
    while accumulation * sampler.dp_size <= sampler.effective_batch_size:
        plan = _cut(sampler, steps, accumulation)
        if plan.largest <= room:
            return plan
        accumulation += 1
    raise TrainingError(
        f"{sampler.effective_batch_size} pairs on {sampler.dp_size} ranks do not fit micro-batches of {cap} tokens."
    )


def check_cap(longest: int, cap: int, reserved: int = 0) -> None:
    """Check that a pair fits a micro-batch.

    Raises:
        TrainingError: it does not.
    """
    if longest > cap - reserved:
        extra = f" ({reserved} are for the image of rows that have none)" if reserved else ""
        found = f"One pair has {longest} tokens, more than tokens_per_microbatch {cap}{extra}"
        raise TrainingError(f"{found}; raise it or lower max_length.")


def _cut(sampler: PairSampler, steps: Int[np.ndarray, "steps pairs"], accumulation: int) -> BinPlan:
    largest, balance = 0, 0.0
    for bins in sampler.bins(steps, sampler.dp_size * accumulation):
        largest = max(largest, *(own.tokens for own in bins))
        balance += sum(own.cost for own in bins) / (waiting(bins, sampler.dp_size) * sampler.dp_size)
    return BinPlan(accumulation, largest, balance / len(steps))


def waiting(bins: Sequence[Bin], ranks: int) -> float:
    """Return the cost of a step's dearest rank in every round of micro-batches."""
    # Ranks wait for each other once in every round, and bins come in order of load.
    return sum(own.cost for own in bins[::ranks])
