"""What the pairs of a run share, and what drawing those that share together would save on how many ranks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from basereward.encoding.packing import CostModel
from basereward.encoding.sharing import Further, PairSharing
from basereward.models.flops import BackboneSize
from basereward.training.bundles import Grouping
from basereward.training.sampler import PairSampler, plan_steps, waiting
from basereward.training.units import SharedWork

# Steps that are simulated, and fewer ranks that are tried beside those of the run.
STEPS = 32
FEWER_RANKS = (8, 16)
# Below this, words say why.
_LITTLE = 1.15


@dataclass(frozen=True)
class SharedFacts:
    """What pairs share.

    Args:
        image_prompts: distinct prompts that show something.
        images: distinct beginnings of prompts up to their last image.
        responses: distinct responses to a prompt, of two a pair.
        repeated: pairs of which another one with the same chosen and rejected response was counted already.
        contradicting: pairs of which the data also holds the opposite.
    """

    pairs: int
    prompts: int
    image_prompts: int
    images: int
    responses: int
    repeated: int
    contradicting: int

    def lines(self) -> list[tuple[str, str]]:
        """Return names and values for people."""
        shared = f"{self.pairs / self.prompts:.1f} pairs a prompt, {self.responses / self.pairs:.2f} responses a pair"
        if self.images:
            shared += f", {self.image_prompts / self.images:.1f} prompts an image"
        judged = f"{self.repeated:,} repeat a pair, {self.contradicting:,} contradict one"
        return [("pairs share", shared), ("pairs judged again", judged)]


@dataclass(frozen=True)
class GroupGain:
    """What drawing pairs together saves, as ratios: one by one over together.

    ``work`` is the cost of all ranks; ``step_time`` that of the dearest rank of every round, on as many ranks;
    ``gpu_hours`` that times ranks, against pairs that are drawn one by one on the ranks of the run. What pairs that are
    drawn one by one share by chance is left out.
    """

    group: Literal["prompt", "image"]
    ranks: int
    work: float
    step_time: float
    gpu_hours: float


class Simulated(NamedTuple):
    """Cost of some steps: of all ranks, and of the dearest rank of every round."""

    work: float
    waited: float


@dataclass(frozen=True)
class Simulation:
    """Steps of the real sampler over the pairs of a run.

    Args:
        cap: packed tokens of a micro-batch, without those of ``reserved``.
    """

    tokens: Sequence[int] | np.ndarray
    costs: Sequence[float] | np.ndarray
    sharing: PairSharing
    further: Further
    model: CostModel
    pairs_per_step: int
    seed: int
    window: int
    cap: int | None
    reserved: int = 0

    def gains(self, ranks: int, groupings: Sequence[Grouping]) -> tuple[GroupGain, ...]:
        """Return what each grouping saves on these ranks, and on fewer ones.

        Raises:
            TrainingError: as ``plan_steps``.
        """
        tried = sorted({ranks, *(fewer for fewer in FEWER_RANKS if fewer < ranks)})
        alone = self._simulate(None, tried)
        gains = []
        for grouping in groupings:
            together = self._simulate(SharedWork(self.sharing, self.model, grouping, self.further), tried)
            for count in tried:
                work, waited = alone[count].work / together[count].work, alone[count].waited / together[count].waited
                hours = ranks * alone[ranks].waited / (count * together[count].waited)
                gains.append(GroupGain(grouping.by, count, work, waited, hours))
        return tuple(gains)

    def _simulate(self, shared: SharedWork | None, ranks: Sequence[int]) -> dict[int, Simulated]:
        size, found = self.pairs_per_step, {}
        sampler = PairSampler(self.tokens, self.costs, size, seed=self.seed, window=self.window, shared=shared)
        steps = sampler.steps(epoch=0)[:STEPS]
        for count in ranks:
            sampler.dp_size = count
            microbatches = plan_steps(sampler, steps, self.cap, self.reserved).grad_accum
            dealt = list(sampler.bins(steps, count * microbatches))
            work = sum(own.cost for bins in dealt for own in bins)
            found[count] = Simulated(work, sum(waiting(bins, count) for bins in dealt))
        return found


def shared_flops(sampler: PairSampler, shared: SharedWork, microbatches: int, size: BackboneSize) -> float:
    """Return the mean forward FLOPs of a pair in steps of the first epoch, without what stands beside its tree."""
    steps = sampler.steps(epoch=0)[:STEPS]
    dealt = sampler.bins(steps, sampler.dp_size * microbatches)
    return sum(size.tree_flops(shared.sharing.tree(own.pairs)) for bins in dealt for own in bins) / steps.size


def count_shared(sharing: PairSharing) -> SharedFacts:
    """Return what pairs share, and how many repeat or contradict another one."""
    has_image = sharing.opening >= 0
    # Responses are told apart within a prompt alone.
    leaves = sharing.prompt[:, None] * (int(sharing.responses.max()) + 1) + sharing.responses
    distinct, sides = np.unique(leaves, return_inverse=True)
    chosen, rejected = sides.reshape(-1, 2).T
    judged, opposite = chosen * len(distinct) + rejected, rejected * len(distinct) + chosen
    # With equal ones the tree of a pair holds one response, and the other stands in a tree of its own.
    is_judged = chosen != rejected
    return SharedFacts(
        pairs=len(sharing.prompt),
        prompts=len(np.unique(sharing.prompt)),
        image_prompts=len(np.unique(sharing.prompt[has_image])),
        images=len(np.unique(sharing.opening[has_image])),
        responses=len(distinct),
        repeated=int(is_judged.sum()) - len(np.unique(judged[is_judged])),
        contradicting=int(np.isin(judged[is_judged], opposite).sum()),
    )


def gain_lines(gains: Sequence[GroupGain], ranks: int, pairs_per_step: int) -> list[tuple[str, str]]:
    """Return names and values for people: what a grouping saves on the ranks of the run, and what fewer would give."""
    lines = []
    for by in dict.fromkeys(gain.group for gain in gains):
        of_group = {gain.ranks: gain for gain in gains if gain.group == by}
        own = of_group[ranks]
        text = f"steps {own.step_time:.2f} times as fast on {ranks} ranks (work of all ranks {own.work:.2f} times less)"
        if own.step_time < _LITTLE:
            text += f": little, {_reason(own, of_group, pairs_per_step)}"
        lines.append((f"with group: {by}", text))
        lines += [("", _of_fewer(gain)) for count, gain in of_group.items() if count != ranks]
    return lines


def _of_fewer(gain: GroupGain) -> str:
    times, hours = f"{gain.step_time:.2f}", f"{gain.gpu_hours:.2f}"
    return f"on {gain.ranks} ranks steps {times} times as fast, {hours} times fewer GPU-hours than now"


def _reason(own: GroupGain, of_group: dict[int, GroupGain], pairs_per_step: int) -> str:
    if max(gain.step_time for gain in of_group.values()) < _LITTLE:
        return "because the pairs share little"
    each = pairs_per_step / own.ranks
    return f"because a rank has {each:g} pairs of a step, and what shares has to be cut"
