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


def noisy_bradley_terry(
    difference: Float[Tensor, " pair"], flip_rate: float, unbiased: bool = False
) -> Float[Tensor, " pair"]:
    """Bradley-Terry of labels of which a share ``e`` is the wrong way round.

    Smooth: ``(1 - e) L(d) + e L(-d)`` with ``L(d) = -log sigmoid(d)``, least at ``sigmoid(d) = 1 - e``. Unbiased:
    ``((1 - e) L(d) - e L(-d)) / (1 - 2 e)``, whose mean over flips is ``L`` of the true label; it has no least value,
    ``-e d / (1 - 2 e)`` for large ``d``.

    Args:
        difference: of the rewards, without the margin.
        flip_rate: ``e``, below one half.

    Source: smooth: Mitchell 2023, "A note on DPO with noisy preferences"; unbiased: arXiv 2403.00409 (robust DPO).
    """
    right, wrong = -logsigmoid(difference), -logsigmoid(-difference)
    if unbiased:
        return ((1 - flip_rate) * right - flip_rate * wrong) / (1 - 2 * flip_rate)
    return (1 - flip_rate) * right + flip_rate * wrong


def plackett_luce(rewards: Float[Tensor, " response"], rankings: Int[Tensor, "member 3"]) -> Float[Tensor, " ranking"]:
    """Negative log-likelihood of each ranking, a mean over its stages: each takes the best of those that are left.

    ``mean_i log sum_{j: rank_j >= rank_i} exp(r_j) - r_i`` over all responses ``i`` that are better than another one.
    Tied ones have the same sum, themselves in it, each a stage of its own. Of two responses it is Bradley-Terry.

    Args:
        rankings: response, ranking and rank of each member, 0 the best; every ranking has two ranks at least.

    Source: Plackett 1975; ties: Breslow 1974, the approximation of Cox models.
    """
    members, owners, ranks = rankings.unbind(1)
    own = rewards[members]
    is_same = owners[:, None] == owners
    left = own.expand(len(own), -1).masked_fill(~(is_same & (ranks[:, None] <= ranks)), -torch.inf)
    is_stage = (is_same & (ranks[:, None] < ranks)).any(1)
    return _mean_by_ranking((left.logsumexp(1) - own)[is_stage], owners[is_stage], owners)


def best_of_ranking(
    rewards: Float[Tensor, " response"], rankings: Int[Tensor, "member 3"]
) -> Float[Tensor, " ranking"]:
    """Cross entropy of a softmax over the responses of each ranking, against the uniform distribution over its best.

    Args:
        rankings: as in ``plackett_luce``.

    Source: ListNet's top-one probability, Cao et al. 2007, with all of it on the best.
    """
    members, owners, ranks = rankings.unbind(1)
    own = rewards[members]
    all_own = own.expand(len(own), -1).masked_fill(owners[:, None] != owners, -torch.inf)
    is_best = ranks == 0
    return _mean_by_ranking((all_own.logsumexp(1) - own)[is_best], owners[is_best], owners)


def pairs_of_ranking(
    rewards: Float[Tensor, " response"], rankings: Int[Tensor, "member 3"]
) -> Float[Tensor, " ranking"]:
    """Bradley-Terry, a mean over every two responses of each ranking that are not tied.

    Args:
        rankings: as in ``plackett_luce``.

    Source: arXiv 2203.02155 (InstructGPT), equation 1.
    """
    members, owners, ranks = rankings.unbind(1)
    better, worse = ((owners[:, None] == owners) & (ranks[:, None] < ranks)).nonzero(as_tuple=True)
    own = rewards[members]
    return _mean_by_ranking(bradley_terry(own[better], own[worse]), owners[better], owners)


def _mean_by_ranking(
    terms: Float[Tensor, " term"], term_owners: Int[Tensor, " term"], owners: Int[Tensor, " member"]
) -> Float[Tensor, " ranking"]:
    count = int(owners.max()) + 1
    sums = terms.new_zeros(count).index_add(0, term_owners, terms)
    return sums / torch.bincount(term_owners, minlength=count)
