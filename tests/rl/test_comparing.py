"""A model that compares the responses to a prompt needs them together: who sends them one by one is refused."""

from dataclasses import replace

import pytest

from basereward.data.outcomes import About, Score
from basereward.errors import RewardError
from basereward.rl.adapters.rewarder import open_single_reward, reward_rollouts
from basereward.rl.adapters.rollout import Rollout
from basereward.rl.adapters.verifiers import verifiers_reward
from basereward.rl.forecast_file import forecast_file
from basereward.rl.reward_function import RewardFunction


class Comparing:
    """Scores by how many stand together."""

    about = replace(About("comparing", sees_images=False), compares=True)

    def score(self, groups):
        return [[Score(float(len(group.responses)))] * len(group.responses) for group in groups]


def test_one_by_one_it_is_refused(tmp_path):
    with pytest.raises(RewardError, match="verl asks for one response at a time; comparing compares"):
        open_single_reward(Comparing(), "model", None, "verl asks")
    with pytest.raises(RewardError, match="is_group=True"):
        verifiers_reward(Comparing(), is_group=False)
    with pytest.raises(RewardError, match="from which best of n is estimated"):
        forecast_file(Comparing(), tmp_path / "rollouts.jsonl", tmp_path / "out")


def test_groups_must_be_complete():
    function = RewardFunction(Comparing())
    rows = [Rollout("Q", answer) for answer in ("a", "a", "b")]
    assert [one.reward for one in reward_rollouts(function, rows, size=3)] == [3.0] * 3
    with pytest.raises(RewardError, match="needs all 4 of a prompt in a row"):
        reward_rollouts(function, rows, size=4)
    with pytest.raises(RewardError, match="needs all responses of a prompt in a row"):
        reward_rollouts(function, rows[:1])
