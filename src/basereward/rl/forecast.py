"""A forecast of what a reward would make of a policy: best of n under the reward, beside what it is truly worth."""

from collections.abc import Callable, Mapping, Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np

from basereward.configuration import Section
from basereward.errors import DataError
from basereward.rl.best_of_n import pair_counts, rank_correlation, selection_weights
from basereward.statistics import Interval, Stratum, stratified_interval, student_quantile

FORECAST = "forecast.json"


class Estimate(Section):
    """A mean over prompts with its 95 % interval over clusters of equal prompts; a single prompt has none."""

    value: float
    low: float | None
    high: float | None
    prompts: int


class CurvePoint(Section):
    """Best of n: the reward and the gold score of the response that the reward chooses among n."""

    n: int
    reward: Estimate
    gold: Estimate
    best_gold: Estimate
    """What a choice by gold itself would give."""
    gap: Estimate | None = None
    """By how much more the reward rises than gold from n = 1 on, each in its standard deviation within prompts."""


class Forecast(Section):
    """What ``basereward forecast`` writes: ``forecast.json``."""

    model: str
    gold: str
    """Where the truth comes from: a column of scores, or one of right answers and how they are matched."""
    prompts: int
    responses: int
    dropped: Mapping[str, int]
    """Prompts that were left out, by reason."""
    curve: tuple[CurvePoint, ...]
    best_n: int
    """The n with the highest gold on the curve."""
    within_deviation: Estimate
    """Standard deviation of rewards within a prompt."""
    within_share: float
    """Variance within prompts as a share of all variance of rewards."""
    without_spread: Estimate
    """Share of prompts whose rewards are all equal: they teach nothing."""
    without_gold_spread: Estimate
    """Share of prompts whose gold scores are all equal."""
    pair_accuracy: Estimate | None
    """Of pairs with different gold the share that the reward orders right, ties as half; the mean over prompts."""
    pair_ties: Estimate | None
    """Of the same pairs the share that the reward ties."""
    rank_correlation: Estimate | None
    """Spearman's within prompts in which both sides vary."""


class ScoredPrompt(NamedTuple):
    """The rewards and gold scores of the responses to one prompt; equal prompts have equal clusters."""

    rewards: tuple[float, ...]
    gold: tuple[float, ...]
    cluster: str


def sizes(largest: int) -> list[int]:
    """Return 1, 2, 4, ... up to the largest n, which is always among them."""
    return sorted({*(2**power for power in range(largest.bit_length()) if 2**power <= largest), largest})


def make_forecast(
    model: str, gold: str, prompts: Sequence[ScoredPrompt], dropped: Mapping[str, int], largest: int | None = None
) -> Forecast:
    """Return the forecast of scored prompts.

    Args:
        largest: the largest n; by default as many as each prompt has responses. Prompts with fewer are left out and
            counted under ``few_responses``, so that all of the curve is about the same prompts.

    Raises:
        DataError: no prompt is left, or ``largest`` is no positive number.
    """
    most = largest or min((len(own.rewards) for own in prompts), default=0)
    used = [own for own in prompts if len(own.rewards) >= most]
    if most < 2 or not used:
        raise DataError(
            f"A forecast needs prompts with at least {max(most, 2)} scored responses, found "
            f"{[len(own.rewards) for own in prompts][:5]} in {len(prompts)} prompts; left out: {dict(dropped)}."
        )
    few = len(prompts) - len(used)
    curve = _curve(used, most)
    deviations = [float(np.std(own.rewards, ddof=1)) for own in used]
    everything = float(np.var([reward for own in used for reward in own.rewards]))
    within = float(np.mean([np.var(own.rewards) for own in used]))
    counts = [pair_counts(own.rewards, own.gold) for own in used]
    return Forecast(
        model=model,
        gold=gold,
        prompts=len(used),
        responses=sum(len(own.rewards) for own in used),
        dropped={**dropped, **({"few_responses": few} if few else {})},
        curve=curve,
        best_n=max(curve, key=lambda point: point.gold.value).n,
        within_deviation=_expect(used, deviations.__getitem__),
        within_share=within / everything if everything else 0.0,
        without_spread=_expect(used, lambda place: float(len(set(used[place].rewards)) == 1)),
        without_gold_spread=_expect(used, lambda place: float(len(set(used[place].gold)) == 1)),
        pair_accuracy=_estimate(
            used, lambda place: _ratio(counts[place].right + counts[place].tied / 2, counts[place].pairs)
        ),
        pair_ties=_estimate(used, lambda place: _ratio(counts[place].tied, counts[place].pairs)),
        rank_correlation=_estimate(used, lambda place: rank_correlation(used[place].rewards, used[place].gold)),
    )


