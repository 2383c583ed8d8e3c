"""What keeps updates of a policy bounded: log-ratios clipped before they are raised, outlying advantages left out."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class Clipped(NamedTuple):
    """Log-probabilities for a loss of ratios: those of the policy, clipped, and those of its reference beside them."""

    policy: Float[Tensor, "row token"]
    reference: Float[Tensor, "row token"] | None


def clip_log_ratios(
    policy: Float[Tensor, "row token"],
    old: Float[Tensor, "row token"],
    bound: float,
    reference: Float[Tensor, "row token"] | None = None,
) -> Clipped:
    """Return log-probabilities whose difference from ``old`` lies within ``-bound`` and ``bound``.

    ``exp(clip(log p - log p_old, -bound, bound))``: a token beyond the bound has a finite ratio and no gradient from
    it, whatever the sign of its advantage; all other tokens are unchanged to the bit. The reference moves with the
    policy, so that ``reference - policy`` and its gradient, a divergence from the start, stay what they were.

    Args:
        policy: log-probabilities of the tokens under the policy.
        old: under the policy that sampled them; a constant.
        bound: largest absolute log-ratio, in nats.
        reference: under the model that the policy should stay near.

    Source: R1-Reward (arXiv 2505.02835), section 3, Pre-CLIP.
    """
    ratio = policy.detach() - old
    is_outside = ratio.abs() > bound
    clipped = torch.where(is_outside, old + ratio.clamp(-bound, bound), policy)
    if reference is None:
        return Clipped(clipped, None)
    return Clipped(clipped, torch.where(is_outside, reference - policy + clipped, reference))


def find_outliers(
    advantages: Float[Tensor, " rollout"], every: Float[Tensor, " other"], sigmas: float
) -> Bool[Tensor, " rollout"]:
    """Return which advantages are further from the mean of all than ``sigmas`` of their standard deviations.

    ``|A - mean(A)| / std(A) > sigmas``; where all are equal none is.

    Args:
        advantages: of some rollouts of a step.
        every: of all rollouts of the step.
        sigmas: how many standard deviations are usual.

    Source: R1-Reward (arXiv 2505.02835), section 3, Advantage Filter.
    """
    return (advantages - every.mean()).abs() > sigmas * every.std(correction=0)
