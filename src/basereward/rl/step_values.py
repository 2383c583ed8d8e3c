"""The monitors of one step: numbers of groups of responses, each with what is behind it and its standard error."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isfinite, log, sqrt
from typing import NamedTuple

import numpy as np

from basereward.rl.watched import FORMATS, WatchedGroup, WatchedResponse

# sigmoid(x) > 0.99 where x is above this.
SATURATION = 0.99
SATURATED = log(SATURATION / (1 - SATURATION))
# Rewards of a group that differ by less than this differ by rounding alone.
EQUAL = 1e-6


class Measured(NamedTuple):
    """A number of one or more steps.

    Args:
        value: the number.
        weight: how many responses or groups it is the mean of.
        groups: how many groups of equal size tell as much, ``(sum n)^2 / sum n^2``.
        error: its standard error over the groups.
    """

    value: float
    weight: float
    groups: float
    error: float


def measure_step(groups: Sequence[WatchedGroup]) -> dict[str, Measured]:
    """Return every number that the groups of a step give; what cannot be told of them has no entry.

    ``without_spread`` and ``without_signal`` are shares of groups (the second counts those in which not every response
    matches), ``disagreement`` a share of the groups with matched and unmatched responses, ``spread`` the mean standard
    deviation within groups; correlations are within groups, that with images between them.
    """
    found = dict(_shares(groups))
    found |= {
        "length": mean([[float(one.length) for one in group.responses] for group in groups]),
        "length_correlation": within_correlation(groups, lambda one: float(one.length)),
        "image_correlation": _image_correlation(groups),
    }
    for name in FORMATS:
        found[f"format_share:{name}"] = _share(groups, lambda one, name=name: name in one.formats)  # type: ignore[misc]
        found[f"format_correlation:{name}"] = within_correlation(
            groups,
            lambda one, name=name: float(name in one.formats),  # type: ignore[misc]
        )
    found |= _levels("reward", [_rewards(group) for group in groups])
    found |= _levels("model_reward", [_model_rewards(group.responses) for group in groups])
    return {name: value for name, value in found.items() if value is not None}


def _shares(groups: Sequence[WatchedGroup]) -> Iterator[tuple[str, Measured | None]]:
    def unmatched(one: WatchedResponse) -> bool | None:
        return _is_saturated(one) if one.matched is False else None

    yield "missing", _share(groups, lambda one: not one.is_rewarded)
    yield "cut", _share(groups, lambda one: one.is_cut)
    yield "matched", _share(groups, lambda one: one.matched)
    yield "saturated", _share(groups, _is_saturated)
    yield "saturated_unmatched", _share(groups, unmatched)
    flat = [_is_flat(group) for group in groups]
    yield "without_spread", share([[own] for own in flat if own is not None])
    silent = [
        own and not all(one.matched for one in group.responses)
        for group, own in zip(groups, flat, strict=True)
        if own is not None and all(one.matched is not None for one in group.responses)
    ]
    yield "without_signal", share([[own] for own in silent])
    disagreements = (_disagrees(group) for group in groups)
    yield "disagreement", share([[own] for own in disagreements if own is not None])
    spreads = [[float(np.std(own))] for own in map(_rewards, groups) if len(own) > 1]
    yield "spread", mean(spreads)


def share(flags: Sequence[Sequence[bool]]) -> Measured | None:
    """Return the share of true flags, given by groups, None without flags."""
    return mean([[float(flag) for flag in own] for own in flags])


def mean(values: Sequence[Sequence[float]]) -> Measured | None:
    """Return the mean of all values, with its standard error over the groups that they stand in, None without values.

    ``error^2 = g / (g - 1) sum over groups of (sum - mean count)^2 / n^2``; 0 for a single group.
    """
    known = [(sum(own), len(own)) for own in values if own]
    if not known:
        return None
    total = float(sum(count for _, count in known))
    value = sum(own for own, _ in known) / total
    squares = sum((own - value * count) ** 2 for own, count in known)
    error = sqrt(len(known) / max(len(known) - 1, 1) * squares) / total
    return Measured(value, total, total**2 / sum(count**2 for _, count in known), error)


def within_correlation(groups: Sequence[WatchedGroup], feature: Callable[[WatchedResponse], float]) -> Measured | None:
    """Return the correlation of rewards with a feature, both centred within their group, None without spread.

    ``r = sum Sxy / sqrt(sum Sxx sum Syy)`` over groups; the error is that of leaving out one group at a time, and at
    least ``(1 - (r n / (n + 2))^2) / sqrt(n)`` with ``n`` the responses that differ within their group, less one each:
    in a group of two different ones the correlation is 1 or -1 whatever they are.
    """
    moments, rows = [], 0
    for group in groups:
        points = [(feature(one), one.reward) for one in group.responses if one.is_rewarded]
        # Without a spread there is nothing to centre: so it is for most forms and groups.
        if len(distinct := set(points)) < 2 or len({x for x, _ in distinct}) < 2:
            continue
        x, y = np.array(points, dtype=np.float64).T
        x, y = x - x.mean(), y - y.mean()
        if np.ptp(x) > 0 and np.ptp(y) > EQUAL:
            moments.append((x @ y, x @ x, y @ y))
            rows += len(distinct) - 1
    return _correlation(np.array(moments), rows) if moments else None


def _correlation(moments: np.ndarray, rows: int) -> Measured:
    total = moments.sum(axis=0)
    value = float(total[0] / sqrt(total[1] * total[2]))
    least = (1 - (value * rows / (rows + 2)) ** 2) / sqrt(rows)
    count = len(moments)
    if count == 1:
        return Measured(value, 1.0, 1.0, least)
    rest = total - moments
    without = rest[:, 0] / np.sqrt(rest[:, 1] * rest[:, 2])
    error = sqrt((count - 1) / count * float(((without - without.mean()) ** 2).sum()))
    return Measured(value, float(count), float(count), max(error, least))


def _image_correlation(groups: Sequence[WatchedGroup]) -> Measured | None:
    """Return the correlation of the mean reward of groups with their number of images, which is that of the prompt."""
    means = [(float(np.mean(own)), group.images) for group in groups if (own := _rewards(group))]
    if len(means) < 3:
        return None
    y, x = (np.array(side, dtype=np.float64) for side in zip(*means, strict=True))
    if np.ptp(x) == 0 or np.ptp(y) <= EQUAL:
        return None
    x, y = x - x.mean(), y - y.mean()
    value = float(x @ y / sqrt((x @ x) * (y @ y)))
    error = sqrt(max(1 - value * value, 0.01) / (len(means) - 2))
    return Measured(value, float(len(means)), float(len(means)), error)


def _levels(name: str, values: Sequence[Sequence[float]]) -> dict[str, Measured | None]:
    """Return the mean, the mean of the best of each group, and the standard deviation of all values."""
    every = [value for own in values for value in own]
    count = float(len(every))
    deviation = Measured(float(np.std(every)), count, count, 0.0) if every else None
    best = mean([[max(own)] for own in values if own])
    return {name: mean(values), f"best_{name}": best, f"{name}_deviation": deviation}


def _rewards(group: WatchedGroup) -> list[float]:
    return [one.reward for one in group.responses if one.is_rewarded and one.reward is not None]


def _model_rewards(responses: Sequence[WatchedResponse]) -> list[float]:
    return [one.model_reward for one in responses if one.model_reward is not None and isfinite(one.model_reward)]


def _is_saturated(one: WatchedResponse) -> bool | None:
    return None if one.model_reward is None else one.model_reward > SATURATED


def _is_flat(group: WatchedGroup) -> bool | None:
    rewards = _rewards(group)
    return max(rewards) - min(rewards) <= EQUAL if len(rewards) > 1 else None


def _disagrees(group: WatchedGroup) -> bool | None:
    """Whether the model prefers an unmatched response to a matched one; None where there are not both."""
    matched, unmatched = (
        _model_rewards([one for one in group.responses if one.matched is side]) for side in (True, False)
    )
    return max(unmatched) > min(matched) + EQUAL if matched and unmatched else None


def _share(groups: Sequence[WatchedGroup], flag: Callable[[WatchedResponse], bool | None]) -> Measured | None:
    flags = [[own for one in group.responses if (own := flag(one)) is not None] for group in groups]
    return share(flags)


def pool(values: Sequence[Measured]) -> Measured:
    """Return the mean of several steps by weight, with the groups and the error that those of the steps give it."""
    weight = sum(own.weight for own in values)
    value = sum(own.weight * own.value for own in values) / weight
    groups = weight**2 / sum(own.weight**2 / own.groups for own in values)
    return Measured(value, weight, groups, sqrt(sum((own.weight * own.error) ** 2 for own in values)) / weight)


StepValues = Mapping[str, Measured]
