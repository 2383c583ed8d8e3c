"""From the rewards of a batch to one number to minimise, and what to log beside it."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from basereward.training.losses import bradley_terry, length_normalized, zero_coefficient


@dataclass(frozen=True, slots=True)
class ObjectiveSettings:
    """The paper's Algorithm 1; its regularisers are off by default because they hurt (section 3.3).

    ``zero_coefficient`` is lambda; ``use_margin`` subtracts the pair's own ``margin`` column.
    """

    zero_coefficient: float = 0.0
    length_normalization: bool = False
    use_margin: bool = False


class PairRewards(NamedTuple):
    """Rewards of the two sides of every pair, after length normalisation if it is on."""

    chosen: Float[Tensor, " pair"]
    rejected: Float[Tensor, " pair"]


class Objective(NamedTuple):
    """The loss, summed over pairs, and the rewards that it compared."""

    total: Float[Tensor, ""]
    rewards: PairRewards


def preference_objective(
    rewards: Float[Tensor, " response"],
    pairs: Int[Tensor, "pair 2"],
    margins: Float[Tensor, " pair"],
    weights: Float[Tensor, " pair"],
    answer_lengths: Int[Tensor, " response"],
    settings: ObjectiveSettings,
) -> Objective:
    """Return the sum over pairs of weight times (Bradley-Terry + lambda * zero coefficient).

    The caller divides by the number of pairs of all micro-batches and ranks, so the result does not depend on
    how pairs are packed.

    Source: paper Algorithm 1.
    """
    if settings.length_normalization:
        rewards = length_normalized(rewards, answer_lengths)
    sides = PairRewards(rewards[pairs[:, 0]], rewards[pairs[:, 1]])
    terms = bradley_terry(*sides, margins if settings.use_margin else None)
    if settings.zero_coefficient:
        terms = terms + settings.zero_coefficient * zero_coefficient(*sides)
    return Objective((weights * terms).sum(), sides)


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
