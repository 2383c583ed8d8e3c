"""The schemes in closed form: a match is 1, anything else the sigmoid of the model's reward, a failure nothing."""

import math

import pytest

from basereward.data.outcomes import Failure, Score
from basereward.errors import RewardError
from basereward.rl.matching.answer import Match
from basereward.rl.rewards import (
    GroupRewards,
    Rollouts,
    hybrid_rewards,
    model_rewards,
    rule_rewards,
    saturation,
    squash,
    weighted_sum,
)
from basereward.rl.terms import length_terms

RIGHT, WRONG, LOST = Match(True, "a", "text"), Match(False, "b", "text"), Failure("timeout", "nobody answered")


def test_rule_is_binary():
    assert rule_rewards([RIGHT, WRONG, Match(False, None, "timeout")]) == [1.0, 0.0, 0.0]


def test_model_is_raw_and_a_failure_is_no_number():
    assert model_rewards([Score(-10.89), LOST, Score(8.74)]) == [-10.89, None, 8.74]


def test_hybrid_is_the_papers_formula():
    found = hybrid_rewards([RIGHT, WRONG, WRONG, None], [Score(-5.0), Score(8.74), Score(0.0), Score(-10.89)])
    expected = [1.0, 1 / (1 + math.exp(-8.74)), 0.5, 1 / (1 + math.exp(10.89))]
    assert found == pytest.approx(expected, abs=1e-15)
    # A wrong answer can be worth nearly as much as a right one.
    assert found[1] > 0.9998


def test_hybrid_needs_no_model_where_the_answer_matches():
    assert hybrid_rewards([RIGHT, WRONG, RIGHT], [LOST, LOST, None]) == [1.0, None, 1.0]


def test_offset_and_scale_move_the_sigmoid():
    assert squash(3.0, offset=3.0, scale=2.0) == 0.5
    assert hybrid_rewards([WRONG], [Score(5.0)], 3.0, 2.0) == [squash(1.0)]
    assert [squash(value) for value in (-1e30, 1e30)] == [0.0, 1.0]


def test_a_sum_with_a_missing_term_is_missing():
    assert weighted_sum([[1.0, None, 0.5], [-1.0, 0.0, 2.0]], [1.0, 0.25]) == [0.75, None, 1.0]
    with pytest.raises(RewardError, match="2 weights for 1"):
        weighted_sum([[1.0]], [1.0, 2.0])


def test_length_falls_linearly_to_its_limit():
    assert length_terms(["x" * count for count in (10, 80, 90, 100, 500)], 100, 20) == [0.0, 0.0, -0.5, -1.0, -1.0]


def test_saturation_counts_what_does_not_match():
    group = GroupRewards((1.0,) * 4, (Score(9.0), Score(9.0), Score(0.0), LOST), (RIGHT, WRONG, WRONG, WRONG), ())
    assert saturation([group]) == 0.5
    assert saturation([group], offset=9.0) == 0.0
    assert saturation([GroupRewards((None,), (LOST,), (None,), ())]) is None
    assert group.model_rewards == (9.0, 9.0, 0.0, None)
    assert group.failures == {3: LOST}


def test_marks_of_truncation_belong_to_responses(make_group):
    with pytest.raises(RewardError, match="1 marks of truncation for 2 responses"):
        Rollouts(make_group("Q", ["a", "b"]), truncated=(True,))
