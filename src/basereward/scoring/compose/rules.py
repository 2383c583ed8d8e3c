"""How the rewards that several members give a response become one: pure functions over a group.

All sums are exactly rounded, so that the order of members does not matter to the last bit.
"""

from collections.abc import Sequence
from math import fsum, sqrt
from statistics import median


def weighted_mean(values: Sequence[float], weights: Sequence[float]) -> float:
    """Return ``sum(w x) / sum(w)``; the weights are not negative, and one at least is positive."""
    return fsum(weight * value for weight, value in zip(weights, values, strict=True)) / fsum(weights)


def weighted_spread(values: Sequence[float], weights: Sequence[float]) -> float:
    """Return the standard deviation ``sqrt(sum(w (x - mean)^2) / (sum(w) - sum(w^2) / sum(w)))``, 0 of one value.

    With equal weights it is the sample's, with n - 1.
    """
    total = fsum(weights)
    free = total - fsum(weight * weight for weight in weights) / total
    # One member that has all the weight leaves nothing but rounding.
    if len(values) < 2 or free <= 1e-12 * total:
        return 0.0
    mean = weighted_mean(values, weights)
    return sqrt(fsum(weight * (value - mean) ** 2 for weight, value in zip(weights, values, strict=True)) / free)


def lower_bound(values: Sequence[float], weights: Sequence[float], penalty: float) -> float:
    """Return ``mean - penalty x standard deviation``.

    Source: Coste and others, 2310.02743, who subtract the variance; the deviation has the unit of a reward.
    """
    return weighted_mean(values, weights) - penalty * weighted_spread(values, weights)


def middle(values: Sequence[float]) -> float:
    """Return the median; of an even number the mean of the middle two."""
    return median(values)


def vote_shares(rewards: Sequence[Sequence[float]], weights: Sequence[float], ties: str) -> list[float]:
    """Return, for each response, the share of votes that it gets against another, averaged over the others.

    A member votes for the response of two that it gives the higher reward; equal rewards are half a vote for each.

    Args:
        rewards: for each member its reward of each response.
        weights: of the members' votes.
        ties: ``mean`` decides between two responses with as many votes by their mean rewards; ``tie`` leaves 0.5.

    Raises:
        ZeroDivisionError: there is one response, and nothing to vote on.
    """
    places = range(len(rewards[0]))
    means = [weighted_mean([own[place] for own in rewards], weights) for place in places]
    shares = []
    for one in places:
        won = [_share(rewards, weights, means, (one, other), ties) for other in places if other != one]
        shares.append(fsum(won) / len(won))
    return shares


def _share(
    rewards: Sequence[Sequence[float]],
    weights: Sequence[float],
    means: Sequence[float],
    pair: tuple[int, int],
    ties: str,
) -> float:
    one, other = pair
    share = weighted_mean([_preference(own[one], own[other]) for own in rewards], weights)
    # 0.3 against 0.1 + 0.2 is a tie; rounding must not break it, least of all for one of the two alone.
    if abs(share - 0.5) > 1e-12:
        return share
    return _preference(means[one], means[other]) if ties == "mean" else 0.5


def _preference(one: float, other: float) -> float:
    return 0.5 if one == other else float(one > other)
