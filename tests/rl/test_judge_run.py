"""``basereward rl`` with a judge: GRPO with the images of its questions, stabilisers, its folder, going on."""

import json
import math
import os
import re
import shlex
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback
from typer.testing import CliRunner

from basereward.cli.main import app
from basereward.data.judging.prompts import make_prompt
from basereward.data.record import read_record
from basereward.data.storage import write_rows
from basereward.errors import StoppedError, WorkError
from basereward.lab.world import draw_rows
from basereward.models.facts import read_judge_facts
from basereward.models.hub import open_folder
from basereward.rl.judge_prompts import load_judge_prompts
from basereward.rl.judge_rewards import answer_rewards, consistency, format_rewards, judge_rewards, split_answer
from basereward.rl.recipe import load_rl_recipe, parse_judge_recipe
from basereward.rl.run import train_judge
from basereward.rl.shown_rollouts import read_rollouts
from basereward.rl.thoughts import supported_response
from basereward.scoring.judges.local import LocalJudge
from tests.rl.judges import write_bigram_judge

ROOT = Path(__file__).parents[2]


def read_blocks():
    """Return kind and text of every block of the guide."""
    guide = (ROOT / "docs" / "rl-judges.md").read_text()
    return re.findall(r"^```(\w+)\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    """The folder of a tiny judge."""
    return write_bigram_judge(tmp_path_factory.mktemp("judge"))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A file of pairs with images."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.parquet"
    write_rows(draw_rows(6, 3), path)
    return path


@pytest.fixture(scope="module")
def make_recipe(judge, pairs):
    """``make_recipe(section={...})``: the smallest run, with changes."""

    def make(**changes):
        content = {
            "task": "judge",
            "name": "tiny",
            "policy": {"model": str(judge)},
            "data": {"pairs": [str(pairs)]},
            "grpo": {"batch": 16, "generations": 8, "max_completion_length": 24, "max_steps": 2, "learning_rate": 1e-2},
            "hardware": {"precision": "fp32", "checkpointing": False, "use_cpu": True, "rollouts_per_device": 16},
            "reward": {},
            "run": {"show_every": 1},
        }
        return parse_judge_recipe(
            {key: {**own, **changes.get(key, {})} if isinstance(own, dict) else own for key, own in content.items()}
        )

    return make


@pytest.fixture(scope="module")
def run(make_recipe, pairs, tmp_path_factory):
    """A finished run with two steps over each batch of rollouts, nothing bounded."""
    recipe = make_recipe(grpo={"minibatches": 2, "beta": 0.01}, data={"held_out": [str(pairs)]})
    return train_judge(recipe, tmp_path_factory.mktemp("run") / "run")


def weights(folder):
    return load_file(folder / "model.safetensors")


def log_of(result):
    lines = [json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "loss" in line]


def test_a_judge_trains_and_its_rewards_are_those_of_the_pure_functions(run, judge):
    assert (run.facts.steps, run.facts.prompts, run.facts.scheme) == (2, 6, "judge")
    assert run.facts.reward.startswith("thoughts read by statements")
    groups = read_rollouts(run.folder)
    found = []
    for group in groups:
        assert [(run.folder / name).is_file() for name in group.images] == [True]
        assert "Response 1: " in group.prompt
        texts = [one.response for one in group.rollouts]
        ends = [one.truncated for one in group.rollouts]
        forms = [form * (not cut) for form, cut in zip(format_rewards(texts), ends, strict=True)]
        answers = answer_rewards(texts, int(group.answer) - 1, ends)
        read = [split_answer(text) for text in texts]
        known = [consistency(one.choice, supported_response(one.thought)) if one else 0.0 for one in read]
        assert [one.reward for one in group.rollouts] == judge_rewards(forms, answers, known)
        found += [one.reward for one in group.rollouts]
    assert len(set(found)) > 2
    assert max(found) >= 1
    trained, start = weights(run.policy), weights(judge)
    assert any("visual" in name and not torch.equal(trained[name], start[name]) for name in start)
    assert {"basereward_judge/format", "basereward_judge/consistency", "kl"} <= log_of(run)[0].keys()
    assert (run.folder / "monitors.jsonl").stat().st_size


def test_the_trained_judge_says_how_it_is_asked_and_judges_as_it_was_evaluated(run, pairs, make_recipe):
    facts = read_judge_facts(open_folder(run.policy))
    role, record = facts.role, read_record(run.policy)
    assert (role.prompt, role.max_tokens) == ("think", 24)
    assert (facts.data_hash, len(record.pairs)) == (record.fingerprint, 6 * 8)
    asked = list(load_judge_prompts(make_recipe().data, 24, [str(pairs)]).ordered())
    judge = LocalJudge(run.policy, make_prompt(role.prompt, role.max_tokens), device="cpu")
    verdicts = judge.compare([one.question for one in asked])
    held_out = [json.loads(line) for line in (run.folder / "held_out.jsonl").read_text().splitlines()]
    assert [one["response"] for one in held_out] == [verdict.text for verdict in verdicts]
    assert [one["answer"] for one in held_out] == ["1", "2"] * 6
    rights = [verdict.choice == int(one.answer) - 1 for one, verdict in zip(asked, verdicts, strict=True)]
    assert [one["matched"] for one in held_out] == rights
    assert run.facts.end.matched == sum(rights) / 12
    assert (run.facts.end.orders.pairs, run.facts.start.orders.pairs) == (6, 6)


def test_stabilisers_that_bound_nothing_change_nothing(run, make_recipe, tmp_path):
    stable = {"log_ratio": 50.0, "advantage_sigmas": 50.0}
    recipe = make_recipe(grpo={"minibatches": 2, "beta": 0.01, "stable": stable})
    same = train_judge(recipe, tmp_path / "run")
    first, second = weights(run.policy), weights(same.policy)
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    assert [line["advantage_filtered"] for line in log_of(same) if "advantage_filtered" in line] == [0.0]
    assert [line["ratio_clipped"] for line in log_of(same)] == [0.0, 0.0]


def test_filtered_advantages_have_no_gradient_and_clipped_ratios_a_finite_loss(make_recipe, judge, tmp_path):
    filtered = {"stable": {"log_ratio": None, "advantage_sigmas": 1e-6}}
    result = train_judge(make_recipe(grpo={"max_steps": 1, **filtered}), tmp_path / "filtered")
    assert log_of(result)[0]["advantage_filtered"] > 0.5
    assert log_of(result)[0]["grad_norm"] == 0
    start, trained = weights(judge), weights(result.policy)
    assert [name for name in start if not torch.equal(start[name], trained[name])] == []
    # A rate that throws the policy far from the one that sampled, within one batch.
    clipped = {"minibatches": 2, "learning_rate": 0.5, "stable": {"log_ratio": 1.0, "advantage_sigmas": None}}
    result = train_judge(make_recipe(grpo=clipped), tmp_path / "clipped")
    first, second = log_of(result)
    assert (first["ratio_clipped"], second["ratio_clipped"] > 0.1) == (0.0, True)
    assert math.isfinite(second["loss"])


def test_the_guide_s_commands_train_a_judge_and_report_it(judge, pairs, tmp_path):
    [block] = [text for kind, text in read_blocks() if kind == "bash"]
    train, report = (shlex.split(line)[1:] for line in block.splitlines())
    changes = {
        "policy.model": judge,
        "data.pairs": [str(pairs)],
        "data.held_out": [str(pairs)],
        "data.order": "both",
        "grpo.max_steps": 1,
        "grpo.batch": 16,
        "grpo.max_completion_length": 24,
    }
    overrides = [f"{name}={value}" for name, value in changes.items()]
    ended = CliRunner().invoke(app, ["rl", str(ROOT / train[1]), *overrides, "--out", str(tmp_path / "run")])
    assert ended.exit_code == 0, ended.output
    assert "judge    " in ended.stdout
    assert "of 12 verdicts are right" in ended.stdout
    facts = json.loads((tmp_path / "run" / "rl.json").read_text())
    assert (facts["prompts"], facts["steps"]) == (12, 1)
    assert report[0] == "report"
    assert Path(report[1]).name == load_rl_recipe(ROOT / train[1]).name
    ended = CliRunner().invoke(app, ["report", str(tmp_path / "run")])
    assert ended.exit_code == 0, ended.output
    page = (tmp_path / "run" / "report.html").read_text()
    for text in ("held-out verdicts that are right", "same in both orders", "scheme judge", "Right answer: "):
        assert text in page


def test_the_guide_s_code_runs():
    [code] = [text for kind, text in read_blocks() if kind == "python"]
    exec(code, {})


class Kill(TrainerCallback):
    """Sends the process SIGTERM behind step 1, too late for its own look at signals: step 2 is the last."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 1:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.slow
def test_a_judge_s_run_that_was_killed_goes_on_as_if_it_had_never_ended(make_recipe, tmp_path):
    grpo = {"schedule": "constant", "minibatches": 2, "max_steps": 4, "stable": {}}
    whole = train_judge(make_recipe(grpo=grpo), tmp_path / "whole")
    with pytest.raises(StoppedError, match="after step 2 of 4"):
        train_judge(make_recipe(grpo=grpo), tmp_path / "parts", callbacks=[Kill()])
    with pytest.raises(WorkError, match="consistency_weight"):
        train_judge(make_recipe(grpo=grpo, reward={"consistency_weight": 0.1}), tmp_path / "parts", resume=True)
    parts = train_judge(make_recipe(grpo=grpo), tmp_path / "parts", resume=True)
    first, second = weights(whole.policy), weights(parts.policy)
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