def _curve(prompts: Sequence[ScoredPrompt], most: int) -> tuple[CurvePoint, ...]:
    rewards, gold = ([np.array(own[side]) for own in prompts] for side in (0, 1))
    units = [sqrt(float(np.mean([np.var(own, ddof=1) for own in side]))) for side in (rewards, gold)]
    points = []
    for n in sizes(most):
        weights = [selection_weights(own, n) for own in rewards]
        chosen_rewards, chosen_gold = _chosen(weights, rewards), _chosen(weights, gold)
        gaps = None
        if all(units):
            gains = [
                (np.array(chosen) - [own.mean() for own in side]) / unit
                for chosen, side, unit in zip((chosen_rewards, chosen_gold), (rewards, gold), units, strict=True)
            ]
            gaps = _expect(prompts, (gains[0] - gains[1]).tolist().__getitem__)
        best = _chosen([selection_weights(own, n) for own in gold], gold)
        points.append(
            CurvePoint(
                n=n,
                reward=_expect(prompts, chosen_rewards.__getitem__),
                gold=_expect(prompts, chosen_gold.__getitem__),
                best_gold=_expect(prompts, best.__getitem__),
                gap=gaps,
            )
        )
    return tuple(points)


def _chosen(weights: Sequence[np.ndarray], values: Sequence[np.ndarray]) -> list[float]:
    # Rounding may take a mean of equal values out of their range.
    return [float(np.clip(w @ own, own.min(), own.max())) for w, own in zip(weights, values, strict=True)]


def _expect(prompts: Sequence[ScoredPrompt], value: Callable[[int], float]) -> Estimate:
    found = _estimate(prompts, value)
    assert found is not None
    return found


def _estimate(prompts: Sequence[ScoredPrompt], value: Callable[[int], float | None]) -> Estimate | None:
    """Return the mean over the prompts that have a value, None if none has."""
    known = [(own, prompt.cluster) for place, prompt in enumerate(prompts) if (own := value(place)) is not None]
    if not known:
        return None
    values, clusters = zip(*known, strict=True)
    low, high = mean_interval(values, clusters) or (None, None)
    return Estimate(value=float(np.mean(values)), low=low, high=high, prompts=len(values))


def mean_interval(values: Sequence[float], clusters: Sequence[str]) -> Interval | None:
    """Return the 95 % interval of a mean over clusters, None for a single one, which tells no spread.

    Values in [0, 1] have that of ``stratified_interval``; others Student's, ``mean -+ t sqrt(C / (C - 1) sum over
    clusters of (sum - mean count)^2) / n``.
    """
    middle = float(np.mean(values))
    residuals: dict[str, float] = {}
    for value, cluster in zip(values, clusters, strict=True):
        residuals[cluster] = residuals.get(cluster, 0.0) + value - middle
    count = len(residuals)
    if count < 2:
        return None
    if min(values) >= 0 and max(values) <= 1:
        return stratified_interval([Stratum(values, clusters)])
    variance = count / (count - 1) * sum(own * own for own in residuals.values()) / len(values) ** 2
    half = student_quantile(0.975, count - 1) * sqrt(variance)
    return Interval(middle - half, middle + half)


def _ratio(part: float, whole: int) -> float | None:
    return part / whole if whole else None
