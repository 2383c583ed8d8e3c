"""Accuracy, ties and intervals: pure functions on numbers."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from fractions import Fraction
from functools import lru_cache
from itertools import product
from math import cos, exp, lgamma, log, log1p, pi, sin, sqrt, tan
from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np

from basereward.errors import DataError

Ties = Literal["strict", "half", "greater_or_equal"]
TIE_VALUES: dict[str, float] = {"strict": 0.0, "half": 0.5, "greater_or_equal": 1.0}

# Of the random sign flips of ``paired_difference``.
FLIP_SEED = 0
FLIPS = 2000
# Up to here all 2^clusters assignments of signs are counted instead of drawn.
EXACT_CLUSTERS = 11
# Values beyond so many times the usual spread are far; of few values the spread is that of their middle half.
_FAR, _FAR_OF_FEW, _FEW = 3.0, 10.0, 200


class Interval(NamedTuple):
    """A confidence interval, both ends included."""

    low: float
    high: float


class Stratum(NamedTuple):
    """Values that are averaged together, the cluster (such as the prompt) of each, and the weight of their mean."""

    values: Sequence[float]
    clusters: Sequence[Hashable]
    weight: float = 1.0


class Difference(NamedTuple):
    """The mean of paired differences with its 95 % interval, and the p of a mean as far from zero by chance."""

    value: float
    low: float
    high: float
    p: float


class Attainable(NamedTuple):
    """The share ``k / n`` that is meant by a printed value, or the nearest one if no share prints as it.

    ``nearest`` is ``scale * k / n``. ``is_rounded`` says that it prints as the value when rounded, halves up or to
    even; ``is_cut_off`` that it does so only when the digits behind are dropped, as some tables do.
    """

    k: int
    n: int
    nearest: float
    is_rounded: bool
    is_cut_off: bool

    @property
    def is_attainable(self) -> bool:
        """Whether any share of ``n`` prints as the value."""
        return self.is_rounded or self.is_cut_off


def attainable(value: float, n: int, decimals: int = 2, scale: int = 100) -> Attainable:
    """Return whether a share of ``n`` items can print as ``value``: ``scale * k / n`` with so many decimals.

    Exact: 85.58 is no share of 46, 91.76 is 156/170.

    Raises:
        DataError: ``n`` is not positive, ``decimals`` is negative, or ``value`` is outside [0, ``scale``].
    """
    if n < 1 or decimals < 0:
        raise DataError(f"Expected at least one item and no negative decimals, found n = {n}, decimals = {decimals}.")
    if not 0 <= value <= scale:
        raise DataError(f"Expected a value between 0 and {scale}, found {value}.")
    printed, place = Decimal(str(value)), Decimal(1).scaleb(-decimals)
    middle = round(Fraction(printed) * n / scale)
    # The nearest share first; one beside it may still be the one that was cut off.
    for k in (middle, *(k for k in (middle + 1, middle - 1) if 0 <= k <= n)):
        exact = Decimal(scale * k) / n
        is_rounded = printed in {exact.quantize(place, mode) for mode in (ROUND_HALF_UP, ROUND_HALF_EVEN)}
        is_cut_off = not is_rounded and exact.quantize(place, ROUND_DOWN) == printed
        if is_rounded or is_cut_off:
            return Attainable(k, n, float(exact), is_rounded, is_cut_off)
    return Attainable(middle, n, scale * middle / n, False, False)


def wilson_interval(successes: float, n: int, confidence: float = 0.95) -> Interval:
    """Return Wilson's score interval of a share.

    ``(p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)`` with ``p = successes / n``. It
    stays inside [0, 1] and has a width at ``p = 0`` and ``p = 1``. Halves (ties) are allowed.

    Raises:
        DataError: ``n`` is not positive, ``successes`` is outside [0, n], or ``confidence`` outside (0, 1).

    Source: Wilson, 1927; Brown, Cai and DasGupta, Statistical Science 2001, equation 4.
    """
    if n < 1:
        raise DataError(f"A share needs at least one item, found n = {n}.")
    if not 0 <= successes <= n:
        raise DataError(f"Expected successes between 0 and {n}, found {successes}.")
    if not 0 < confidence < 1:
        raise DataError(f"Expected a confidence between 0 and 1, found {confidence}.")
    low, high = _wilson(successes / n, n, NormalDist().inv_cdf(0.5 + confidence / 2))
    # Both ends are exact where rounding would leave 1e-17.
    return Interval(low if successes else 0.0, high if successes < n else 1.0)


def _wilson(share: float, n: float, z: float) -> Interval:
    shrink = 1 + z * z / n
    center = (share + z * z / (2 * n)) / shrink
    half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / shrink
    return Interval(center - half, center + half)


def stratified_mean(strata: Sequence[Stratum]) -> float:
    """Return ``sum(weight * mean) / sum(weight)`` over strata, none of which is empty."""
    weights = np.array([part.weight for part in strata])
    return float(np.dot(weights, [np.mean(part.values) for part in strata]) / weights.sum())


# A table asks for a few degrees again and again, and one answer costs 40 sums of a series.
@lru_cache(maxsize=4096)
def student_quantile(probability: float, degrees: int) -> float:
    """Return the quantile of Student's t at a probability in (0.5, 1), by bisection of its closed form.

    ``P(|T| < t)`` with ``a = atan(t / sqrt(degrees))`` is for even degrees ``sin a (1 + cos^2 a / 2 + 3 cos^4 a / 8
    + ...)`` and for odd ones ``2 / pi (a + sin a (cos a + 2 cos^3 a / 3 + ...))``, both up to ``cos^(degrees - 2) a``.

    Raises:
        DataError: no degrees of freedom, or another probability.

    Source: Abramowitz and Stegun, 26.7.3 and 26.7.4.
    """
    if degrees < 1 or not 0.5 < probability < 1:
        raise DataError(f"Expected degrees >= 1 and a probability in (0.5, 1), found {degrees} and {probability}.")
    low, high = 0.0, pi / 2
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if _student_share(middle, degrees) < 2 * probability - 1 else (low, middle)
    return sqrt(degrees) * tan(high)


def _student_share(angle: float, degrees: int) -> float:
    """Return ``P(|T| < sqrt(degrees) tan(angle))``."""
    first = 1 + degrees % 2
    # The k-th term is that before it times (k - 1) / k cos^2.
    steps = np.arange(first + 1, degrees - 1, 2)
    terms = np.cumprod(np.concatenate([[cos(angle) ** (first - 1)], (steps - 1) / steps * cos(angle) ** 2]))
    series = sin(angle) * float(terms.sum())
    if degrees % 2 == 0:
        return series
    return 2 / pi * (angle + (series if degrees > 1 else 0.0))


class _Mean(NamedTuple):
    """The mean of a stratum: its weight, its effective sample size, and each cluster's influence on it."""

    weight: float
    value: float
    size: float
    influence: dict[Hashable, float]

    def interval(self, quantile: float) -> Interval:
        """Return Wilson's interval around the mean, all of [0, 1] for a single cluster, which tells no spread."""
        # Ties in RewardBench 2 reach 1.01.
        share = min(max(self.value, 0.0), 1.0)
        low, high = _wilson(share, self.size, quantile) if len(self.influence) > 1 else (0.0, 1.0)
        return Interval(min(low, self.value), max(high, self.value))


