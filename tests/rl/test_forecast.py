"""Forecasts: what they say of rewards whose worth is known, and what becomes of files."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from basereward.cli.main import app
from basereward.data.outcomes import About, Failure, Score
from basereward.errors import DataError, WorkError
from basereward.rl.forecast import ScoredPrompt, make_forecast, mean_interval, sizes
from basereward.rl.forecast_file import forecast_file
from basereward.statistics import student_quantile


class LengthScorer:
    """Longer responses are better; one that says "fail" cannot be scored, and a kill comes when it is asked."""

    def __init__(self, kill_after: int | None = None) -> None:
        self.about = About("length", sees_images=False, identity={"kind": "length"})
        self.asked = 0
        self.kill_after = kill_after

    def score(self, groups):
        """Return the number of characters of each response."""
        self.asked += len(groups)
        if self.kill_after is not None and self.asked > self.kill_after:
            raise KeyboardInterrupt
        return [
            [
                Failure("broken", "it says fail") if "fail" in own.text else Score(float(len(own.text)))
                for own in group.responses
            ]
            for group in groups
        ]


def write(path: Path, rows: list[dict]) -> Path:
    """Write a file of records."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def drawn(prompts: int, noise: float, seed: int = 0) -> list[ScoredPrompt]:
    """Prompts of eight responses whose reward is gold with noise."""
    rng = np.random.default_rng(seed)
    gold = rng.normal(size=(prompts, 8)) + rng.normal(0, 2, (prompts, 1))
    rewards = 3 * gold + noise * rng.normal(size=gold.shape)
    return [ScoredPrompt(tuple(r), tuple(g), str(n)) for n, (r, g) in enumerate(zip(rewards, gold, strict=True))]


def test_the_curve_has_powers_of_two_and_the_last() -> None:
    assert sizes(8) == [1, 2, 4, 8]
    assert sizes(6) == [1, 2, 4, 6]
    assert sizes(1) == [1]


def test_a_perfect_reward_has_no_gap_and_the_best_gold() -> None:
    found = make_forecast("m", "g", drawn(40, 0.0), {})
    for point in found.curve:
        assert point.gold == point.best_gold
        assert point.gap.value == pytest.approx(0, abs=1e-12)
    assert found.pair_accuracy.value == found.rank_correlation.value == pytest.approx(1)
    assert (found.best_n, found.pair_ties.value, found.without_spread.value) == (8, 0, 0)


def test_noise_opens_a_gap_and_an_opposite_reward_loses_gold() -> None:
    noisy = make_forecast("m", "g", drawn(60, 6.0), {}).curve[-1]
    assert noisy.gap.low > 0.3
    assert noisy.gold.high < noisy.best_gold.value
    opposite = [own._replace(rewards=tuple(-reward for reward in own.rewards)) for own in drawn(60, 0.0)]
    found = make_forecast("m", "g", opposite, {})
    assert found.best_n == 1
    assert found.curve[-1].gold.value < found.curve[0].gold.value


def test_the_scale_of_rewards_changes_nothing_but_rewards() -> None:
    prompts = drawn(30, 2.0)
    other = [own._replace(rewards=tuple(5 * reward - 3 for reward in own.rewards)) for own in prompts]
    one, two = (make_forecast("m", "g", own, {}) for own in (prompts, other))
    for before, after in zip(one.curve, two.curve, strict=True):
        assert after.gap.value == pytest.approx(before.gap.value)
        assert after.gold == before.gold
        assert after.reward.value == pytest.approx(5 * before.reward.value - 3)
    assert two.within_share == pytest.approx(one.within_share)


def test_constant_rewards_choose_at_random() -> None:
    prompts = [ScoredPrompt((1.0,) * 4, (1.0, 0.0, 0.0, 0.0), str(n)) for n in range(5)]
    found = make_forecast("m", "g", prompts, {})
    assert [point.gold.value for point in found.curve] == [0.25] * 3
    assert found.without_spread.value == found.pair_ties.value == 1
    assert found.rank_correlation is None
    assert found.curve[-1].gap is None


def test_repeated_prompts_widen_the_interval_and_one_prompt_has_none() -> None:
    values = [3.0, 5.0, 9.0]
    half = student_quantile(0.975, 2) * np.std(values, ddof=1) / np.sqrt(3)
    once = mean_interval(values, ["a", "b", "c"])
    assert (once.high - once.low) / 2 == pytest.approx(half)
    twice = mean_interval(values * 2, ["a", "b", "c"] * 2)
    assert twice == pytest.approx(once)
    assert mean_interval([3.0, 4.0], ["a", "a"]) is None
    assert make_forecast("m", "g", [ScoredPrompt((1.0, 2.0), (0.0, 1.0), "a")], {}).curve[0].gold.low is None


