"""What trains and what stands still: adapters, head, frozen towers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from basereward.models.flops import measure_backbone
from basereward.models.reward_model import RewardModel
from basereward.models.shapes import backbone_config
from basereward.training.plan import trained_parameters
from basereward.training.prepare import prepare_model
from basereward.training.run import train

LORA = {"rank": 4, "alpha": 8}


class Keeper(TrainerCallback):
    """Keeps the weights of the beginning and of the end."""

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.before = {name: weight.detach().clone() for name, weight in model.named_parameters()}

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.after = {name: weight.detach().clone() for name, weight in model.named_parameters()}

    def changed(self) -> set[str]:
        """The names of weights that moved."""
        return {name for name, weight in self.before.items() if not torch.equal(weight, self.after[name])}

    def names(self, *parts: str) -> set[str]:
        """The names of weights that contain one of these."""
        return {name for name in self.before if any(part in name for part in parts)}


@pytest.fixture
def keeper() -> Keeper:
    return Keeper()


def model_section(world: Any, **changes: Any) -> dict[str, Any]:
    return {"backbone": str(world.backbone), **changes}


def test_everything_trains_by_default(world: Any, make_recipe: Callable, tmp_path: Path, keeper: Keeper) -> None:
    train(make_recipe(), tmp_path / "run", callbacks=[keeper])
    assert keeper.changed() == set(keeper.before)


def test_a_frozen_vision_tower_stands_still(world: Any, make_recipe: Callable, tmp_path: Path, keeper: Keeper) -> None:
    train(make_recipe(model=model_section(world, freeze_vision=True)), tmp_path / "run", callbacks=[keeper])
    assert keeper.names("visual.")
    assert keeper.changed() == set(keeper.before) - keeper.names("visual.")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_lora_changes_adapters_and_head_alone_and_in_fp32(
    dtype: str, checkpointing: bool, world: Any, make_recipe: Callable, tmp_path: Path, keeper: Keeper
) -> None:
    model = model_section(world, lora=LORA, frozen_dtype=dtype, checkpointing=checkpointing)
    precision = "bf16" if dtype == "bfloat16" else "fp32"
    recipe = make_recipe(model=model, hardware={"precision": precision, "workers": 0, "use_cpu": True})
    train(recipe, tmp_path / "run", callbacks=[keeper])
    trained = keeper.names("lora_", "head.")
    assert keeper.changed() == trained
    assert {keeper.after[name].dtype for name in trained} == {torch.float32}
    assert {keeper.after[name].dtype for name in set(keeper.after) - trained} == {getattr(torch, dtype)}
    assert not any("visual" in name for name in trained)


def test_a_lora_folder_is_adapter_and_head_and_scores(
    world: Any, make_recipe: Callable, tmp_path: Path, read_state: Callable, keeper: Keeper
) -> None:
    recipe = make_recipe(model=model_section(world, lora=LORA), optimizer={"learning_rate": 1e-2})
    folder = train(recipe, tmp_path / "run", callbacks=[keeper]).model_folder
    assert all("lora_" in name or name.startswith("reward_head.") for name in read_state(folder))
    live = prepare_model(recipe)
    live.load_state_dict(keeper.after, strict=False)
    expected = live.eval().score("What is 2 + 3?", responses=["5", "6"])
    assert RewardModel.from_pretrained(folder).score("What is 2 + 3?", responses=["5", "6"]) == pytest.approx(
        expected, rel=1e-5
    )


def test_a_killed_lora_run_with_dropout_resumes_to_the_same_bits(
    world: Any, make_recipe: Callable, launch: Callable, tmp_path: Path, read_state: Callable, read_metrics: Callable
) -> None:
    recipe = make_recipe(model=model_section(world, lora=LORA | {"dropout": 0.2}), run={"save_every": 2})
    train(recipe, tmp_path / "whole")
    assert launch(recipe, tmp_path / "run", kill="in-save:4").codes == [9]
    train(recipe, tmp_path / "run", resume=True)
    assert read_metrics(tmp_path / "run") == read_metrics(tmp_path / "whole")
    found, expected = (read_state(tmp_path / name / "model") for name in ("run", "whole"))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"freeze_vision": True},
        {"lora": LORA},
        {"lora": LORA, "freeze_vision": True},
        {"head": {"layers": 3, "width": 5}},
        {"head": {"layers": 1}},
    ],
)
def test_the_plan_counts_what_trains(changes: dict, world: Any, make_recipe: Callable) -> None:
    recipe = make_recipe(model=model_section(world, **changes))
    model = prepare_model(recipe)
    counted = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    config = backbone_config(world.backbone)
    assert trained_parameters(recipe, config, measure_backbone(config)) == counted
