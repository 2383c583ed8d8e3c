"""From the rewards of a batch to one number to minimise, and what to log beside it.

An objective is a section of the recipe, told from others by its ``kind``. It says which trees of a pair are computed,
whether the model writes, and computes its own loss from the ``keys`` of a batch.
"""

from typing import ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from basereward.configuration import Section
from basereward.data.annotations import weight_of
from basereward.data.schema import Comparison, Messages, PreferencePair
from basereward.training.losses import bradley_terry, length_normalized, zero_coefficient

PAIR_KEYS = ("pairs", "margins", "weights", "word_weights", "answer_lengths", "head_weights")
# Of these, what Bradley-Terry needs.
_COMPARED = ("pairs", "margins", "weights", "answer_lengths")


class PairWeights(NamedTuple):
    """What a pair counts in the loss on rewards, and in that on words."""

    rewards: float
    words: float


class PairRewards(NamedTuple):
    """Rewards of the two sides of every pair, after length normalisation if it is on."""

    chosen: Float[Tensor, " pair"]
    rejected: Float[Tensor, " pair"]


class PairLoss(NamedTuple):
    """The loss, summed over pairs, and the rewards that it compared."""

    total: Float[Tensor, ""]
    rewards: PairRewards


class BradleyTerry(Section):
    """The paper's Algorithm 1; its regularisers are off by default because they hurt (section 3.3)."""

    keys: ClassVar[tuple[str, ...]] = _COMPARED
    writes: ClassVar[bool] = False
    role: ClassVar[None] = None

    kind: Literal["bradley_terry"] = "bradley_terry"
    """Which objective this is."""
    zero_coefficient: float = Field(default=0.0, ge=0.0)
    """Lambda of the zero-coefficient regulariser."""
    length_normalization: bool = False
    """Divide rewards by log(length + 1)."""
    use_margin: bool = False
    """Subtract the pair's margin column from the reward difference."""

    def compare(self, pair: PreferencePair) -> Comparison:
        """Return the groups of a pair."""
        return pair.comparison()

    def others(self, pair: PreferencePair) -> list[Messages]:
        """Return nothing: no response ends with a verdict."""
        return []

    def weigh(self, pair: PreferencePair) -> PairWeights:
        """Return what a pair counts.

        Raises:
            RowError: as ``weight_of``.
        """
        return PairWeights(weight_of(pair), 0.0)

    def loss(
        self,
        rewards: Float[Tensor, " response"],
        pairs: Int[Tensor, "pair 2"],
        margins: Float[Tensor, " pair"],
        weights: Float[Tensor, " pair"],
        answer_lengths: Int[Tensor, " response"],
    ) -> PairLoss:
        """Return the sum over pairs of weight times (Bradley-Terry + lambda * zero coefficient).

        The caller divides by the number of pairs of all micro-batches and ranks, so the result does not depend on
        how pairs are packed.

        Source: paper Algorithm 1.
        """
        if self.length_normalization:
            rewards = length_normalized(rewards, answer_lengths)
        sides = PairRewards(rewards[pairs[:, 0]], rewards[pairs[:, 1]])
        terms = bradley_terry(*sides, margins if self.use_margin else None)
        if self.zero_coefficient:
            terms = terms + self.zero_coefficient * zero_coefficient(*sides)
        return PairLoss((weights * terms).sum(), sides)


METRIC_NAMES = (
    "pairs",
    "correct",
    "ties",
    "margin",
    "chosen",
    "rejected",
    "chosen_squared",
    "rejected_squared",
)


def metric_sums(rewards: PairRewards) -> Float[Tensor, " metric"]:
    """Return sums over pairs, in the order of ``METRIC_NAMES``; sums of ranks and micro-batches just add."""
    chosen, rejected = rewards.chosen.detach().double(), rewards.rejected.detach().double()
    return torch.stack(
        [
            torch.tensor(float(len(chosen)), dtype=torch.float64, device=chosen.device),
            (chosen > rejected).sum().double(),
            (chosen == rejected).sum().double(),
            (chosen - rejected).sum(),
            chosen.sum(),
            rejected.sum(),
            (chosen**2).sum(),
            (rejected**2).sum(),
        ]
    )


def metric_means(sums: Float[Tensor, " metric"]) -> dict[str, float]:
    """Turn summed metrics into accuracy, tie share, mean margin, and reward mean and std of both sides."""
    named = dict(zip(METRIC_NAMES, sums.tolist(), strict=True))
    pairs = named["pairs"]
    means = {side: named[side] / pairs for side in ("chosen", "rejected")}
    spread = {side: max(named[f"{side}_squared"] / pairs - means[side] ** 2, 0.0) ** 0.5 for side in means}
    return {
        "accuracy": named["correct"] / pairs,
        "ties": named["ties"] / pairs,
        "margin": named["margin"] / pairs,
        "chosen_mean": means["chosen"],
        "chosen_std": spread["chosen"],
        "rejected_mean": means["rejected"],
        "rejected_std": spread["rejected"],
    }
