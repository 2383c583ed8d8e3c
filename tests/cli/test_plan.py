"""The plans of the published recipes, without a network and without their data."""

from pathlib import Path

import pytest

from basereward.encoding.groups import GroupLength
from basereward.models import hub
from basereward.models.flops import measure_backbone
from basereward.models.shapes import backbone_config
from basereward.training.plan import PlannedPairs, make_plan
from basereward.training.recipe import load_recipe

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refuse(*args, **kwargs):
        raise ConnectionError("no route to the hub\nplease check your connection")

    monkeypatch.setattr(hub, "snapshot_download", refuse)


def test_the_paper(command):
    ended = command("train", RECIPES / "basereward-qwen2_5-vl-7b.yaml", "--plan", "--ranks", 64, "--json")
    plan = ended.json
    assert (plan["data"], plan["pairs"], plan["steps"], plan["pairs_per_step"]) == ("assumed", 2_800_000, 21_875, 128)
    assert plan["parameters"] == pytest.approx(7.75e9, rel=0.002)
    assert plan["parameters"] == plan["trained_parameters"]
    assert plan["memory"]["total"] < 80
    assert ended.err.startswith("note: ")
    assert ended.err.count("\n") == 1
    assert "recipe assumes" in ended.err


def test_one_small_gpu(command):
    plan = command("train", RECIPES / "qwen2_5-vl-7b-lora-24gb.yaml", "--plan", "--json").json
    assert plan["memory"]["total"] < 24
    assert plan["trained_parameters"] < 0.02 * plan["parameters"]


@pytest.mark.parametrize(
    ("recipe", "changes", "passes"),
    [
        ("basereward-qwen2_5-vl-7b", [], (3, 3)),
        ("basereward-qwen2_5-vl-7b", ["model.freeze_vision=true"], (3, 1)),
        ("basereward-qwen2_5-vl-7b", ["model.freeze=[language]"], (2, 3)),
        ("basereward-qwen2_5-vl-7b", ["model.freeze_backbone=true"], (1, 1)),
        ("qwen2_5-vl-7b-lora-24gb", [], (2, 1)),
    ],
)
def test_what_stands_still_spares_its_part_of_the_backward_pass(recipe, changes, passes):
    loaded = load_recipe(RECIPES / f"{recipe}.yaml", changes)
    config = backbone_config(loaded.model.start)
    plan, size = make_plan(loaded, config, PlannedPairs(None, 0)), measure_backbone(config)
    assumed = loaded.data.assumed
    pair = GroupLength(assumed.prompt_tokens, (assumed.response_tokens,) * 2, assumed.image_tokens)
    language = size.times(1, 0).forward_flops(pair)
    vision = size.times(0, 1).forward_flops(pair)
    assert plan.forward_flops_per_pair == pytest.approx(language + vision)
    assert 0.1 < vision / (language + vision) < 0.4
    expected = passes[0] * language + passes[1] * vision
    assert plan.train_flops == pytest.approx(expected * plan.steps * plan.pairs_per_step)


def test_the_plan_for_people(command):
    ended = command("train", RECIPES / "basereward-qwen2_5-vl-7b.yaml", "--plan", "--ranks", 64)
    for words in ("2,800,000 (assumed", "21,875", "64 ranks", "memory per rank"):
        assert words in ended.out


def test_a_plan_without_data_and_assumption_is_refused(command):
    ended = command("train", RECIPES / "basereward-qwen2_5-vl-7b.yaml", "--plan", "data.assumed=null")
    assert ended.code == 1
    assert ended.err.startswith("error: ")
    assert "Traceback" not in ended.err


def test_the_limit_holds_for_assumed_pairs(command):
    plan = command("train", RECIPES / "basereward-qwen2_5-vl-7b.yaml", "--plan", "--limit", 1280, "--json").json
    assert (plan["pairs"], plan["steps"]) == (1280, 10)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["optimizer.tokens_per_microbatch=1000"], ["1600 tokens", "tokens_per_microbatch 1000"]),
        (["--ranks", 200], ["128 pairs", "200 ranks"]),
    ],
)
def test_a_plan_that_could_not_run_is_refused_before_the_data_is_there(command, change, words):
    ended = command("train", RECIPES / "basereward-qwen2_5-vl-7b.yaml", "--plan", *change)
    assert ended.code == 1
    assert all(word in ended.err for word in words)
