"""``basereward rl``: GRPO with images under every scheme, its folder, and going on after an end."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from basereward.cli.main import app
from basereward.configuration import dump_configuration
from basereward.data.schema import Response, ResponseGroup, messages_from_text, response_id
from basereward.errors import DataError, RecipeError, RewardError, TrainingError, WorkError
from basereward.lab.prompts import write_prompts
from basereward.lab.table11 import DifferenceJudge
from basereward.lab.world import draw_prompts
from basereward.rl.grpo import StartsAsItsReference, grpo_arguments
from basereward.rl.prompts import load_prompts, prompt_group
from basereward.rl.recipe import load_rl_recipe, parse_rl_recipe
from basereward.rl.reward_function import RewardFunction
from basereward.rl.run import run_steps, train_policy
from basereward.rl.shown_rollouts import read_rollouts
from basereward.scoring.local import LocalScorer

ROOT = Path(__file__).parents[2]
SCHEMES = ("rule", "model", "hybrid", "tournament")


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    path = tmp_path_factory.mktemp("prompts") / "prompts.parquet"
    write_prompts(draw_prompts(12, 3), path)
    return path


@pytest.fixture(scope="module")
def make_recipe(vl_backbone, checkpoint, prompts):
    """``make_recipe(section={...})``: the smallest run, with changes."""

    def make(**changes):
        content = {
            "name": "tiny",
            "policy": {"model": str(vl_backbone)},
            "data": {"prompts": [str(prompts)], "held_out": [str(prompts)]},
            "reward": {"scheme": "hybrid", "model": checkpoint},
            "grpo": {"batch": 6, "generations": 3, "max_completion_length": 3, "max_steps": 2, "learning_rate": 1e-2},
            "hardware": {"precision": "fp32", "checkpointing": False, "use_cpu": True, "rollouts_per_device": 6},
            "run": {"show_every": 1},
        }
        return parse_rl_recipe(
            {key: {**own, **changes.get(key, {})} if isinstance(own, dict) else own for key, own in content.items()}
        )

    return make


@pytest.fixture(scope="module")
def runs(make_recipe, reward_model, tmp_path_factory):
    """A finished run under each scheme."""
    found = {}
    for scheme in SCHEMES:
        scorer = LocalScorer(reward_model, "tiny")
        function = None
        if scheme == "tournament":
            function = RewardFunction(DifferenceJudge(scorer), scheme)
        recipe = make_recipe(reward={"scheme": scheme})
        found[scheme] = train_policy(recipe, tmp_path_factory.mktemp("runs") / scheme, function=function)
    return found


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_policy_trains_with_its_images_under_every_scheme(scheme, runs, vl_backbone):
    result = runs[scheme]
    facts = json.loads((result.folder / "rl.json").read_text())
    assert (facts["steps"], facts["prompts"], facts["scheme"]) == (2, 12, scheme)
    assert facts["end"]["prompts"] == facts["start"]["prompts"] == 12
    log = [json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log if "loss" in line] == [1, 2]
    steps = [json.loads(line)["step"] for line in (result.folder / "monitors.jsonl").read_text().splitlines()]
    assert steps == [1, 2]
    groups = read_rollouts(result.folder)
    assert [group.step for group in groups] == [1, 1, 2, 2]
    for group in groups:
        assert len(group.rollouts) == 3
        assert [(result.folder / name).is_file() for name in group.images] == [True]
        rewards = [one.reward for one in group.rollouts if one.reward is not None]
        assert rewards == sorted(rewards, reverse=True)
    trained, start = (load_file(next(folder.glob("*.safetensors"))) for folder in (result.policy, vl_backbone))
    spread = any(len({one.reward for one in group.rollouts}) > 1 for group in groups)
    changed = {name for name in start if not torch.equal(trained[name], start[name])}
    # Equal rewards in every group have no gradient; random weights match nothing.
    assert bool(changed) is spread
    assert scheme == "rule" or any("visual" in name for name in changed)


def test_rewards_are_those_of_the_images_that_the_policy_saw(runs, reward_model, prompts):
    rows = {json.dumps(row["prompt"]) + row["answer"]: row for row in load_prompts([str(prompts)]).rows}
    assert len(rows) > 1
    shown = [group for group in read_rollouts(runs["model"].folder) if any(one.response for one in group.rollouts)]
    by_text = {}
    for row in load_prompts([str(prompts)]).rows:
        by_text.setdefault((prompt_group(row).prompt[0].text, row["answer"]), []).append(row)
    checked = 0
    for group in shown:
        candidates = by_text[group.prompt, group.answer]
        if len(candidates) > 1:
            continue
        right = prompt_group(candidates[0])
        other = next(row for row in load_prompts([str(prompts)]).rows if row["id"] != candidates[0]["id"])
        texts = [messages_from_text(one.response, role="assistant") for one in group.rollouts]
        answers = tuple(Response(response_id(str(place), text), text) for place, text in enumerate(texts))
        for images, is_same in ((right.images, True), (tuple(other["images"]), False)):
            asked = ResponseGroup("a", right.prompt, answers, images=images)
            [scored] = LocalScorer(reward_model, "tiny").score([asked])
            gaps = [abs(one.value - own.model_reward) for one, own in zip(scored, group.rollouts, strict=True)]
            assert (max(gaps) < 1e-5) is is_same
        checked += 1
    assert checked


def test_a_run_goes_on_from_its_checkpoint_as_if_it_had_never_ended(make_recipe, tmp_path):
    constant = {"schedule": "constant"}
    whole = train_policy(make_recipe(grpo={"max_steps": 4, **constant}, data={"held_out": []}), tmp_path / "whole")
    saved = {"run": {"save_every": 2, "show_every": 1}, "data": {"held_out": []}}
    train_policy(make_recipe(grpo={"max_steps": 2, **constant}, **saved), tmp_path / "parts")
    with pytest.raises(TrainingError, match="already holds a run"):
        train_policy(make_recipe(grpo={"max_steps": 4, **constant}, **saved), tmp_path / "parts")
    with pytest.raises(WorkError, match=r"grpo\.learning_rate 0\.01, not 0\.5"):
        train_policy(
            make_recipe(grpo={"max_steps": 4, "learning_rate": 0.5, **constant}, **saved), tmp_path / "parts", True
        )
    parts = train_policy(make_recipe(grpo={"max_steps": 4, **constant}, **saved), tmp_path / "parts", resume=True)
    first, second = (load_file(run.policy / "model.safetensors") for run in (whole, parts))
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    assert [group.step for group in read_rollouts(parts.folder)] == [1, 1, 2, 2, 3, 3, 4, 4]
    # Killed behind its last step, before the policy was saved: the last checkpoint is the result.
    (parts.folder / "rl.json").unlink()
    shutil.rmtree(parts.policy)
    again = train_policy(make_recipe(grpo={"max_steps": 4, **constant}, **saved), tmp_path / "parts", resume=True)
    assert again.facts.steps == 4
    third = load_file(again.policy / "model.safetensors")
    assert [name for name in first if not torch.equal(first[name], third[name])] == []
    with pytest.raises(TrainingError, match="finished run of 4 steps"):
        train_policy(make_recipe(grpo={"max_steps": 4, **constant}, **saved), tmp_path / "parts", resume=True)


def test_the_trained_policy_loads_as_the_start_of_another_run(runs, make_recipe, tmp_path):
    again = make_recipe(policy={"model": str(runs["model"].policy)}, grpo={"max_steps": 1}, data={"held_out": []})
    assert train_policy(again, tmp_path / "again").facts.steps == 1


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_prompts_that_cannot_be_used_are_counted_or_refused(tmp_path, picture):
    picture().save(tmp_path / "a.png")
    good = {"prompt": "What color?", "images": ["a.png"], "answer": "red"}
    rows = [good, {**good, "answer": " "}, {**good, "images": ["gone.png"]}, {"prompt": "No answer?"}]
    path = write_lines(tmp_path / "rows.jsonl", rows)
    found = load_prompts([path])
    assert len(found.rows) == 1
    assert found.has_images
    assert found.ledger.counts == {"empty_response": 1, "image_missing": 1, "malformed": 1}
    # Read from the cache.
    assert load_prompts([path]).ledger == found.ledger
    with pytest.raises(DataError, match="leave strict out"):
        load_prompts([path], strict=True)
    assert [part.type for part in prompt_group(found.rows[0]).prompt[0].content] == ["image", "text"]
    mixed = write_lines(tmp_path / "mixed.jsonl", [good, {"prompt": "No image?", "answer": "no"}])
    with pytest.raises(DataError, match="1 of 2 prompts have images"):
        load_prompts([mixed])
    with pytest.raises(DataError, match=r"No prompt of .* can be used \(malformed 4"):
        load_prompts([path], answer="solution")
    renamed = write_lines(tmp_path / "renamed.jsonl", [{"prompt": "Q?", "image": "a.png", "solution": "red"}])
    assert load_prompts([renamed], answer="solution").rows[0]["answer"] == "red"


def test_a_batch_counts_rollouts_or_prompts(make_recipe, tmp_path):
    counted = make_recipe(grpo={"batch": 256, "generations": 8, "max_steps": None})
    asked = make_recipe(grpo={"batch": 256, "generations": 8, "batch_counts": "prompts", "max_steps": None})
    assert (counted.grpo.rollouts, asked.grpo.rollouts) == (256, 2048)
    assert (run_steps(counted, 3200), run_steps(asked, 3200)) == (100, 12)
    with pytest.raises(RecipeError, match="no multiple of 8 generations"):
        make_recipe(grpo={"batch": 12, "generations": 8})
    with pytest.raises(TrainingError, match="no multiple of 5 ranks"):
        grpo_arguments(counted, tmp_path, 5)


def test_a_scheme_without_its_model_is_refused_before_anything_is_loaded():
    content = {"name": "x", "policy": {"model": "nowhere"}, "data": {"prompts": ["gone.jsonl"]}}
    with pytest.raises(RecipeError, match=r"needs reward\.model"):
        parse_rl_recipe({**content, "reward": {"scheme": "hybrid"}})
    assert parse_rl_recipe({**content, "reward": {"scheme": "rule"}}).reward.model is None


def test_a_reference_of_other_weights_is_noticed():
    class State:
        global_step = 1

    StartsAsItsReference().on_log(None, State, None, {"kl": 0.0})
    with pytest.raises(RewardError, match="other weights"):
        StartsAsItsReference().on_log(None, State, None, {"kl": 4.9})


def test_the_command_trains_and_reports(runs, tmp_path):
    def command(*arguments):
        ended = CliRunner().invoke(app, [*map(str, arguments)])
        assert ended.exit_code == 0, ended.output
        return ended

    out = tmp_path / "run"
    shown = command("rl", runs["hybrid"].folder, "data.held_out=[]", "grpo.max_steps=1", "--out", out, "--json")
    assert json.loads(shown.stdout)["steps"] == 1
    folder = tmp_path / "copy"
    shutil.copytree(runs["hybrid"].folder, folder)
    command("report", folder)
    page = (folder / "report.html").read_text()
    for text in ("Held-out answers", "Rollouts", "rank 1", "Right answer: ", "scheme hybrid"):
        assert text in page


def test_the_paper_s_recipes_are_whole():
    recipes = {path.stem: load_rl_recipe(path) for path in sorted((ROOT / "recipes" / "rl").glob("*.yaml"))}
    assert {name.removeprefix("paper-") for name in recipes if name.startswith("paper-")} == set(SCHEMES)
    for scheme in SCHEMES:
        recipe = recipes[f"paper-{scheme}"]
        assert recipe.reward.scheme == scheme
        assert (recipe.grpo.batch, recipe.grpo.generations, recipe.grpo.epochs) == (256, 8, 1)


@pytest.mark.slow
def test_two_processes_train_one_policy(make_recipe, tmp_path):
    recipe = make_recipe(grpo={"batch": 12, "max_steps": 2}, hardware={"rollouts_per_device": 3})
    (tmp_path / "recipe.yaml").write_text(dump_configuration(recipe))
    run = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "basereward", "rl"]
    arguments = [str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "run")]
    subprocess.run([sys.executable, *run, *arguments], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    facts = json.loads((tmp_path / "run" / "rl.json").read_text())
    assert (facts["ranks"], facts["steps"], facts["end"]["prompts"]) == (2, 2, 12)
    # The monitors see the groups of both.
    steps = [json.loads(line) for line in (tmp_path / "run" / "monitors.jsonl").read_text().splitlines()]
    assert [(one["groups"], one["responses"]) for one in steps] == [(4, 12), (4, 12)]
