"""The plans of the published recipes, without a network and without their data."""

from pathlib import Path

import pytest

from basereward.models import hub

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


@pytest.mark.parametrize(("recipe", "passes"), [("basereward-qwen2_5-vl-7b", 3), ("qwen2_5-vl-7b-lora-24gb", 2)])
def test_adapters_spare_the_gradients_of_weights(command, recipe, passes):
    plan = command("train", RECIPES / f"{recipe}.yaml", "--plan", "--json").json
    forward = plan["forward_flops_per_pair"] * plan["steps"] * plan["pairs_per_step"]
    assert plan["train_flops"] == pytest.approx(passes * forward)


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
