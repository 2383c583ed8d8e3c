"""The plan says what the run does: the same steps, epochs, micro-batches and limits, by the same functions."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from basereward.errors import TrainingError
from basereward.models.shapes import backbone_config
from basereward.training import evaluation
from basereward.training.collator import PreferenceCollator
from basereward.training.evaluation import ValidationPairs
from basereward.training.launch import replica_ranks
from basereward.training.plan import Plan, PlannedPairs, make_plan, run_length
from basereward.training.prepare import prepare_data, prepare_template
from basereward.training.recipe import Recipe, load_recipe
from basereward.training.run import train

RECIPES = Path(__file__).parents[2] / "recipes"
CAP = 150


def plan_of(recipe: Recipe, ranks: int = 1) -> Plan:
    data = prepare_data(recipe, prepare_template(recipe))
    sizes = PlannedPairs(data.train.lengths, data.train.drops["total"], data.reserved, start=data.train.start)
    return make_plan(recipe, AutoConfig.from_pretrained(recipe.model.start), sizes, ranks)


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Tokens of every row that is collated in this process, and its pairs."""
    seen: list[tuple[int, int]] = []
    collate = PreferenceCollator.__call__

    def watch(self: PreferenceCollator, pairs: Any) -> Any:
        batch = collate(self, pairs)
        seen.append((batch["input_ids"].numel(), len(pairs)))
        return batch

    monkeypatch.setattr(PreferenceCollator, "__call__", watch)
    return seen


def test_nothing_is_saved_where_prompts_are_not_shared() -> None:
    file = RECIPES / "basereward-qwen2_5-vl-7b.yaml"
    shared, alone = (load_recipe(file, changes) for changes in ([], ["model.backend=plain"]))
    config = backbone_config(shared.model.start)
    plans = [make_plan(recipe, config, PlannedPairs(None, 0)) for recipe in (shared, alone)]
    assert plans[0].saved_flops_share > 0.4
    assert plans[1].saved_flops_share == 0
    assert plans[1].forward_flops_per_pair * (1 - plans[0].saved_flops_share) == pytest.approx(
        plans[0].forward_flops_per_pair
    )
    # Of 1,600 tokens of a pair 1,200 are computed once more, and all of its images.
    assert 2800 / 1600 < plans[1].memory.activations / plans[0].memory.activations < 2
    linear = make_plan(shared, backbone_config("Qwen/Qwen3.5-9B"), PlannedPairs(None, 0))
    assert linear.saved_flops_share == 0


@pytest.mark.parametrize("steps", [None, 3, 18])
def test_the_run_takes_the_steps_and_keeps_the_cap_of_the_plan_in_every_epoch(
    steps: int | None, make_recipe: Callable, world: Any, tmp_path: Path, rows: list[tuple[int, int]]
) -> None:
    recipe = make_recipe(
        data={"validation": [str(world.validation)]},
        optimizer={"max_steps": steps, "tokens_per_microbatch": CAP},
        run={"eval_every": 3},
    )
    plan = plan_of(recipe)
    assert (plan.steps, plan.epochs) == {None: (8, 2), 3: (3, 1), 18: (18, 5)}[steps]
    facts = train(recipe, tmp_path / "run").facts
    assert (facts["steps"], facts["microbatches"]) == (plan.steps, plan.microbatches)
    # Rows without an image carry one of their own, which counts as well; so do those of the evaluation.
    assert max(tokens for tokens, _ in rows) <= CAP
    assert len(rows) > plan.steps * plan.microbatches
    assert plan.largest_microbatch > CAP / 2


