"""Curves between knots, and pooling against all ways to pool."""

from itertools import combinations, pairwise

import numpy as np
import pytest

from basereward.errors import ScoringError
from basereward.scoring.calibration.curves import Curve, find_knots, pool_adjacent, segment_basis, win_curve


def by_hand(values, weights):
    """The nearest sequence that never falls, from all ways to cut the values into pools."""
    count = len(values)
    best = None
    for cuts in (cut for size in range(count) for cut in combinations(range(1, count), size)):
        edges = [0, *cuts, count]
        means = [np.average(values[low:high], weights=weights[low:high]) for low, high in pairwise(edges)]
        if all(a <= b for a, b in pairwise(means)):
            found = np.repeat(means, np.diff(edges))
            loss = float((weights * (found - values) ** 2).sum())
            if best is None or loss < best[0]:
                best = (loss, found)
    return best[1]


@pytest.mark.parametrize("seed", range(10))
def test_pooling_is_the_nearest_sequence_that_never_falls(seed):
    rng = np.random.default_rng(seed)
    values, weights = rng.normal(size=7), rng.uniform(0.5, 3, 7)
    assert pool_adjacent(values, weights) == pytest.approx(by_hand(values, weights))


def test_a_curve_is_linear_between_knots_and_goes_on_beyond_them():
    curve = Curve(x=(0, 1, 3), y=(0, 2, 3))
    assert curve.at(np.array([-1, 0, 0.5, 1, 2, 3, 5])).tolist() == [-2, 0, 1, 2, 2.5, 3, 4]
    assert curve.rise == 3
    assert curve.is_rising
    assert not Curve(x=(0, 1, 2), y=(0, 0, 1)).is_rising
    # One value alone gives the bits that it gives among others.
    values = np.random.default_rng(0).normal(size=50)
    assert [float(curve.at(values[n : n + 1])[0]) for n in range(50)] == curve.at(values).tolist()


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [((0,), (0,), "two or more"), ((0, 0), (0, 1), "do not rise"), ((0, 1, 2), (0, 1, 0), "both rise and fall")],
)
def test_what_is_no_curve_is_refused(x, y, said):
    with pytest.raises(ValueError, match=said):
        Curve(x=x, y=y)


def test_rises_over_segments_are_a_curve():
    knots = (0.0, 1.0, 4.0)
    values = np.array([-0.5, 0.0, 0.5, 1.0, 3.0, 4.0, 6.0])
    curve = Curve(x=knots, y=(0.0, 2.0, 3.0))
    assert segment_basis(values, knots) @ [2.0, 1.0] == pytest.approx(curve.at(values))


def test_knots_start_at_zero_where_there_are_zeros():
    values = np.concatenate([np.zeros(50), np.linspace(1, 2, 50)])
    knots = find_knots(values, 3)
    assert knots[0] == 0
    assert len(knots) == 5
    assert knots[1] == pytest.approx(1.01, abs=0.01)
    assert find_knots(np.zeros(100), 3) == ()
    assert find_knots(np.full(100, 2.0), 3) == ()


def test_the_curve_of_wins_rises_and_says_how_often_a_reward_wins():
    rng = np.random.default_rng(0)
    rewards = rng.normal(size=4000)
    wins = (rng.random(4000) < 1 / (1 + np.exp(-2 * rewards))).astype(float)
    curve = win_curve(rewards, wins)
    assert curve.is_rising
    places = np.linspace(-1.2, 1.2, 13)
    assert 1 / (1 + np.exp(-curve.at(places))) == pytest.approx(1 / (1 + np.exp(-2 * places)), abs=0.07)
    with pytest.raises(ScoringError, match="do not win more often"):
        win_curve(rewards, (rewards < 0).astype(float))
