"""Options of the optimiser, of adapters and of freezing: what they do, what is refused, and runs that resume."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, TrainerCallback

from basereward.errors import CheckpointError, MissingExtraError, RecipeError, TrainingError
from basereward.models.components import component_of
from basereward.models.flops import measure_backbone
from basereward.training.memory import Microbatch, estimate_memory
from basereward.training.options import OptimizerRecipe
from basereward.training.plan import trained_parameters
from basereward.training.prepare import prepare_model
from basereward.training.run import train


class Watch(TrainerCallback):
    """The learning rates of every step by part, and how far the weights of each part moved."""

    def __init__(self) -> None:
        self.rates: list[dict[str, float]] = []
        self.moved: dict[str, float] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.before = {name: weight.detach().clone() for name, weight in model.named_parameters()}

    def on_step_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, optimizer: Any = None, **kwargs: Any
    ) -> None:
        names = {id(weight): component_of(name, model.family) for name, weight in model.named_parameters()}
        groups = optimizer.param_groups
        self.rates.append({names[id(weight)]: group["lr"] for group in groups for weight in group["params"]})

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        for name, weight in model.named_parameters():
            part = component_of(name, model.family)
            change = float((weight.detach() - self.before[name]).abs().max())
            self.moved[part] = max(self.moved.get(part, 0.0), change)


def test_parts_have_their_own_rates_and_freeze(
    make_recipe: Callable, backbone_of: Callable, tmp_path: Path, read_metrics: Callable
) -> None:
    rates = {"head": 1e-2, "vision": 1e-4}
    optimizer = {"max_steps": 2, "learning_rates": rates, "schedule": "constant", "learning_rate": 1e-3}
    model = {"backbone": str(backbone_of("internvl")), "freeze": ["projector"]}
    recipe, watch = make_recipe(model=model, optimizer=optimizer), Watch()
    train(recipe, tmp_path / "run", callbacks=[watch])
    assert watch.rates == [{"head": 1e-2, "vision": 1e-4, "language": 1e-3}] * 2
    assert watch.moved.pop("projector") == 0
    # Adam moves a weight by at most about its rate in a step.
    assert all(
        0.5 * rates.get(part, 1e-3) < change < 2.5 * rates.get(part, 1e-3) for part, change in watch.moved.items()
    )
    line = read_metrics(tmp_path / "run")[0]
    assert (line["learning_rate"], line["learning_rate_head"], line["learning_rate_vision"]) == (1e-3, 1e-2, 1e-4)
    config = AutoConfig.from_pretrained(recipe.model.start)
    counted = sum(weight.numel() for weight in prepare_model(recipe).parameters() if weight.requires_grad)
    assert trained_parameters(recipe, config, measure_backbone(config)) == counted


def test_parts_that_are_not_there_are_refused(make_recipe: Callable, world: Any) -> None:
    for sections in (
        {"model": {"backbone": str(world.backbone), "freeze": ["projector"]}},
        {"optimizer": {"learning_rates": {"projector": 1e-3}}},
    ):
        with pytest.raises(TrainingError, match=r"has no part 'projector', only head, language, vision.*tower holds"):
            prepare_model(make_recipe(**sections))


@pytest.mark.parametrize("model", [{"lora": {"rank": 2}}, {"freeze": ["vision"]}, {"freeze_vision": True}])
def test_a_rate_that_nothing_trains_with_is_refused(make_recipe: Callable, model: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match=r"learning_rates\.vision: no weight.*only those of head, language"):
        prepare_model(make_recipe(model=model, optimizer={"learning_rates": {"vision": 1e-4}}))
    prepare_model(make_recipe(model=model, optimizer={"learning_rates": {"language": 1e-4}}))


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": {"freeze": ["head", "language", "vision", "projector"]}}, "nothing trains"),
        ({"model": {"freeze": ["head"]}}, "never trains ranks at random"),
        ({"model": {"freeze": ["vision"], "lora": {}}}, "lora keeps the whole backbone"),
        ({"model": {"lora": {"dora": True}}, "hardware": {"sharding": "fsdp2"}}, "dora.*fsdp2"),
        ({"optimizer": {"decay_share": 0.2}}, "decay_share and decay_shape are for warmup_stable_decay"),
        ({"optimizer": {"min_rate_share": 0.2}}, "min_rate_share is for cosine_with_min_lr"),
        ({"optimizer": {"schedule": "warmup_stable_decay", "warmup_share": 0.95}}, "more than all steps"),
    ],
)
def test_options_without_meaning_are_refused(sections: Any, message: str, make_recipe: Callable, world: Any) -> None:
    if "model" in sections:
        sections = {**sections, "model": {"backbone": str(world.backbone), **sections["model"]}}
    with pytest.raises(RecipeError, match=message):
        make_recipe(**sections)


def factors(optimizer: OptimizerRecipe, steps: int) -> list[float]:
    """The learning rate of every step as transformers takes the options, over the peak."""
    from transformers import get_scheduler

    weights = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    options = optimizer.schedule_options(steps)
    schedule = get_scheduler(optimizer.schedule, weights, 2, steps, scheduler_specific_kwargs=options)
    return [schedule.lr_lambdas[0](step) for step in range(steps + 1)]


def test_schedules_end_where_they_should() -> None:
    stable = OptimizerRecipe(schedule="warmup_stable_decay", decay_share=0.25, decay_shape="linear", min_rate_share=0.2)
    found = factors(stable, 20)
    assert found[2:16] == [1.0] * 14
    assert found[16:] == pytest.approx([0.84, 0.68, 0.52, 0.36, 0.2])
    assert factors(OptimizerRecipe(schedule="cosine_with_min_lr"), 20)[-1] == pytest.approx(0.1)


def test_adapters_of_some_layers_are_as_planned_and_score_as_they_trained(
    make_recipe: Callable, world: Any, tmp_path: Path
) -> None:
    from basereward.models.adapters import merge_adapters
    from basereward.models.checkpoint import load_reward_model

    lora = {"rank": 4, "alpha": 8, "targets": ["q_proj", "v_proj"], "dora": True, "rslora": True}
    recipe = make_recipe(model={"backbone": str(world.backbone), "lora": lora}, optimizer={"max_steps": 2})
    config = AutoConfig.from_pretrained(recipe.model.start)
    model = prepare_model(recipe)
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    assert trained_parameters(recipe, config, measure_backbone(config)) == sum(map(torch.numel, trained.values()))
    assert any("lora_magnitude_vector" in name for name in trained)
    assert not any(part in name for name in trained for part in ("k_proj", "up_proj", "visual"))
    watch = Watch()
    folder = train(recipe, tmp_path / "run", callbacks=[watch]).model_folder
    loaded = load_reward_model(folder)
    magnitudes = [weight for name, weight in loaded.named_parameters() if "lora_magnitude_vector" in name]
    before = [weight for name, weight in watch.before.items() if "lora_magnitude_vector" in name]
    assert all(not torch.equal(one, other) for one, other in zip(magnitudes, before, strict=True))
    query = "layers.0.self_attn.q_proj"
    [wrapped] = [module for name, module in loaded.named_modules() if name.endswith(query)]
    x = torch.randn(3, wrapped.in_features)
    expected = wrapped(x)
    [merged] = [module for name, module in merge_adapters(loaded).named_modules() if name.endswith(query)]
    torch.testing.assert_close(merged(x), expected, rtol=1e-4, atol=1e-5)


def test_layers_that_are_not_there_are_refused(make_recipe: Callable, world: Any) -> None:
    recipe = make_recipe(model={"backbone": str(world.backbone), "lora": {"targets": ["query"]}})
    with pytest.raises(CheckpointError, match="called 'query'; known: q_proj"):
        prepare_model(recipe)


def test_the_plan_knows_moments_of_eight_bits_and_frozen_parts(make_recipe: Callable, world: Any) -> None:
    config = AutoConfig.from_pretrained(world.backbone)
    size = measure_backbone(config)

    def memory(**sections: Any) -> Any:
        recipe = make_recipe(**sections)
        trained = trained_parameters(recipe, config, size)
        return trained, estimate_memory(recipe, config, size, trained, Microbatch(100, 50), 1)

    (whole, full), (_, small) = memory(), memory(optimizer={"algorithm": "adamw_8bit"})
    assert small.optimizer / full.optimizer == pytest.approx((2 + 8 / 256) / 8)
    assert small._replace(optimizer=full.optimizer) == full
    trained, frozen = memory(model={"backbone": str(world.backbone), "freeze": ["language"]})
    assert frozen.weights == pytest.approx(full.weights)
    assert whole - trained == size.total - size.vision_total
    head = memory(model={"backbone": str(world.backbone), "freeze": ["language", "vision"]})
    assert head == memory(model={"backbone": str(world.backbone), "freeze_backbone": True})


def test_eight_bits_need_a_library(make_recipe: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("basereward.training.options.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"adamw_8bit needs bitsandbytes; install it with.*basereward\[bnb\]"):
        train(make_recipe(optimizer={"algorithm": "adamw_8bit"}), tmp_path / "run")


RESUMED: dict[str, dict[str, Any]] = {
    "rates": {"optimizer": {"learning_rates": {"head": 1e-2, "vision": 1e-4}, "beta2": 0.95}},
    "stable": {"optimizer": {"schedule": "warmup_stable_decay", "decay_share": 0.5}},
    "eight bits": {"optimizer": {"algorithm": "adamw_8bit"}},
    "dora": {"model": {"lora": {"rank": 2, "targets": ["q_proj"], "dora": True, "rslora": True}}},
}


@pytest.mark.parametrize(
    "name", [pytest.param(own, marks=[pytest.mark.slow] if own != "rates" else []) for own in RESUMED]
)
def test_a_killed_run_with_options_ends_as_the_whole_one(
    name: str,
    make_recipe: Callable,
    world: Any,
    launch: Callable,
    read_state: Callable,
    read_metrics: Callable,
    tmp_path: Path,
) -> None:
    if name == "eight bits":
        pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    sections = dict(RESUMED[name])
    sections["model"] = {"backbone": str(world.backbone)} | sections.get("model", {})
    sections["optimizer"] = {"max_steps": 4} | sections.get("optimizer", {})
    recipe = make_recipe(**sections, run={"save_every": 2, "log_every": 1})
    train(recipe, tmp_path / "whole")
    assert launch(recipe, tmp_path / "run", kill="after-step:3").codes != [0]
    train(recipe, tmp_path / "run", resume=True)
    found, expected = (read_state(tmp_path / folder / "model") for folder in ("run", "whole"))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[own], expected[own]) for own in expected)
    assert read_metrics(tmp_path / "run") == read_metrics(tmp_path / "whole")
    if name == "eight bits":
        stored = torch.load(tmp_path / "run" / "checkpoints" / "checkpoint-4" / "optimizer.pt", weights_only=True)
        moments = [own["__bnb_optimizer_quant_state__"]["state1"].dtype for own in stored["state"].values()]
        # Small weights keep moments of 32 bits.
        assert set(moments) == {torch.uint8, torch.float32}