def test_prompts_with_fewer_responses_are_counted() -> None:
    prompts = [*drawn(10, 1.0), ScoredPrompt((1.0, 2.0), (0.0, 1.0), "x")]
    assert make_forecast("m", "g", prompts, {}).curve[-1].n == 2
    found = make_forecast("m", "g", prompts, {"broken": 2}, largest=8)
    assert (found.curve[-1].n, found.prompts, found.dropped) == (8, 10, {"broken": 2, "few_responses": 1})
    with pytest.raises(DataError, match="at least 9"):
        make_forecast("m", "g", prompts, {}, largest=9)


def test_a_file_with_right_answers_is_matched(tmp_path: Path) -> None:
    rows = [{"prompt": f"Colour {n}?", "responses": ["red", "a long story", "red"], "answer": "red"} for n in range(3)]
    rows.append({"prompt": "Broken?", "responses": ["fail", "red", "blue"], "answer": "red"})
    rows.append({"prompt": "No list?", "responses": "red", "answer": "red"})
    source = write(tmp_path / "in.jsonl", rows)
    found = forecast_file(LengthScorer(), source, tmp_path / "out")
    assert (found.prompts, found.responses) == (3, 9)
    assert found.dropped == {"malformed": 1, "broken": 1}
    assert [point.gold.value for point in found.curve] == pytest.approx([2 / 3, 1 / 3, 0])
    assert found.gold == "robust match with answer"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["forecast.json", "prompts.jsonl"]


def test_a_file_with_gold_scores_needs_a_number_for_each_response(tmp_path: Path) -> None:
    rows = [{"prompt": f"Say {n}", "responses": ["a", "bb", "ccc"], "scores": [0.1, 0.5, 2.0]} for n in range(4)]
    rows.append({"prompt": "Short", "responses": ["a", "bb", "ccc"], "scores": [1.0]})
    found = forecast_file(LengthScorer(), write(tmp_path / "in.jsonl", rows), tmp_path / "out")
    assert found.gold == "scores in scores"
    assert found.curve[-1].gold.value == 2.0
    assert found.dropped == {"unrated": 1}


def test_truth_may_be_flags_or_a_number(tmp_path: Path) -> None:
    rows = [{"prompt": f"Say {n}", "responses": ["3", "44"], "flags": [True, False], "number": 3} for n in range(2)]
    source = write(tmp_path / "in.jsonl", rows)
    for column in ("flags", "number"):
        found = forecast_file(LengthScorer(), source, tmp_path / column, column=column)
        assert [point.gold.value for point in found.curve] == [0.5, 0]


def test_which_column_is_gold_is_not_guessed(tmp_path: Path) -> None:
    both = write(tmp_path / "both.jsonl", [{"prompt": "a", "responses": ["x", "y"], "scores": [1, 2], "answer": "x"}])
    with pytest.raises(DataError, match="scores and answer"):
        forecast_file(LengthScorer(), both, tmp_path / "out")
    with pytest.raises(DataError, match="no truth"):
        forecast_file(LengthScorer(), both, tmp_path / "out", column="truth")


def test_an_empty_right_answer_is_an_error_that_names_its_place(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", [{"prompt": "a", "responses": ["x", "y"], "answer": " "}])
    with pytest.raises(DataError, match="record 0"):
        forecast_file(LengthScorer(), source, tmp_path / "out")


def test_interrupted_work_goes_on_and_finished_work_is_kept(tmp_path: Path) -> None:
    rows = [{"prompt": f"Say {n}", "responses": ["a", "bb", "ccc"], "scores": [0, n % 2, 1]} for n in range(100)]
    source, out = write(tmp_path / "in.jsonl", rows), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        forecast_file(LengthScorer(kill_after=70), source, out)
    scorer = LengthScorer()
    found = forecast_file(scorer, source, out)
    assert scorer.asked == 100 - 64
    assert found == forecast_file(LengthScorer(), source, tmp_path / "whole")
    with pytest.raises(WorkError, match="holds a forecast"):
        forecast_file(LengthScorer(), source, out)
    assert forecast_file(LengthScorer(), source, out, overwrite=True) == found


def test_other_work_is_refused_by_what_differs(tmp_path: Path) -> None:
    rows = [{"prompt": f"Say {n}", "responses": ["a", "bb"], "answer": "a"} for n in range(70)]
    source, out = write(tmp_path / "in.jsonl", rows), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        forecast_file(LengthScorer(kill_after=64), source, out)
    with pytest.raises(WorkError, match=r"gold.*strict"):
        forecast_file(LengthScorer(), source, out, matcher="strict")


def test_the_command_prints_one_json_object(tmp_path: Path) -> None:
    rows = [{"prompt": f"Say {n}", "responses": ["a", "bb", "ccc"], "truth": [0, 1, 2]} for n in range(3)]
    source = write(tmp_path / "in.jsonl", rows)
    call = ["forecast", "baseline:longer", str(source), "--gold", "truth", "--out", str(tmp_path / "out"), "--json"]
    ended = CliRunner().invoke(app, call)
    assert ended.exit_code == 0, ended.output
    found = json.loads(ended.stdout)
    assert [point["gold"]["value"] for point in found["curve"]] == pytest.approx([1, 5 / 3, 2])
    assert (tmp_path / "out" / "report.html").is_file()
