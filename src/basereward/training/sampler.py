"""The order of training: fixed pairs per step, balanced over ranks and micro-batches by cost."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from transformers.trainer_pt_utils import BatchRebalanceSampler

from basereward.encoding.packing import balanced_bins
from basereward.errors import TrainingError

SEED_STRIDE = 1_000_003


class PairSampler(BatchRebalanceSampler):
    """Yields the micro-batches of one rank; Trainer passes only this class's family through unchanged.

    Each step has exactly ``pairs_per_step`` pairs, whatever the number of ranks and micro-batches, and the pairs
    of a step depend on the seed and the epoch alone. Pairs that do not fill a last step wait for another epoch.

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
    """

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
        size = self.effective_batch_size
        order = torch.randperm(len(self.lengths), generator=generator).numpy()
        # The rest would make a smaller step, whose pairs weighed more; another epoch has another rest.
        steps = order[: self.num_full_batches * size].reshape(-1, size)
        # A window of one step is left as drawn: a step's own order changes nothing but how ties are cut.
        for start in range(0, len(steps), self.window) if self.window > 1 else ():
            own = steps[start : start + self.window].reshape(-1)
            window = own[np.argsort(self.costs[own], kind="stable")].reshape(-1, size)
            # Else every window would go from short to long pairs, and the loss with it.
            steps[start : start + self.window] = window[torch.randperm(len(window), generator=generator).numpy()]
        return steps

    def _assign(self, indices: list[int], lengths: list[int]) -> list[list[list[int]]]:
        """Return [rank][micro-batch] lists; each round of micro-batches has bins of similar cost on all ranks."""
        # Trainer passes the lengths that it knows; memory follows tokens, but waiting follows cost.
        bins = balanced_bins(self.costs[indices].tolist(), self.dp_size * self.grad_accum)
        members = [[indices[item] for item in own] for own in bins]
        # Bins come dearest first, so neighbours are alike: they are dealt to the ranks round by round, because ranks
        # wait for each other in every round and not only at the end of the step.
        return [
            [members[slot * self.dp_size + rank] for slot in range(self.grad_accum)] for rank in range(self.dp_size)
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
    if cap is None:
        return _cut(sampler, epochs, 1)
    tokens = sampler.lengths
    check_cap(int(tokens.max()), cap, reserved)
    room = cap - reserved
    heaviest = max(int(tokens[sampler.steps(epoch)].sum(axis=1).max()) for epoch in range(epochs))
    # Fewer micro-batches cannot hold the heaviest step, however well it is cut.
    accumulation = max(1, heaviest // (sampler.dp_size * room))
    while accumulation * sampler.dp_size <= sampler.effective_batch_size:
        plan = _cut(sampler, epochs, accumulation)
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


def _cut(sampler: PairSampler, epochs: int, accumulation: int) -> BinPlan:
    largest, balance, count = 0, 0.0, 0
    for epoch in range(epochs):
        for step in sampler.steps(epoch):
            costs, tokens = sampler.costs[step].tolist(), sampler.lengths[step].tolist()
            bins = balanced_bins(costs, sampler.dp_size * accumulation)
            largest = max(largest, *(sum(tokens[item] for item in own) for own in bins))
            loads = [sum(costs[item] for item in own) for own in bins]
            # Ranks wait for each other once in every round of micro-batches, and bins come in order of load.
            waiting = sum(max(loads[at : at + sampler.dp_size]) for at in range(0, len(loads), sampler.dp_size))
            balance += sum(loads) / (waiting * sampler.dp_size)
            count += 1
    return BinPlan(accumulation, largest, balance / count)
