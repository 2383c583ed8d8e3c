"""The order of training: fixed pairs per step, balanced over ranks and micro-batches by cost."""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from transformers.trainer_pt_utils import BatchRebalanceSampler

from basereward.encoding.packing import balanced_bins
from basereward.errors import TrainingError
from basereward.training.bundles import StepFiller, draw_bundles, sort_windows
from basereward.training.units import PARTS, SharedWork

SEED_STRIDE = 1_000_003


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

    def __init__(
        self,
        tokens: Sequence[int],
        costs: Sequence[float],
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
        super().__init__(
            list(tokens), pairs_per_step, dp_size=dp_size, grad_accum=grad_accum, seed=seed, rank=rank, drop_last=True
        )
        self.costs = list(costs)
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
            yield from self._yield_global_batch(step)

    def steps(self, epoch: int) -> list[list[int]]:
        """Return the pairs of every step of an epoch, from the seed, the epoch and the window alone."""
        # A plain sum would give seed 1 the second epoch of seed 0 as its first.
        generator = torch.Generator().manual_seed(self.seed * SEED_STRIDE + epoch)
        drawn = self._draw_together(self.shared, generator) if self.shared else self._draw(generator)
        steps = []
        for start in range(0, len(drawn), self.window):
            window = drawn[start : start + self.window]
            # Else every window would go from short to long pairs, and the loss with it.
            steps += [window[at] for at in torch.randperm(len(window), generator=generator).tolist()]
        return steps

    def _draw(self, generator: torch.Generator) -> list[list[int]]:
        size = self.effective_batch_size
        order = torch.randperm(len(self.lengths), generator=generator).tolist()
        # The rest would make a smaller step, whose pairs weighed more; another epoch has another rest.
        order = order[: self.num_full_batches * size]
        drawn = []
        for start in range(0, len(order), size * self.window):
            window = order[start : start + size * self.window]
            # A window of one step is left as drawn: a step's own order changes nothing but how ties are cut.
            if self.window > 1:
                window.sort(key=lambda pair: self.costs[pair])
            drawn += [window[at : at + size] for at in range(0, len(window), size)]
        return drawn

    def _draw_together(self, shared: SharedWork, generator: torch.Generator) -> list[list[int]]:
        size = self.effective_batch_size
        bundles = draw_bundles(shared.sharing, shared.grouping, generator)
        if self.window > 1:
            bundles = sort_windows(bundles, np.array(self.costs), size * self.window)
        return StepFiller(bundles, shared.sharing, shared.grouping, size).fill().tolist()

    def bins(self, steps: Sequence[Sequence[int]], count: int) -> Iterator[list[Bin]]:
        """Yield for each step so many bins of nearly equal cost, none of them empty, the dearest first."""
        if self.shared is None:
            for step in steps:
                costs, tokens = [self.costs[pair] for pair in step], [self.lengths[pair] for pair in step]
                yield _fill([[pair] for pair in step], costs, tokens, count)
            return
        units = self.shared.cut(np.array(steps), count)
        pairs, tokens = units.laid.pairs.tolist(), self.shared.measure(units).tolist()
        stretches, costs = list(zip(units.starts.tolist(), units.ends.tolist(), strict=True)), units.costs.tolist()
        bounds = np.searchsorted(units.steps, np.arange(len(steps) + 1)).tolist()
        for first, behind in itertools.pairwise(bounds):
            members = [pairs[start:end] for start, end in stretches[first:behind]]
            bins = _fill(members, costs[first:behind], tokens[first:behind], count)
            yield [own._replace(cost=own.cost / PARTS) for own in bins]

    def _assign(self, indices: list[int], lengths: list[int]) -> list[list[list[int]]]:
        """Return [rank][micro-batch] lists; each round of micro-batches has bins of similar cost on all ranks."""
        # Trainer passes the lengths that it knows; memory follows tokens, but waiting follows cost.
        [bins] = self.bins([indices], self.dp_size * self.grad_accum)
        # Bins come dearest first, so neighbours are alike: they are dealt to the ranks round by round, because ranks
        # wait for each other in every round and not only at the end of the step.
        return [
            [bins[slot * self.dp_size + rank].pairs for slot in range(self.grad_accum)] for rank in range(self.dp_size)
        ]


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
    steps = [step for epoch in range(epochs) for step in sampler.steps(epoch)]
    if cap is None:
        return _cut(sampler, steps, 1)
    tokens = sampler.lengths
    check_cap(max(tokens), cap, reserved)
    room = cap - reserved
    heaviest = max(step.tokens for [step] in sampler.bins(steps, 1))
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


def _cut(sampler: PairSampler, steps: list[list[int]], accumulation: int) -> BinPlan:
    largest, balance = 0, 0.0
    for bins in sampler.bins(steps, sampler.dp_size * accumulation):
        largest = max(largest, *(own.tokens for own in bins))
        balance += sum(own.cost for own in bins) / (waiting(bins, sampler.dp_size) * sampler.dp_size)
    return BinPlan(accumulation, largest, balance / len(steps))


def waiting(bins: Sequence[Bin], ranks: int) -> float:
    """Return the cost of a step's dearest rank in every round of micro-batches."""
    # Ranks wait for each other once in every round, and bins come in order of load.
    return sum(own.cost for own in bins[::ranks])
