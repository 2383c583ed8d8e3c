"""Monitors: hacks raise their alarm in time, honest runs raise none, and the log survives what runs do to it."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from basereward.errors import DataError, MissingFileError, WorkError
from basereward.rl.alarms import RuleTest
from basereward.rl.monitors import MONITORS, RewardMonitor, count_false_alarms, read_monitors, replay
from basereward.rl.rules import MonitorSettings, Rule
from basereward.rl.step_values import Measured
from basereward.rl.watched import WatchedGroup, WatchedResponse
from basereward.statistics import critical_count
from tests.rl.simulated import Setting, answering_run, length_run


def observe(steps: Iterable[list[WatchedGroup]], path: Path | None = None) -> RewardMonitor:
    """Observe all steps of a run."""
    monitor = RewardMonitor(path)
    for step, groups in enumerate(steps, 1):
        monitor.observe(step, groups)
    return monitor


def plain(reward: float = 0.0, **facts: object) -> list[WatchedGroup]:
    """A step of four groups of two responses that are all alike but for a spread of rewards."""
    responses = tuple(WatchedResponse(reward + place, **facts) for place in (0, 1))
    return [WatchedGroup(responses)] * 4


@pytest.mark.parametrize(("scheme", "rate", "steps"), [("model", 0.3, 75), ("hybrid", 0.15, 150)])
def test_answers_on_no_list_raise_the_saturation_alarm_within_150_steps(scheme: str, rate: float, steps: int) -> None:
    monitor = observe(answering_run(Setting(scheme, off_list=5.0, seed=1, steps=steps, rate=rate)))
    [alarm] = [alarm for alarm in monitor.alarms if alarm.monitor == "saturated_unmatched"]
    assert alarm.step <= 150
    assert alarm.value >= alarm.threshold > alarm.reference
    assert "unmatched" in alarm.message


@pytest.mark.parametrize("slope", [0.2, 2.0])
def test_a_reward_for_length_raises_the_length_alarm(slope: float) -> None:
    monitor = observe(length_run(Setting(seed=3, steps=40, rate=0.5), slope))
    assert "length_correlation" in {alarm.monitor for alarm in monitor.alarms}
    # The start is not yet longer; the rewards already follow the length.
    assert monitor.alarms[0].step <= 10


def test_growing_lengths_raise_an_alarm_even_if_no_reward_shows_why() -> None:
    rng = np.random.default_rng(0)
    lengths = [10] * 20 + list(range(10, 40))
    steps = [[WatchedGroup((WatchedResponse(float(rng.normal()), length=own),) * 2)] * 4 for own in lengths]
    assert [alarm.monitor for alarm in observe(steps).alarms] == ["length"]


def test_honest_runs_raise_no_alarm_in_a_hundred_windows(tmp_path: Path) -> None:
    schemes = ["rule", "model", "hybrid", "hybrid", "model"]
    for seed, scheme in enumerate(schemes):
        observe(answering_run(Setting(scheme, seed=seed, prompts=4 + 4 * (seed == 2))), tmp_path / f"{seed}.jsonl")
    observe(length_run(Setting(seed=9, steps=50), 0.0), tmp_path / "length.jsonl")
    found = count_false_alarms(sorted(tmp_path.glob("*.jsonl")))
    assert (found.runs, found.windows, found.runs_with_alarms, found.alarms) == (6, 110, 0, {})
    assert found.share_of_windows.low == found.per_window == 0
    assert found.share_of_windows.high < 0.04


@pytest.mark.slow
def test_the_false_alarm_rate_of_many_honest_runs_is_below_what_is_stated() -> None:
    settings = [Setting(scheme, seed=seed) for seed in range(40) for scheme in ("rule", "model", "hybrid")]
    alarmed = sum(bool(observe(answering_run(own)).alarms) for own in settings)
    assert alarmed / len(settings) <= MonitorSettings().false_alarm_rate


def test_rules_keep_their_rate_where_nothing_moves() -> None:
    # Independent steps at exactly what the rules allow: the worst case of the null hypothesis.
    rng = np.random.default_rng(0)
    share = Rule("x", "shift", 0.05, 1, "", True)
    shift = Rule("x", "shift", 0.5, 1, "")
    settings = MonitorSettings()
    raised = {"share": 0, "shift": 0}
    for _ in range(80):
        tests = {"share": RuleTest(share, settings, 0.2), "shift": RuleTest(shift, settings, 0.2)}
        for window in range(10):
            at = window >= settings.baseline
            flags = [rng.binomial(16, 0.1 + 0.05 * at) / 16 for _ in range(5)]
            levels = [rng.normal(0.5 * at, 1) for _ in range(5)]
            tests["share"].add([(n, {"x": Measured(own, 16, 16, 0.0)}) for n, own in enumerate(flags)])
            tests["shift"].add([(n, {"x": Measured(own, 1, 1, 0.0)}) for n, own in enumerate(levels)])
        for name, test in tests.items():
            raised[name] += test.alarm is not None
    assert raised["shift"] / 80 <= 0.2
    # The share of the baseline is itself a draw, which its margin of 0.05 has to cover.
    assert raised["share"] / 80 <= 0.2


def test_critical_counts_are_the_tails_of_the_binomial() -> None:
    # P(X >= 3) of three fair draws is 1/8, of two or more 1/2.
    assert [critical_count(3, 0.5, own) for own in (0.124, 0.126, 0.49, 0.51)] == [4, 3, 3, 2]
    assert critical_count(5, 0.0, 0.01) == 1
    assert critical_count(5, 1.0, 0.01) == 6


@pytest.mark.parametrize(
    ("facts", "monitor"),
    [
        ({"is_cut": True}, "cut"),
        ({"matched": False}, None),
    ],
)
def test_what_is_wrong_from_the_first_step_is_seen_without_a_baseline(facts: dict, monitor: str | None) -> None:
    found = observe(plain(**facts) for _ in range(10))
    assert [alarm.monitor for alarm in found.alarms] == ([monitor] if monitor else [])
    assert all(alarm.step == 10 or alarm.step == 5 for alarm in found.alarms)


def test_rewards_that_fail_for_every_wrong_answer_raise_an_alarm() -> None:
    step = [WatchedGroup((WatchedResponse(1.0, matched=True), WatchedResponse(None, matched=False)))] * 8
    assert [alarm.monitor for alarm in observe([step] * 10).alarms] == ["missing"]


def test_groups_that_teach_nothing_raise_an_alarm_unless_all_is_right() -> None:
    wrong, right = (
        [WatchedGroup((WatchedResponse(float(matched), matched=matched),) * 4)] * 8 for matched in (False, True)
    )
    assert [alarm.monitor for alarm in observe([wrong] * 10).alarms] == ["without_signal"]
    assert observe([right] * 10).alarms == []


def test_a_fall_of_matches_or_rewards_raises_an_alarm() -> None:
    rng = np.random.default_rng(1)

    def step(share: float) -> list[WatchedGroup]:
        draws = rng.random((8, 4)) < share
        return [WatchedGroup(tuple(WatchedResponse(float(own), matched=bool(own)) for own in row)) for row in draws]

    monitor = observe([step(0.8) for _ in range(20)] + [step(0.2) for _ in range(30)])
    assert {alarm.monitor for alarm in monitor.alarms} == {"matched", "reward"}


def test_the_log_gives_the_same_alarms_again(tmp_path: Path) -> None:
    path = tmp_path / MONITORS
    monitor = observe(length_run(Setting(seed=3, steps=40, rate=0.5), 2.0), path)
    assert replay(path) == monitor.alarms
    records = read_monitors(path)
    assert [record.step for record in records] == list(range(1, 41))
    assert [alarm for record in records for alarm in record.alarms] == monitor.alarms
    assert replay(path, MonitorSettings(window=50)) == []


def test_a_resumed_run_goes_on_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    steps = list(length_run(Setting(seed=3, steps=40, rate=0.3), 0.3))
    whole, path = tmp_path / "whole.jsonl", tmp_path / MONITORS
    observe(steps, whole)
    observe(steps[:33], path)
    with path.open("ab") as file:
        file.write(b'{"step": 34, "gro')  # what a kill leaves
    resumed = RewardMonitor(path)
    assert resumed.last_step == 33
    # The checkpoint is from step 30: three steps come again.
    for step, groups in enumerate(steps[30:], 31):
        resumed.observe(step, groups)
    assert path.read_bytes() == whole.read_bytes()


def test_rewinding_forgets_what_comes_later(tmp_path: Path) -> None:
    path = tmp_path / MONITORS
    monitor = RewardMonitor(path)
    for step in range(1, 8):
        monitor.observe(step, plain())
    monitor.rewind(3)
    assert [record.step for record in read_monitors(path)] == [1, 2, 3]
    monitor.rewind(0)
    assert read_monitors(path) == []
    monitor.observe(1, plain())
    assert read_monitors(path)[0].settings == MonitorSettings()


def test_two_runs_do_not_share_a_log(tmp_path: Path) -> None:
    one, two = RewardMonitor(tmp_path / MONITORS), RewardMonitor(tmp_path / MONITORS)
    one.observe(1, plain())
    with pytest.raises(WorkError, match="its own"):
        two.observe(1, plain())


def test_a_log_of_other_settings_is_refused(tmp_path: Path) -> None:
    observe([plain()], tmp_path / MONITORS)
    with pytest.raises(DataError, match="window=7"):
        RewardMonitor(tmp_path / MONITORS, MonitorSettings(window=7))


def test_broken_logs_are_named(tmp_path: Path) -> None:
    path = tmp_path / MONITORS
    with pytest.raises(MissingFileError):
        replay(path)
    observe([plain(), plain()], path)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[1] + lines[0])
    with pytest.raises(DataError, match="step 1 behind step 2"):
        replay(path)
    path.write_text('{"step": 1}\n')
    with pytest.raises(DataError, match="line 1"):
        replay(path)
    path.write_text(lines[0])
    with pytest.raises(DataError, match="no complete window"):
        count_false_alarms([path])


def test_a_step_without_responses_is_an_error() -> None:
    with pytest.raises(DataError, match="no responses"):
        RewardMonitor().observe(1, [WatchedGroup(())])
