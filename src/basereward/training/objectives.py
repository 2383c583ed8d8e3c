"""From the rewards of a batch to one number to minimise, and what to log beside it.

An objective is a section of the recipe, told from others by its ``kind``. It says which trees of a pair are computed,
whether the model writes, and computes its own loss from the ``keys`` of a batch.
"""

from typing import ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor

from basereward.configuration import Section
from basereward.data.annotations import weight_of
from basereward.data.schema import Comparison, Messages, PreferencePair
from basereward.data.withheld import withhold_from_all
from basereward.training.labels import FlippedLabels, Ratings
from basereward.training.losses import bradley_terry, length_normalized, zero_coefficient
from basereward.training.rankings import RANKING_KEYS
from basereward.training.shortcuts import ImageSwap, ShortcutWeights, check_proxy_scores, with_swap

SWAP_KEYS = ("swaps", "swap_weights")
PAIR_KEYS = (
    "pairs",
    "margins",
    "weights",
    "word_weights",
    "answer_lengths",
    "head_weights",
    "model_flops",
    *SWAP_KEYS,
    *RANKING_KEYS,
)
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

    writes: ClassVar[bool] = False
    role: ClassVar[None] = None
    # These decide neither which responses are read nor which pairs are refused.
    loss_only: ClassVar[tuple[str, ...]] = ("zero_coefficient", "length_normalization", "use_margin", "flipped")

    kind: Literal["bradley_terry"] = "bradley_terry"
    """Which objective this is."""
    zero_coefficient: float = Field(default=0.0, ge=0.0)
    """Lambda of the zero-coefficient regulariser."""
    length_normalization: bool = False
    """Divide rewards by log(length + 1)."""
    use_margin: bool = False
    """Subtract the pair's margin column from the reward difference."""
    ratings: Ratings | None = None
    """Let ratings of both responses set the margin or the weight of a pair."""
    flipped: FlippedLabels | None = None
    """Take a share of the labels to be wrong."""
    blind: bool = False
    """Withhold images and videos: a text-only proxy, to be asked with ``basereward score --blind``."""
    shortcut: ShortcutWeights | None = None
    """Weigh pairs by how badly a text-only proxy ranks them, from its scores beside the pairs."""
    image_swap: ImageSwap | None = None
    """Prefer chosen responses behind their own images to those behind the images of other pairs."""

    @model_validator(mode="after")
    def _sees_what_it_compares(self) -> "BradleyTerry":
        if self.blind and (self.shortcut or self.image_swap):
            raise ValueError("blind withholds the images that shortcut and image_swap are about; leave one out")
        if self.use_margin and self.ratings and self.ratings.use == "margin":
            raise ValueError("use_margin and ratings both set the margin; leave one out")
        return self

    @property
    def keys(self) -> tuple[str, ...]:
        """What ``loss`` takes of a batch."""
        return (*_COMPARED, *SWAP_KEYS) if self.image_swap else _COMPARED

    def compare(self, pair: PreferencePair) -> Comparison:
        """Return the groups of a pair, and of one that brings the images of another the swapped one behind them."""
        comparison = with_swap(pair, pair.comparison())
        return withhold_from_all(comparison) if self.blind else comparison

    def check(self, pair: PreferencePair) -> None:
        """Refuse a pair that lacks what it is trained by; validation pairs may lack it.

        Raises:
            RowError: ``no_proxy_scores`` or ``unrated``.
        """
        if self.shortcut:
            check_proxy_scores(pair)
        if self.ratings:
            self.ratings.check(pair)

    def others(self, pair: PreferencePair) -> list[Messages]:
        """Return nothing: no response ends with a verdict."""
        return []

    def weigh(self, pair: PreferencePair) -> PairWeights:
        """Return what a pair counts.

        Raises:
            RowError: as ``weight_of``.
        """
        weight = weight_of(pair)
        if self.ratings and self.ratings.use == "weight":
            weight *= self.ratings.scaled_difference(pair) or 1.0
        return PairWeights(weight * self.shortcut.weigh(pair) if self.shortcut else weight, 0.0)

    def margin(self, pair: PreferencePair) -> float:
        """Return by how much the reward of chosen is to be above that of rejected, if margins are used."""
        if self.ratings and self.ratings.use == "margin":
            return self.ratings.scaled_difference(pair) or 0.0
        return pair.margin or 0.0

    def weigh_swap(self, pair: PreferencePair) -> float:
        """Return what the swap of a pair counts; the text is the same on both sides, so no shortcut weighs it.

        Raises:
            RowError: as ``weight_of``.
        """
        return weight_of(pair) * self.image_swap.weight if self.image_swap else 0.0

    def loss(
        self,
        rewards: Float[Tensor, " response"],
        pairs: Int[Tensor, "pair 2"],
        margins: Float[Tensor, " pair"],
        weights: Float[Tensor, " pair"],
        answer_lengths: Int[Tensor, " response"],
        swaps: Int[Tensor, "swap 2"] | None = None,
        swap_weights: Float[Tensor, " swap"] | None = None,
    ) -> PairLoss:
        """Return the sum over pairs of weight times (Bradley-Terry + lambda * zero coefficient), and of the swaps.

        A swap adds its weight times Bradley-Terry of the chosen response behind its own images (first column) and
        behind those of another pair. The caller divides by the number of pairs of all micro-batches and ranks, so the
        result does not depend on how pairs are packed.

        Source: paper Algorithm 1; the swaps are not the paper's.
        """
        if self.length_normalization:
            rewards = length_normalized(rewards, answer_lengths)
        sides = PairRewards(rewards[pairs[:, 0]], rewards[pairs[:, 1]])
        margin = margins if self.use_margin or (self.ratings and self.ratings.use == "margin") else None
        if self.flipped:
            difference = sides.chosen - sides.rejected
            terms = self.flipped.terms(difference if margin is None else difference - margin)
        else:
            terms = bradley_terry(*sides, margin)
        if self.zero_coefficient:
            terms = terms + self.zero_coefficient * zero_coefficient(*sides)
        total = (weights * terms).sum()
        if swaps is not None and swap_weights is not None:
            total = total + (swap_weights * bradley_terry(rewards[swaps[:, 0]], rewards[swaps[:, 1]])).sum()
        return PairLoss(total, sides)


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
