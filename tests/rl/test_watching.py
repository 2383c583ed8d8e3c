"""From rewards to what monitors see of them, and the callback that hands it over at the end of each step."""

import asyncio
import logging
import subprocess
import sys
from types import SimpleNamespace

import pytest
from transformers import TrainerControl, TrainerState

from basereward.data.groups import make_group
from basereward.data.outcomes import About, Failure, Score
from basereward.errors import RewardError
from basereward.rl.adapters.trl import trl_reward
from basereward.rl.monitors import RewardMonitor
from basereward.rl.options import RewardOptions
from basereward.rl.reward_function import RewardFunction
from basereward.rl.rewards import GroupRewards, Rollouts
from basereward.rl.trl_monitor import MonitorCallback, WatchedFunction, join_groups
from basereward.rl.watched import WatchedGroup, WatchedResponse
from basereward.rl.watching import WatchedRollouts, watch_groups


class Lengths:
    """Rewards a response by its characters; "?" fails."""

    about = About("lengths", sees_images=False)

    def score(self, groups):
        """Return a score or a failure for each response."""
        return [
            [Failure("no", "no") if own.text == "?" else Score(float(len(own.text))) for own in group.responses]
            for group in groups
        ]


ROLLOUTS = Rollouts(make_group("Which?", ["red", r"\boxed{blue}", "?"]), "red", truncated=(False, True, False))


def test_everything_that_monitors_need_comes_over() -> None:
    function = RewardFunction(Lengths(), "hybrid", RewardOptions(offset=1.0, scale=2.0))
    watched = WatchedRollouts(offset=1.0, scale=2.0)
    function.observers.append(watched)
    rewards = function([ROLLOUTS])
    [group] = watched.take()
    assert watched.take() == []
    assert [one.reward for one in group.responses] == list(rewards[0].rewards)
    assert [one.model_reward for one in group.responses] == [1.0, 5.5, None]
    assert [one.matched for one in group.responses] == [True, False, False]
    assert [one.length for one in group.responses] == [3, 12, 1]
    assert [one.is_cut for one in group.responses] == [False, True, False]
    assert [one.formats for one in group.responses] == [frozenset(), {"boxed"}, frozenset()]
    assert group.images == 0


def test_an_async_call_through_the_adapter_is_watched_too() -> None:
    reward = trl_reward(RewardFunction(Lengths(), "model"), is_async=True, group_size=2)
    watched = WatchedRollouts(count=lambda text: 7)
    reward.function.observers.append(watched)
    asyncio.run(reward(prompts=["p"] * 4, completions=["a", "bb", "c", "dd"], completion_ids=None))
    assert [[one.reward for one in group.responses] for group in watched.take()] == [[1.0, 2.0], [1.0, 2.0]]


def test_what_nobody_knows_is_not_made_up() -> None:
    function = RewardFunction(Lengths(), "model")
    rollouts = [Rollouts(make_group("Which?", ["a", "b"]))]
    [group] = watch_groups(rollouts, function(rollouts))
    assert {(one.matched, one.is_cut) for one in group.responses} == {(None, None)}


def test_points_of_a_tournament_are_no_rewards_of_a_model() -> None:
    rewards = GroupRewards((7.0, 0.0), (Score(7.0), Score(0.0)), (None, None), (False, False))
    watched = WatchedRollouts(has_model=False)
    watched([Rollouts(make_group("Which?", ["a", "b"]))], [rewards])
    [group] = watched.take()
    assert [(one.reward, one.model_reward) for one in group.responses] == [(7.0, None), (0.0, None)]


def parts(*sizes: int) -> list[WatchedGroup]:
    """Groups of these sizes, whose responses have rising rewards."""
    rewards = iter(range(99))
    return [WatchedGroup(tuple(WatchedResponse(float(next(rewards))) for _ in range(size))) for size in sizes]


def test_groups_that_ranks_split_are_put_together() -> None:
    assert join_groups(parts(1, 3, 2, 2), 4) == parts(4, 4)
    assert join_groups(parts(4, 4), 4) == parts(4, 4)
    assert join_groups(parts(2, 3), None) == parts(2, 3)
    with pytest.raises(RewardError, match="5 responses"):
        join_groups(parts(2, 3), 4)


class Steps:
    """The events of a trainer, as a callback gets them."""

    def __init__(self, callback: MonitorCallback) -> None:
        self.callback = callback
        self.control = TrainerControl()
        self.args = SimpleNamespace(num_generations=2)

    def begin(self, step: int) -> None:
        """Start or resume at a step."""
        self.callback.on_train_begin(self.args, TrainerState(global_step=step), self.control)

    def end(self, step: int) -> None:
        """End a step."""
        self.callback.on_step_end(self.args, TrainerState(global_step=step), self.control)

    def evaluate(self) -> None:
        """End an evaluation."""
        self.callback.on_evaluate(self.args, TrainerState(), self.control)


def test_the_callback_observes_steps_and_leaves_evaluations_out() -> None:
    groups: list[WatchedGroup] = []

    def take() -> list[WatchedGroup]:
        taken = groups.copy()
        groups.clear()
        return taken

    monitor = RewardMonitor()
    steps = Steps(MonitorCallback(monitor, take))
    steps.begin(0)
    groups += parts(2, 2)
    steps.end(1)
    # Generations of step 1 are used twice: nothing new.
    steps.end(2)
    groups += parts(2)
    steps.evaluate()
    groups += parts(1, 1)
    steps.end(3)
    assert [(record.step, record.groups) for record in monitor._records] == [(1, 2), (3, 1)]
    steps.begin(2)
    assert monitor.last_step == 1


def test_an_alarm_is_said_and_can_end_the_run(caplog: pytest.LogCaptureFixture) -> None:
    cut = [WatchedGroup((WatchedResponse(0.0, is_cut=True), WatchedResponse(1.0, is_cut=True)))] * 8
    steps = Steps(MonitorCallback(RewardMonitor(), lambda: list(cut), stop_at=["cut"]))
    with caplog.at_level(logging.WARNING):
        for step in range(1, 6):
            assert not steps.control.should_training_stop
            steps.end(step)
    assert steps.control.should_training_stop
    assert "alarm at step 5: most responses end at the limit" in caplog.text


def test_any_reward_function_of_trl_can_be_watched() -> None:
    def shortest(prompts, completions, **columns):
        return [-float(len(own[-1]["content"])) for own in completions]

    watched = WatchedFunction(shortest)
    assert watched.__name__ == "shortest"
    completions = [[{"role": "assistant", "content": text}] for text in ("one", "- a\n- b")]
    rewards = watched(prompts=["p", "p"], completions=completions, completion_ids=[[1, 2], [3]], images=[["i"], ["i"]])
    [group] = join_groups(watched.take(), 2)
    assert [one.reward for one in group.responses] == rewards == [-3.0, -7.0]
    assert [one.length for one in group.responses] == [2, 1]
    assert (group.responses[1].formats, group.images) == ({"list"}, 1)


def test_monitors_need_no_framework() -> None:
    code = (
        "import sys, basereward.rl.monitors\n"
        "print([name for name in ('torch', 'transformers', 'trl', 'accelerate') if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"