def stratified_interval(strata: Sequence[Stratum]) -> Interval:
    """Return the 95 % interval of ``sum(weight * mean) / sum(weight)`` of values in [0, 1].

    Each stratum has Wilson's interval at its effective sample size. With ``d`` the distance from a mean to that end of
    its interval which moves the sum down, and ``w`` the weights that sum to 1,
    ``low = value - sqrt(sum over i, j of w_i d_i r_ij w_j d_j)``, and so upwards; ``r`` is the correlation of two means
    over the clusters that their strata share.

    Source: Zou and Donner, Statistics in Medicine 2008 (intervals of a sum from those of its terms, MOVER).
    """
    total = sum(part.weight for part in strata)
    return _combine([_effective_mean(part, part.weight / total) for part in strata])


def _effective_mean(part: Stratum, weight: float) -> _Mean:
    """Return the mean of a stratum with its effective sample size ``p (1 - p) / variance``.

    The variance is the linearised one of a ratio, ``C / (C - 1) sum over clusters of (sum - p count)^2 / rows^2``, and
    at least that of independent rows: a design effect is at least 1. Where all values are equal, the size is the
    number of clusters, because equal rows of one prompt say one thing.
    """
    clusters, sums, counts = _cluster_sums(part)
    values = np.asarray(part.values, dtype=float)
    value, rows, known = float(values.mean()), len(values), len(clusters)
    influence = (sums - value * counts) / rows
    between = known / max(known - 1, 1) * float(influence @ influence)
    variance = max(between, float(((values - value) ** 2).sum()) / rows**2)
    size = value * (1 - value) / variance if variance > 1e-18 else known
    return _Mean(weight, value, max(size, 1e-9), dict(zip(clusters, influence.tolist(), strict=True)))


