"""ECE, Brier score and log loss against hand computation, and what noise alone gives."""

import math

import numpy as np
import pytest

from basereward.errors import DataError
from basereward.scoring.calibration.reliability import measure_reliability


def log_odds(share):
    return float(np.log(share / (1 - share)))


def test_numbers_are_those_of_a_hand_computation():
    # Twenty comparisons: ten at 0.6 of which 5 are right, ten at 0.9 of which 8 are.
    margins = [log_odds(0.6)] * 5 + [-log_odds(0.6)] * 5 + [log_odds(0.9)] * 8 + [-log_odds(0.9)] * 2
    found = measure_reliability(margins, range(20))
    assert [(own.confidence, own.accuracy, own.share) for own in found.bins] == [
        (pytest.approx(0.6), pytest.approx(0.5), pytest.approx(0.5)),
        (pytest.approx(0.9), pytest.approx(0.8), pytest.approx(0.5)),
    ]
    assert found.ece == pytest.approx(0.1)
    assert found.brier == pytest.approx((5 * 0.4**2 + 5 * 0.6**2 + 8 * 0.1**2 + 2 * 0.9**2) / 20)
    assert found.log_loss == pytest.approx(-np.log([0.6, 0.4, 0.9, 0.1]) @ [5, 5, 8, 2] / 20)
    assert found.low <= 0.1 <= found.high


def test_no_confidence_is_a_quarter_and_log_two():
    found = measure_reliability([0.0] * 30, range(30))
    assert (found.ece, found.brier, found.log_loss) == (0, pytest.approx(0.25), pytest.approx(np.log(2)))
    assert len(found.bins) == 1


def test_weights_are_repetitions():
    margins = np.random.default_rng(0).normal(size=40)
    twice = measure_reliability(np.repeat(margins, 2), np.repeat(np.arange(40), 2))
    once = measure_reliability(margins, range(40), [2.0] * 40)
    assert (once.brier, once.log_loss) == (pytest.approx(twice.brier), pytest.approx(twice.log_loss))


def measured(stretch, runs):
    """Of pairs that are won as the odds say, what stretched odds give, and the calibration error that they have."""
    rng = np.random.default_rng(1)
    for _ in range(runs):
        odds = np.abs(rng.normal(0, 1.5, 1000))
        margins = np.where(rng.random(1000) < 1 / (1 + np.exp(-odds)), odds, -odds)
        yield (
            measure_reliability(stretch * margins, range(1000)),
            np.mean(np.abs(1 / (1 + np.exp(-stretch * odds)) - 1 / (1 + np.exp(-odds)))),
        )


def test_the_interval_holds_the_truth():
    found = list(measured(3.0, 20))
    assert sum(own.low <= truth <= own.high for own, truth in found) >= 17
    assert all(own.low > 2 * own.chance for own, _ in found)


def test_what_noise_alone_gives_is_known():
    found = [own for own, _ in measured(1.0, 20)]
    assert np.mean([own.chance for own in found]) == pytest.approx(np.mean([own.ece for own in found]), rel=0.15)


def test_prompts_with_many_comparisons_widen_the_interval():
    margins = np.random.default_rng(0).normal(1, 2, 50)
    once = measure_reliability(margins, range(50))
    often = measure_reliability(np.repeat(margins, 20), np.repeat(np.arange(50), 20))
    alone = measure_reliability(np.repeat(margins, 20), range(1000))
    assert often.high - often.low > 2 * (alone.high - alone.low)
    assert often.chance > 0.5 * once.chance


def test_nothing_to_measure_is_an_error():
    for margins in ([], [float("nan")], [float("inf")]):
        with pytest.raises(DataError, match="finite margins"):
            measure_reliability(margins, range(len(margins)))


@pytest.mark.parametrize("margin", [-96.0, -50.0, 0.0, 96.0])
@pytest.mark.parametrize("pairs", [1, 7, 700, 1399, 1600])
def test_pairs_that_are_all_alike_can_be_measured(margin, pairs):
    found = measure_reliability([margin] * pairs, range(pairs))
    assert found.brier == pytest.approx(1 / (1 + math.exp(margin)) ** 2)
    assert len(found.bins) == 1