def test_the_plan_says_what_starts_read_and_take(
    make_recipe: Callable, world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BASEREWARD_CACHE", str(tmp_path / "cache"))
    first, second = (plan_of(make_recipe()).start for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.second_seconds is None
    assert second.second_seconds is not None
    assert second._replace(second_seconds=None) == first
    assert first.data_bytes == world.train.stat().st_size
    kept = [path for kind in ("surveys", "lengths") for path in (tmp_path / "cache" / kind).glob("*.npz")]
    assert first.kept_bytes == sum(path.stat().st_size for path in kept if not path.name.endswith(".keys.npz"))
    assert first.first_seconds > 0
    # 24 bytes of sizes; the sidecar has 16 of places and 8 of a hash a pair, and 16 an image.
    assert first.memory_bytes < 80 * 30


def test_a_later_epoch_may_need_more_micro_batches(make_recipe: Callable) -> None:
    """The cap has to be one that the first epoch alone would not show."""
    microbatches = [
        {
            epochs: plan_of(make_recipe(optimizer={"tokens_per_microbatch": cap, "epochs": epochs})).microbatches
            for epochs in (1, 12)
        }
        for cap in range(130, 260, 10)
    ]
    assert any(found[1] < found[12] for found in microbatches)
    assert all(found[1] <= found[12] for found in microbatches)


def test_max_steps_alone_decides_the_length(make_recipe: Callable) -> None:
    for optimizer, expected in (
        ({"max_steps": 20}, (20, 5)),
        ({"max_steps": 2}, (2, 1)),
        ({"epochs": 3}, (12, 3)),
    ):
        assert run_length(make_recipe(optimizer=optimizer), pairs=30) == expected
    with pytest.raises(TrainingError, match="Found 6 usable pairs, fewer than pairs_per_step 7"):
        run_length(make_recipe(), pairs=6)


def test_the_plan_shards_as_the_run_does() -> None:
    recipe = load_recipe(RECIPES / "basereward-qwen2_5-vl-7b.yaml")
    config = backbone_config(recipe.model.start)
    plans = {ranks: make_plan(recipe, config, PlannedPairs(None, 0), ranks) for ranks in (1, 8, 64)}
    assert {ranks: plan.shards for ranks, plan in plans.items()} == {1: 1, 8: 8, 64: 8}
    assert plans[1].memory.optimizer == pytest.approx(8 * plans[8].memory.optimizer)
    # A rank reads its part alone, and of the largest weight a part at a time.
    assert plans[8].memory.weights < plans[8].memory.loading < 1.3 * plans[8].memory.weights
    assert plans[8].memory.loading < plans[8].memory.total
    with pytest.raises(TrainingError, match="12 ranks are not a multiple of shard_size 8"):
        make_plan(recipe, config, PlannedPairs(None, 0), 12)
    assert replica_ranks(recipe.hardware.model_copy(update={"sharding": "none"}), 64) == 1
    assert replica_ranks(recipe.hardware.model_copy(update={"shard_size": None}), 64) == 64


def test_the_plan_counts_the_tower_the_residual_stream_and_the_casts() -> None:
    changes = ["hardware.shard_size=null", "optimizer.tokens_per_microbatch=3200"]

    def memory(*more: str, ranks: int = 64) -> Any:
        recipe = load_recipe(RECIPES / "basereward-qwen2_5-vl-7b.yaml", [*changes, *more])
        return make_plan(recipe, backbone_config(recipe.model.start), PlannedPairs(None, 0), ranks).memory

    whole, frozen = memory("model.checkpointing=false"), memory("model.checkpointing=false", "model.freeze_vision=true")
    # 4,096 patches through 32 layers of 1,280, beside 1,600 tokens through 28 layers of 3,584.
    assert whole.activations / frozen.activations == pytest.approx(1.79, abs=0.02)
    assert memory("model.checkpointing=false", "data.assumed.image_tokens=0").activations == pytest.approx(
        frozen.activations, rel=1e-9
    )
    replicated = memory("hardware.sharding=none")
    assert replicated.activations > 1.3 * memory().activations, "the residual stream is fp32 under autocast"
    exact = memory("hardware.sharding=none", "hardware.precision=fp32")
    assert replicated.weights - exact.weights == pytest.approx(2 * 7.2e9 / 2**30, rel=0.05)


def test_the_plan_calls_model_flops_so(make_recipe: Callable) -> None:
    plain, again = (plan_of(make_recipe(model={"checkpointing": value})) for value in (False, True))
    assert plain.train_flops == again.train_flops
    names = [name for name, _ in plain.lines()]
    assert "model FLOPs per pair" in names
    assert "model FLOPs of the run" in names


def test_a_plan_for_a_model_to_train_on_from_knows_its_head(make_recipe: Callable, tmp_path: Path) -> None:
    head = {"layers": 4, "width": 9}
    recipe = make_recipe(model={"head": head}, optimizer={"max_steps": 1})
    model = train(recipe, tmp_path / "run").model_folder
    again = make_recipe(model={"backbone": None, "init_from": str(model)})
    assert plan_of(again).parameters == plan_of(recipe).parameters


def test_a_validation_pair_above_the_cap_is_refused(make_recipe: Callable, world: Any, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in world.validation.read_text().splitlines()]
    rows[0]["chosen"][0]["content"][0]["text"] += " indeed" * 200
    for row in rows:
        row["images"] = [str(world.validation.parent / name) for name in row["images"]]
    (tmp_path / "long.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = make_recipe(data={"validation": [str(tmp_path / "long.jsonl")]}, optimizer={"tokens_per_microbatch": CAP})
    with pytest.raises(TrainingError, match=r"One pair has \d+ tokens, more than tokens_per_microbatch 150"):
        train(recipe, tmp_path / "run")


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_validation_batches_hold_every_pair_once_under_the_cap(ranks: int) -> None:
    tokens = [40, 90, 10, 10, 10, 55, 70, 100]
    pairs = ValidationPairs(range(8), tokens, cap=100)  # type: ignore[arg-type]
    dealt = [pairs.batches(ranks, rank) for rank in range(ranks)]
    assert len({len(own) for own in dealt}) == 1, "all ranks take part equally often"
    assert sorted(pair for own in dealt for batch in own for pair in batch) == list(range(8))
    assert all(sum(tokens[pair] for pair in batch) <= 100 for own in dealt for batch in own)


def test_validation_images_are_decoded_by_other_processes(
    make_recipe: Callable, world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes = tmp_path / "processes"
    load = evaluation.ValidationPairs.load

    def watch(self: Any, batches: Any, collate: Any, workers: int) -> Any:
        def noted(pairs: Any) -> Any:
            with processes.open("a") as file:
                file.write(f"{os.getpid()}\n")
            return collate(pairs)

        return load(self, batches, noted, workers)

    monkeypatch.setattr(evaluation.ValidationPairs, "load", watch)
    data = {"validation": [str(world.validation)]}
    recipe = make_recipe(data=data, hardware={"workers": 1}, optimizer={"max_steps": 1}, run={"eval_every": 1})
    train(recipe, tmp_path / "run")
    assert processes.read_text()
    assert str(os.getpid()) not in processes.read_text().splitlines()
