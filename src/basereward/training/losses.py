"""Preference losses as pure functions of rewards; each returns one term for every pair."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid

from basereward.errors import TrainingError


def bradley_terry(
    chosen: Float[Tensor, " pair"], rejected: Float[Tensor, " pair"], margin: Float[Tensor, " pair"] | None = None
) -> Float[Tensor, " pair"]:
    """Negative log-likelihood that each chosen response beats its rejected one.

    ``-log sigmoid(r_c - r_r - m)`` with a target margin ``m``, 0 by default.

    Raises:
        TrainingError: the shapes differ; [3] against [3, 1] would broadcast to nine wrong pairs.

    Source: paper section 2; Algorithm 1, line 9.
    """
    _check_shapes(chosen, rejected)
    difference = chosen - rejected
    if margin is not None:
        _check_shapes(difference, margin)
        difference = difference - margin
    return -logsigmoid(difference)


def zero_coefficient(chosen: Float[Tensor, " pair"], rejected: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
    """Squared sum of the two rewards, which pulls them to be centred around zero: ``(r_c + r_r)^2``.

    Source: paper section 3.3; Algorithm 1, line 10 (times lambda, mean over pairs).
    """
    _check_shapes(chosen, rejected)
    return (chosen + rejected) ** 2


def length_normalized(
    rewards: Float[Tensor, " response"], lengths: Int[Tensor, " response"]
) -> Float[Tensor, " response"]:
    """Divide each reward by the logarithm of its response's length: ``r / log(l + 1)``.

    Args:
        lengths: tokens of each response, at least 1.

    Source: paper Algorithm 1, lines 5-6.
    """
    _check_shapes(rewards, lengths)
    return rewards / torch.log(lengths.to(rewards.dtype) + 1.0)


def _check_shapes(first: Tensor, second: Tensor) -> None:
    if first.shape != second.shape or first.ndim != 1:
        raise TrainingError(
            f"Found shapes {tuple(first.shape)} and {tuple(second.shape)}, expected two equal one-dimensional ones."
        )
