"""The recipes of the paper's models resolve to what the paper says, and their plans to steps, memory and hours."""

from pathlib import Path

import pytest
import yaml

from basereward.curation.mix_recipe import load_mix_recipe
from basereward.models.shapes import backbone_config
from basereward.scoring.compose.files import read_spec
from basereward.scoring.compose.specs import EnsembleSpec
from basereward.scoring.model_spec import ModelSpec
from basereward.training.plan import Plan, PlannedPairs, make_plan
from basereward.training.prepare import assume_start, prepare_data, prepare_template
from basereward.training.recipe import dump_recipe, load_recipe, parse_recipe

ROOT = Path(__file__).parents[2] / "recipes"
# Pairs, steps and parameters in billions.
PLANS = {
    "basereward-qwen2_5-vl-7b": (2_800_000, 21_875, 7.75),
    "paper/voter-qwen2-vl-7b": (2_800_000, 21_875, 7.76),
    "paper/default": (200_000, 1_562, 7.75),
    "paper/text-qwen2_5-vl-7b": (569_000, 4_445, 7.75),
    "paper/text-qwen2_5-7b": (569_000, 4_445, 7.08),
    "paper/text-qwen3-8b": (569_000, 4_445, 7.58),
}


def plan(name: str, ranks: int, *changes: str) -> Plan:
    recipe = load_recipe(ROOT / f"{name}.yaml", list(changes))
    return make_plan(recipe, backbone_config(recipe.model.start), PlannedPairs(None, 0), ranks)


@pytest.mark.parametrize("name", PLANS)
def test_a_recipe_of_the_paper_is_planned_without_data(name: str) -> None:
    pairs, steps, billions = PLANS[name]
    few, many = plan(name, 8), plan(name, 64)
    for own in (few, many):
        assert (own.pairs, own.steps, own.pairs_per_step) == (pairs, steps, 128)
        assert own.parameters == pytest.approx(billions * 1e9, rel=0.002)
        assert own.parameters == own.trained_parameters
        assert own.memory.total < 80, "an H100 holds it"
        assert own.start == assume_start(pairs, images=int("text" not in name))
    assert few.hours is not None
    assert many.hours is not None
    assert few.hours.hours == pytest.approx(few.train_flops / (8 * 0.35 * 989e12) / 3600)
    assert many.hours.hours == pytest.approx(few.hours.hours / 8)
    assert few.hours.device_hours == pytest.approx(many.hours.device_hours)
    assert any(value.endswith("assumed, not measured") for key, value in few.lines() if key == "expected hours")


def test_there_is_a_plan_for_every_recipe_here_and_all_share_the_papers_strategy() -> None:
    here = {f"paper/{path.stem}" for path in (ROOT / "paper").glob("*.yaml")} - {"paper/ensemble"}
    assert here == {name for name in PLANS if name.startswith("paper/")}
    base = load_recipe(ROOT / "basereward-qwen2_5-vl-7b.yaml")
    for name in here:
        recipe = load_recipe(ROOT / f"{name}.yaml")
        assert parse_recipe(yaml.safe_load(dump_recipe(recipe))) == recipe
        assert (recipe.objective, recipe.optimizer, recipe.hardware, recipe.run) == (
            base.objective,
            base.optimizer,
            base.hardware,
            base.run,
        )
        assert recipe.model.head == base.model.head
        [place] = recipe.data.train
        assert load_mix_recipe(ROOT / "data" / f"{Path(place).name}.yaml").name == Path(place).name


def test_the_ensemble_is_of_the_models_that_the_recipes_train() -> None:
    spec = read_spec(ModelSpec(model=str(ROOT / "paper" / "ensemble.yaml")))
    assert isinstance(spec, EnsembleSpec)
    names = [load_recipe(ROOT / f"{name}.yaml").name for name in list(PLANS)[:2]]
    assert [member.model for member in spec.members if isinstance(member, ModelSpec)] == [
        f"runs/{name}/model" for name in names
    ]
    assert (spec.ensemble.rule, spec.ensemble.weights) == ("mean", "equal")


def test_the_utilisation_is_an_option_and_other_devices_have_no_hours() -> None:
    usual, low = plan("paper/default", 8), plan("paper/default", 8, "hardware.assumed.mfu=0.175")
    assert usual.hours is not None
    assert low.hours is not None
    assert low.hours.hours == pytest.approx(2 * usual.hours.hours)
    assert plan("paper/default", 8, "hardware.precision=fp32").hours is None
    slow = plan("paper/default", 8, "hardware.precision=fp32", "hardware.assumed.peak_tflops=67")
    assert slow.hours is not None
    assert slow.to_dict()["hours"]["peak_flops"] == 67e12


def test_assumed_starts_hold_what_measured_ones_do(make_recipe, world) -> None:
    recipe = make_recipe()
    measured = prepare_data(recipe, prepare_template(recipe)).train
    images = sum(len(pair.images) for pair in measured.pairs)
    pairs = len(measured.pairs)
    expected = assume_start(pairs, 0).memory_bytes + 16 * images
    assert measured.start.memory_bytes == pytest.approx(expected, rel=0.2)
