"""Intervals of means over few values, such as one for each seed."""

from collections.abc import Sequence
from math import sqrt

import numpy as np

from basereward.errors import DataError
from basereward.statistics import Interval, student_quantile


def seed_interval(values: Sequence[float]) -> Interval | None:
    """Return the 95 % interval of a mean by Student's t: ``mean +- t * sd / sqrt(n)``; None for fewer than two values.

    Raises:
        DataError: no values, or one that is not finite.
    """
    numbers = _numbers(values)
    if len(numbers) < 2:
        return None
    half = student_quantile(0.975, len(numbers) - 1) * float(numbers.std(ddof=1)) / sqrt(len(numbers))
    return Interval(float(numbers.mean()) - half, float(numbers.mean()) + half)


def welch_interval(first: Sequence[float], second: Sequence[float]) -> Interval | None:
    """Return the 95 % interval of the difference of two means, first minus second, of samples of unequal spread.

    ``difference +- t * sqrt(v1 + v2)`` with ``v = sd^2 / n`` and ``(v1 + v2)^2 / (v1^2 / (n1 - 1) + v2^2 / (n2 - 1))``
    degrees of freedom, rounded down. None where nothing tells the spread: fewer than two values on a side, or all
    values of each side equal.

    Raises:
        DataError: no values on a side, or one that is not finite.

    Source: Welch, Biometrika 1947.
    """
    sides = [_numbers(values) for values in (first, second)]
    if min(map(len, sides)) < 2:
        return None
    parts = [float(side.var(ddof=1)) / len(side) for side in sides]
    if not sum(parts):
        return None
    degrees = sum(parts) ** 2 / sum(part**2 / (len(side) - 1) for part, side in zip(parts, sides, strict=True))
    half = student_quantile(0.975, int(degrees + 1e-9)) * sqrt(sum(parts))
    difference = float(sides[0].mean() - sides[1].mean())
    return Interval(difference - half, difference + half)


def _numbers(values: Sequence[float]) -> np.ndarray:
    numbers = np.asarray(values, dtype=np.float64)
    if not len(numbers) or not np.isfinite(numbers).all():
        raise DataError(f"Expected finite values, found {list(values)}.")
    return numbers
