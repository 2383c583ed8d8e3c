"""Intervals of means over few values: closed forms, coverage, and no guess where nothing tells the spread."""

import math

import numpy as np
import pytest

from basereward.evaluation.spread import seed_interval, welch_interval
from basereward.statistics import student_quantile


def test_the_interval_of_a_mean_is_student_s() -> None:
    values = [0.1, 0.2, 0.4]
    low, high = seed_interval(values)
    half = 4.302653 * np.std(values, ddof=1) / math.sqrt(3)
    assert (high - low) / 2 == pytest.approx(half, rel=1e-5)
    assert (low + high) / 2 == pytest.approx(0.7 / 3)
    assert seed_interval([0.3]) is None


def test_welch_with_equal_spreads_is_the_two_sample_interval() -> None:
    first, second = [1.0, 2.0, 3.0], [5.0, 6.0, 7.0]
    low, high = welch_interval(first, second)
    # Four degrees of freedom, a variance of 1 on each side.
    half = 2.7764451 * math.sqrt(2 / 3)
    assert (low, high) == pytest.approx((-4 - half, -4 + half), rel=1e-6)
    assert welch_interval(second, first) == pytest.approx((-high, -low))


def test_welch_has_the_degrees_of_the_side_that_varies() -> None:
    low, high = welch_interval([1.0, 2.0, 3.0], [5.0, 5.0, 5.0])
    assert (high - low) / 2 == pytest.approx(student_quantile(0.975, 2) * math.sqrt(1 / 3))


@pytest.mark.parametrize(("first", "second"), [([1.0], [1.0, 2.0]), ([1.0, 1.0], [2.0, 2.0])])
def test_welch_does_not_guess_a_spread(first: list[float], second: list[float]) -> None:
    assert welch_interval(first, second) is None


def test_welch_covers() -> None:
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        sides = generator.normal(0, 1, 3), generator.normal(0, 3, 5)
        low, high = welch_interval(*(side.tolist() for side in sides))
        hits += low <= 0 <= high
    assert 0.91 <= hits / 400 <= 1