def _combine(means: Sequence[_Mean]) -> Interval:
    value = sum(mean.weight * mean.value for mean in means)
    correlation = np.array([[_correlation(one, other) for other in means] for one in means])
    below, above = (_norm(_distances(means, side, _quantile(means, side)), correlation) for side in ("low", "high"))
    return Interval(value - below, value + above)


def _distances(means: Sequence[_Mean], side: Literal["low", "high"], quantile: float) -> np.ndarray:
    """Return for each mean its weight times the distance to that end of its interval which moves the sum to a side.

    The sign is that of the weight, so that means that vary together cancel in a difference.
    """
    other = "high" if side == "low" else "low"
    # A mean that counts negatively moves the sum down where it goes up.
    ends = [getattr(mean.interval(quantile), side if mean.weight > 0 else other) for mean in means]
    return np.array([mean.weight * abs(mean.value - end) for mean, end in zip(means, ends, strict=True)])


def _quantile(means: Sequence[_Mean], side: Literal["low", "high"]) -> float:
    """Return Student's quantile at the degrees of freedom of the whole sum on one side.

    ``(sum of d^2)^2 / (sum of d^4 / (clusters - 1))`` with ``d`` the distances at the normal quantile, divided by how
    many of the strata a cluster stands in on average: the same clusters are not seen twice.

    Source: Satterthwaite, Biometrics Bulletin 1946.
    """
    squares = _distances(means, side, NormalDist().inv_cdf(0.975)) ** 2
    if not squares.any():
        return NormalDist().inv_cdf(0.975)
    degrees = np.array([max(len(mean.influence) - 1, 1) for mean in means])
    repeats = sum(len(mean.influence) for mean in means) / len(
        {cluster for mean in means for cluster in mean.influence}
    )
    return student_quantile(0.975, max(1, int(squares.sum() ** 2 / (squares**2 / degrees).sum() / repeats)))


def _norm(widths: np.ndarray, correlation: np.ndarray) -> float:
    return sqrt(max(0.0, float(widths @ correlation @ widths)))


def _correlation(one: _Mean, other: _Mean) -> float:
    if one is other:
        return 1.0
    if not one.influence.keys() & other.influence.keys():
        return 0.0
    scale = sqrt(sum(own * own for own in one.influence.values()) * sum(own * own for own in other.influence.values()))
    if scale > 1e-18:
        return sum(own * other.influence.get(cluster, 0.0) for cluster, own in one.influence.items()) / scale
    # Without spread nothing tells it; this is the wider case for a sum and the middle one for a difference.
    return float(one.weight * other.weight > 0)


def paired_difference(first: Sequence[Stratum], second: Sequence[Stratum]) -> Difference:
    """Return the difference of two stratified means over the same rows, first minus second, with its interval and p.

    The interval is that of ``stratified_interval`` with the second strata at negative weights; where no row differs
    there is none. p is that of
    exchanging both sides cluster by cluster, ``#{|difference with signs| >= |difference|} / #{signs}``: if both are
    alike, each cluster's differences could as well have the other sign. All ``2^clusters`` assignments are counted for
    up to 11 clusters; else 2,000 are drawn, and p is ``(1 + #) / (1 + 2000)``.

    Raises:
        DataError: nothing to compare, strata of other rows, or a value that is not finite.

    Source: Zou and Donner, Statistics in Medicine 2008; Efron and Tibshirani, 1993, section 15.2.
    """
    if not first or [list(part.clusters) for part in first] != [list(part.clusters) for part in second]:
        raise DataError("Expected two means over the same rows, in the same order and strata.")
    for part in (*first, *second):
        _finite(part.values, "values")
    total = sum(part.weight for part in first)
    sides = [(part, part.weight / total) for part in first] + [(part, -part.weight / total) for part in second]
    if all(np.array_equal(part.values, other.values) for part, other in zip(first, second, strict=True)):
        return Difference(0.0, 0.0, 0.0, 1.0)
    value = stratified_mean(first) - stratified_mean(second)
    low, high = _combine([_effective_mean(part, weight) for part, weight in sides])
    return Difference(value, low, high, _flip_share(first, second, total))


