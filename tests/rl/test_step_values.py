"""What is measured of one step: closed forms on small groups."""

from math import log, sqrt

import numpy as np
import pytest

from basereward.rl.step_values import SATURATED, measure_step, pool, within_correlation
from basereward.rl.watched import WatchedGroup, WatchedResponse, format_flags


def group(*responses: dict, images: int = 0) -> WatchedGroup:
    """A group of responses given by their facts."""
    return WatchedGroup(tuple(WatchedResponse(**one) for one in responses), images)


def rewarded(*rewards: float | None, **facts: object) -> WatchedGroup:
    """A group of rewards that share their other facts."""
    return group(*({"reward": reward, **facts} for reward in rewards))


def test_missing_rewards_are_those_that_are_no_finite_number() -> None:
    found = measure_step([rewarded(1.0, None, float("nan"), float("-inf")), rewarded(0.0, 2.0, 4.0, 2.0)])
    assert found["missing"].value == 3 / 8
    assert found["reward"].value == 9 / 5
    assert found["best_reward"].value == 2.5
    assert found["spread"].value == pytest.approx(sqrt(2))


def test_saturation_is_a_sigmoid_above_99_percent() -> None:
    assert pytest.approx(log(99)) == SATURATED
    sure, unsure = SATURATED + 1e-6, SATURATED - 1e-6
    step = [
        group(
            {"reward": 1.0, "model_reward": sure, "matched": True},
            {"reward": 0.5, "model_reward": sure, "matched": False},
            {"reward": 0.4, "model_reward": unsure, "matched": False},
            {"reward": None, "model_reward": None, "matched": False},
        )
    ]
    found = measure_step(step)
    assert found["saturated"].value == 2 / 3
    assert found["saturated_unmatched"].value == 1 / 2
    assert found["matched"].value == 1 / 4


def test_disagreement_is_a_share_of_groups_with_both_kinds() -> None:
    def pair(right: float, wrong: float) -> WatchedGroup:
        return group(
            {"reward": 1.0, "model_reward": right, "matched": True},
            {"reward": 0.0, "model_reward": wrong, "matched": False},
        )

    only_right = group({"reward": 1.0, "model_reward": -9.0, "matched": True})
    found = measure_step([pair(2, 1), pair(1, 2), pair(3, 3), only_right])
    assert found["disagreement"].value == pytest.approx(1 / 3)
    assert found["disagreement"].weight == 3


def test_groups_without_spread_teach_nothing_unless_all_is_right() -> None:
    step = [rewarded(1, 1, matched=True), rewarded(0, 0, matched=False), rewarded(1, 0, matched=False)]
    found = measure_step(step)
    assert found["without_spread"].value == pytest.approx(2 / 3)
    assert found["without_signal"].value == pytest.approx(1 / 3)
    assert "without_signal" not in measure_step([rewarded(1, 1), rewarded(0, 1)])


def test_correlations_are_within_groups() -> None:
    # Between the groups longer responses have lower rewards, within them higher ones.
    step = [
        group(*({"reward": base + n, "length": 10 * place + n} for n in range(4)))
        for place, base in enumerate((50.0, 20.0, 0.0))
    ]
    assert measure_step(step)["length_correlation"].value == pytest.approx(1)
    flipped = [WatchedGroup(own.responses[::-1], own.images) for own in step]
    assert measure_step(flipped)["length_correlation"] == measure_step(step)["length_correlation"]


def test_a_correlation_of_noise_has_the_error_of_noise() -> None:
    rng = np.random.default_rng(0)
    values = []
    for _ in range(100):
        step = [
            group(*({"reward": float(rng.normal()), "length": int(rng.integers(1, 99))} for _ in range(8)))
            for _ in range(8)
        ]
        values.append(within_correlation(step, lambda one: float(one.length)))
    spread = float(np.std([own.value for own in values]))
    assert np.mean([own.error for own in values]) == pytest.approx(spread, rel=0.2)


def test_two_different_responses_say_little_of_a_correlation() -> None:
    one = group(*({"reward": float(n > 3), "length": 1 + (n > 3)} for n in range(8)))
    found = measure_step([one])["length_correlation"]
    assert found.value == pytest.approx(1)
    assert found.error > 0.8


def test_the_number_of_images_is_compared_between_groups() -> None:
    step = [group({"reward": float(n)}, {"reward": float(n)}, images=n) for n in range(4)]
    assert measure_step(step)["image_correlation"].value == pytest.approx(1)
    assert "image_correlation" not in measure_step([rewarded(1, 2), rewarded(3, 4), rewarded(5, 6)])


def test_what_is_not_known_has_no_entry() -> None:
    found = measure_step([rewarded(1.0, 2.0)])
    assert {"matched", "saturated", "saturated_unmatched", "disagreement", "cut"}.isdisjoint(found)
    assert measure_step([rewarded(1.0, 2.0, is_cut=True)])["cut"].value == 1


def test_forms_are_found_in_text() -> None:
    assert format_flags("1. one\n2. two") == {"list"}
    assert format_flags(r"so \boxed{3}") == {"boxed"}
    assert format_flags("# Title\n**bold**\n| a | b |") == {"markdown"}
    assert format_flags("3.14 is - more or less - pi") == frozenset()


def test_steps_are_pooled_by_what_is_behind_them() -> None:
    steps = [measure_step([rewarded(1.0), rewarded(0.0)]), measure_step([rewarded(4.0)])]
    both = pool([own["reward"] for own in steps])
    assert (both.value, both.weight, both.groups) == pytest.approx((5 / 3, 3, 3))
