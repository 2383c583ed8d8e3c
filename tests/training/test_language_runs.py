"""Runs of critics and judges: they learn, go on after an end, evaluate, and save what generates and scores again."""

import json

import pytest
import torch
from transformers import AutoModelForImageTextToText

from basereward.data.storage import write_rows
from basereward.errors import DataError
from basereward.lab.reasons import with_reasons
from basereward.lab.world import WorldConfig, draw_rows
from basereward.models.facts import read_judge_facts
from basereward.models.flops import measure_backbone
from basereward.models.hub import open_folder
from basereward.models.reward_model import RewardModel
from basereward.models.shapes import backbone_config
from basereward.training.plan import trained_parameters
from basereward.training.prepare import prepare_model
from basereward.training.run import train

KILLED = 9
OBJECTIVES = {
    "critic": {"kind": "critic", "request": "short", "max_tokens": 32},
    "grm": {"kind": "grm"},
    "longcot": {"kind": "longcot", "max_tokens": 64},
}


@pytest.fixture(scope="module")
def reasons(tmp_path_factory):
    path = tmp_path_factory.mktemp("reasons") / "pairs.parquet"
    write_rows(with_reasons(draw_rows(28, 0, WorldConfig()), 0), path)
    return path


@pytest.fixture
def recipe_of(make_recipe, reasons):
    """``recipe_of(kind, steps)``: 7 pairs a step, validated on the same pairs."""

    def make(kind, **run):
        data = {"train": [str(reasons)], "validation": [str(reasons)]}
        return make_recipe(objective=OBJECTIVES[kind], data=data, optimizer={"epochs": 1}, run={"eval_every": 4, **run})

    return make


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_a_run_lowers_its_loss_and_saves_what_it_is(kind, recipe_of, tmp_path):
    result = train(recipe_of(kind), tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert losses[-1] < losses[0]
    assert any(0 <= line.get("eval_accuracy", -1) <= 1 for line in lines)
    assert any("eval_own_accuracy" in line for line in lines) == (kind == "critic")
    if kind == "critic":
        model = RewardModel.from_pretrained(result.model_folder, device="cpu")
        assert (model.role.request, model.role.max_tokens) == ("short", 32)
        assert None not in (model.lm_head, model.data_record)
    else:
        role = read_judge_facts(open_folder(result.model_folder)).role
        assert role.prompt == {"grm": "digit", "longcot": "think"}[kind]
        whole = AutoModelForImageTextToText.from_pretrained(result.model_folder)
        assert whole.generation_config.eos_token_id is not None


def test_a_killed_run_of_a_critic_goes_on_to_the_same_weights(recipe_of, launch, tmp_path):
    recipe = recipe_of("critic", save_every=2, eval_every=None)
    assert launch(recipe, tmp_path / "half", kill="after-step:3").codes == [KILLED]
    models = [train(recipe, tmp_path / name, resume=name == "half").model_folder for name in ("whole", "half")]
    whole, half = (RewardModel.from_pretrained(folder, device="cpu").state_dict() for folder in models)
    assert whole.keys() == half.keys()
    for name, weight in whole.items():
        torch.testing.assert_close(half[name], weight, rtol=0, atol=0, msg=name)


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_the_plan_counts_what_trains(kind, recipe_of):
    recipe = recipe_of(kind)
    counted = sum(weight.numel() for weight in prepare_model(recipe).parameters())
    config = backbone_config(recipe.model.start)
    assert trained_parameters(recipe, config, measure_backbone(config)) == counted


def test_pairs_without_critiques_are_an_error_with_their_number(make_recipe, world, tmp_path):
    recipe = make_recipe(objective=OBJECTIVES["critic"])
    with pytest.raises(DataError, match=r"30 of 30 pairs have no critiques.*data annotate"):
        train(recipe, tmp_path / "run")


def test_critiques_that_teach_one_thing_leave_the_other_alone(reasons, tmp_path, make_recipe):
    """Of pairs that teach rewards the vocabulary head learns nothing, of those that teach words the reward head."""
    rows = list(with_reasons(draw_rows(14, 0, WorldConfig()), 0, corrupted_share=1.0))
    assert sum(row["critiques"]["teaches"] == "words" for row in rows) == 14
    for what, still in (("rewards", "lm_head.weight"), ("words", "head.layers.0.weight")):
        path = tmp_path / f"{what}.parquet"
        write_rows([row for row in rows if row["critiques"]["teaches"] == what], path)
        recipe = make_recipe(
            objective=OBJECTIVES["critic"], data={"train": [str(path)]}, optimizer={"epochs": 1, "max_steps": 1}
        )
        model = RewardModel.from_pretrained(train(recipe, tmp_path / what).model_folder, device="cpu")
        before = prepare_model(recipe).state_dict()
        moved = {name for name, weight in model.state_dict().items() if not torch.equal(weight, before[name])}
        assert still not in moved
        assert len(moved) > 10


@pytest.mark.ranks
@pytest.mark.parametrize("kind", ["critic", "grm"])
def test_shards_of_what_writes_compute_what_one_process_does(
    kind, recipe_of, launch, read_metrics, read_state, tmp_path
):
    runs = {}
    for name, sharding, ranks in (("one", "none", 1), ("ddp", "none", 2), ("fsdp2", "fsdp2", 2)):
        recipe = recipe_of(kind, eval_every=None)
        hardware = recipe.hardware.model_copy(update={"sharding": sharding})
        runs[name] = launch(recipe.model_copy(update={"hardware": hardware}), tmp_path / name, ranks)
        assert runs[name].codes == [0] * ranks, runs[name].printed(0, "err")
    lines = {name: [line["loss"] for line in read_metrics(run.folder) if "loss" in line] for name, run in runs.items()}
    state = {name: read_state(run.folder / "model") for name, run in runs.items()}
    for name in ("ddp", "fsdp2"):
        assert lines[name] == pytest.approx(lines["one"], rel=1e-5, abs=2e-6)
        assert state[name].keys() == state["one"].keys()
        for weight, value in state["one"].items():
            torch.testing.assert_close(state[name][weight], value, rtol=0, atol=1e-5, msg=weight)