def _flip_share(first: Sequence[Stratum], second: Sequence[Stratum], total: float) -> float:
    """Return the share of sign flips of whole clusters whose difference is as far from zero."""
    effects: dict[Hashable, float] = defaultdict(float)
    for part, other in zip(first, second, strict=True):
        gaps = np.asarray(part.values, dtype=float) - np.asarray(other.values, dtype=float)
        for cluster, gap in zip(part.clusters, gaps.tolist(), strict=True):
            effects[cluster] += part.weight / total * gap / len(gaps)
    sizes = np.array(list(effects.values()))
    # Sums of the same numbers in another order may differ in the last digit.
    least = abs(sizes.sum()) * (1 - 1e-9)
    if len(sizes) <= EXACT_CLUSTERS:
        signs = np.array(list(product((1.0, -1.0), repeat=len(sizes))))
        return float(np.mean(np.abs(signs @ sizes) >= least))
    signs = np.random.default_rng(FLIP_SEED).choice([-1.0, 1.0], size=(FLIPS, len(sizes)))
    return float(1 + np.sum(np.abs(signs @ sizes) >= least)) / (1 + FLIPS)


def mcnemar(only_first: int, only_second: int) -> float:
    """Return McNemar's exact two-sided p for the rows that only one of two scorers has right.

    ``min(1, 2 sum_{k <= min} C(n, k) / 2^n)`` with ``n = only_first + only_second``: the binomial test of one half.

    Raises:
        DataError: a count is negative.

    Source: McNemar, Psychometrika 1947; the exact form, not the chi-square or the mid-p.
    """
    if only_first < 0 or only_second < 0:
        raise DataError(f"Expected no negative counts, found {only_first} and {only_second}.")
    n = only_first + only_second
    tail = term = 1
    for k in range(min(only_first, only_second)):
        # C(n, k + 1) from C(n, k), in whole numbers.
        term = term * (n - k) // (k + 1)
        tail += term
    return min(1.0, float(Fraction(2 * tail, 2**n)))


def critical_count(n: int, share: float, probability: float) -> int:
    """Return the least ``k`` with ``P(X >= k) <= probability`` for a binomial ``X`` of ``n`` draws; ``n + 1`` if none.

    Raises:
        DataError: ``n`` is not positive, or a share or probability is outside [0, 1].
    """
    if n < 1 or not 0 <= share <= 1 or not 0 <= probability <= 1:
        raise DataError(f"Expected n >= 1 and shares in [0, 1], found {n}, {share} and {probability}.")
    if share in (0, 1):
        return n + 1 if share else 1
    tail, k = 0.0, n
    odds = log(share), log1p(-share)
    while k >= 0:
        tail += exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + k * odds[0] + (n - k) * odds[1])
        if tail > probability:
            break
        k -= 1
    return k + 1


def usual_range(values: Sequence[float]) -> Interval:
    """Return where values usually lie: a few times their usual spread to each side of the median.

    The ends are infinite where most values are equal: nothing tells what is far there.
    """
    low, middle, high = np.quantile(values, [0.01, 0.5, 0.99]).tolist()
    far = _FAR
    if len(values) < _FEW:
        # The 1 % and 99 % of few values are their outermost ones, which may be what is far.
        low, high = np.quantile(values, [0.25, 0.75]).tolist()
        far = _FAR_OF_FEW
    reach = far * max(high - middle, middle - low) or float("inf")
    return Interval(middle - reach, middle + reach)


def _cluster_sums(part: Stratum) -> tuple[tuple[Hashable, ...], np.ndarray, np.ndarray]:
    """Return the clusters of a stratum, and for each the sum and the number of its values."""
    places = {cluster: place for place, cluster in enumerate(dict.fromkeys(part.clusters))}
    index = np.array([places[cluster] for cluster in part.clusters])
    return tuple(places), np.bincount(index, weights=np.asarray(part.values, dtype=float)), np.bincount(index)


def _finite(values: Sequence[float], name: str) -> np.ndarray:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not len(numbers):
        raise DataError(f"Expected a non-empty list of {name}, found shape {numbers.shape}.")
    if not np.isfinite(numbers).all():
        place = int(np.flatnonzero(~np.isfinite(numbers))[0])
        raise DataError(f"Expected finite {name}, found {numbers[place]} at index {place}.")
    return numbers
