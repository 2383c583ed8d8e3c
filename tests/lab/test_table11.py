"""Table 11 in miniature: its judge, what it measures, and the whole way with a few steps."""

import json

import pytest
from typer.testing import CliRunner

from basereward.cli.main import app
from basereward.data.io import write_json
from basereward.data.outcomes import About, Failure, JudgeQuestion, Score
from basereward.data.schema import messages_from_text
from basereward.errors import DataError
from basereward.lab import table11
from basereward.lab.alarms import LENGTH, OFF_LIST, plan_alarms
from basereward.lab.start import StartSettings
from basereward.lab.table11 import (
    SCHEMES,
    DifferenceJudge,
    Sizes,
    is_listed,
    measure_answers,
    plan_table,
    trained_policy,
)
from basereward.lab.tables import make_table
from basereward.rl.held_out import Answer
from basereward.rl.prompts import load_prompts
from basereward.rl.run_facts import RlFacts


class Lengths:
    about = About("lengths", sees_images=False)

    def score(self, groups):
        return [
            [Failure("no", "no") if one.text == "?" else Score(float(len(one.text))) for one in group.responses]
            for group in groups
        ]


def test_a_judge_of_differences_prefers_the_higher_reward():
    def ask(*texts):
        answers = tuple(messages_from_text(text, role="assistant") for text in texts)
        return JudgeQuestion(messages_from_text("Q"), answers)

    verdicts = DifferenceJudge(Lengths()).compare([ask("aa", "b"), ask("a", "bb"), ask("a", "b"), ask("?", "b")])
    assert [one.choice for one in verdicts[:3]] == [0, 1, "tie"]
    assert isinstance(verdicts[3], Failure)


def test_answers_are_measured_by_the_truth_of_the_world():
    def answer(kind, right, said):
        return Answer(
            id="a",
            source=f"lab/axis/{kind}",
            answer=right,
            response=said,
            extracted=said,
            strict=right == said,
            matched=right == said,
            truncated=False,
        )

    truth = "a big red circle"
    answers = [
        answer("color1", "red", "red"),
        answer("color1", "red", "@"),
        answer("describe1", truth, "circle red, big"),
        answer("describe1", truth, "a small red circle"),
    ]
    assert measure_answers(answers) == pytest.approx({"matchable": 0.5, "open": 5 / 6, "off_list": 0.25})
    assert is_listed("no", "yesno")
    assert not is_listed("red", "yesno")
    assert not is_listed("big", "describe1")


def test_a_policy_that_is_trained_is_not_asked_to_go_on(tmp_path, monkeypatch):
    facts = RlFacts(steps=2, prompts=8, drops={}, scheme="rule", reward=None, ranks=1, seconds=3.0, reward_share=0.1)
    calls = []

    def train(recipe, folder, resume, function):
        calls.append(resume)
        write_json(folder / "rl.json", facts.model_dump(mode="json"))

    monkeypatch.setattr(table11, "train_policy", train)
    assert [trained_policy(None, tmp_path, None) for _ in range(2)] == [facts, facts]
    assert calls == [True]


def test_a_response_without_a_reward_is_no_wrong_one():
    class Silent:
        about = About("silent", sees_images=False)

        def score(self, groups):
            return [[Failure("no", "no") for _ in group.responses] for group in groups]

    with pytest.raises(DataError, match="could not be scored"):
        table11._accuracy(Silent(), 0)


@pytest.mark.slow
def test_the_whole_table_with_a_few_steps(tmp_path):
    sizes = Sizes(300, 4, StartSettings(4, 2), 2, 64, 20)
    table = make_table(plan_table(sizes), tmp_path / "table", [0])
    assert table.rows == ["start", *SCHEMES]
    assert all(len(table.values(row, "matchable")) == 1 for row in table.rows)
    assert len(table.values("start", "reward_accuracy")) == 0
    assert len(table.values("hybrid", "reward_accuracy")) == 1


def test_prompts_and_a_start_from_the_command_line(tmp_path):
    def command(*arguments):
        ended = CliRunner().invoke(app, [*map(str, arguments)])
        assert ended.exit_code == 0, ended.output

    command("lab", "prompts", "--out", tmp_path / "prompts.parquet", "--prompts", 6)
    assert len(load_prompts([str(tmp_path / "prompts.parquet")]).rows) == 6
    command("lab", "start", "--out", tmp_path / "start", "--steps", 1, "--careless-steps", 1)
    assert json.loads((tmp_path / "start" / "policy" / "config.json").read_text())["model_type"] == "qwen2_5_vl"


@pytest.mark.slow
def test_planted_hacks_beside_honest_runs_with_a_few_steps(tmp_path):
    sizes = Sizes(300, 4, StartSettings(4, 2), 2, 64, 20)
    table = make_table(plan_alarms(sizes, 5), tmp_path / "table", [0])
    assert table.rows == ["rule", "hybrid", LENGTH, OFF_LIST]
    assert [table.values(row, "windows") for row in table.rows] == [[1.0]] * 4
