"""A real run: it starts at ln 2, repeats itself, learns, counts what it drops, and keeps stdout clean."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from basereward.data.storage import write_rows
from basereward.errors import DataError, TrainingError
from basereward.lab.world import WorldConfig, draw_rows
from basereward.models.reward_model import RewardModel
from basereward.training.prepare import prepare_model
from basereward.training.recipe import load_recipe
from basereward.training.run import train


@pytest.fixture(scope="module")
def first(make_recipe: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run over two epochs."""
    folder = tmp_path_factory.mktemp("first") / "run"
    train(make_recipe(), folder)
    return folder


def test_the_first_loss_is_ln_2(first: Path, read_metrics: Callable) -> None:
    start = read_metrics(first)[0]
    assert start["step"] == 1
    assert start["loss"] == pytest.approx(math.log(2), abs=0.02)
    assert abs(start["chosen_mean"]) < 0.5


def test_every_step_is_logged_with_what_one_wants_to_know(first: Path, read_metrics: Callable) -> None:
    lines = read_metrics(first)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6, 7, 8, 8]
    wanted = {"loss", "accuracy", "ties", "margin", "chosen_mean", "rejected_std", "grad_norm", "learning_rate"}
    assert all(wanted <= set(line) for line in lines[:-1])
    assert lines[-1]["train_loss"] == pytest.approx(sum(line["loss"] for line in lines[:-1]) / 8)
    assert json.loads((first / "train.json").read_text())["train_loss"] == lines[-1]["train_loss"]


def test_an_equal_seed_repeats_the_run_from_its_own_folder(
    first: Path, tmp_path: Path, read_metrics: Callable, read_state: Callable
) -> None:
    train(load_recipe(first), tmp_path / "again")
    assert read_metrics(tmp_path / "again") == read_metrics(first)
    before, after = read_state(first / "model"), read_state(tmp_path / "again" / "model")
    assert all(torch.equal(before[name], after[name]) for name in before.keys() | after.keys())


def test_the_model_has_a_card_of_its_run_that_names_no_place(first: Path, world: Any) -> None:
    text = (first / "model" / "README.md").read_text()
    assert text.startswith("---\n")
    assert "# test\n" in text
    assert "Recipe `test`, seed 0" in text
    assert f"8 steps over {json.loads((first / 'train.json').read_text())['pairs']} pairs; 0 pairs" in text
    assert "| started from | backbone |" in text
    assert "- train.jsonl\n" in text
    for written in (text, (first / "model" / "card.yaml").read_text()):
        assert str(world.folder) not in written


def test_another_seed_gives_another_run(
    first: Path, make_recipe: Callable, tmp_path: Path, read_metrics: Callable
) -> None:
    train(make_recipe(run={"seed": 1}), tmp_path / "other")
    assert read_metrics(tmp_path / "other") != read_metrics(first)


def test_the_seed_decides_the_head(make_recipe: Callable) -> None:
    heads = [prepare_model(make_recipe(run={"seed": seed})).head.layers[0].weight for seed in (0, 0, 1)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_worker_processes_change_nothing(
    first: Path, make_recipe: Callable, tmp_path: Path, read_metrics: Callable
) -> None:
    train(make_recipe(hardware={"workers": 1}), tmp_path / "workers")
    assert read_metrics(tmp_path / "workers") == read_metrics(first)


def test_a_sparse_log_averages_its_steps_and_ends_with_the_run(
    first: Path, make_recipe: Callable, tmp_path: Path, read_metrics: Callable
) -> None:
    train(make_recipe(run={"log_every": 3}), tmp_path / "sparse")
    every, sparse = read_metrics(first), read_metrics(tmp_path / "sparse")
    assert [line["step"] for line in sparse] == [1, 3, 6, 8, 8]
    windows = [every[0:1], every[1:3], every[3:6], every[6:8]]
    for line, window in zip(sparse, windows, strict=False):
        for name in ("loss", "accuracy", "margin", "chosen_mean"):
            assert line[name] == pytest.approx(sum(own[name] for own in window) / len(window), rel=1e-5, abs=1e-7)
    assert sparse[-1]["train_loss"] == pytest.approx(every[-1]["train_loss"], rel=1e-6)


def test_a_few_pairs_are_learnt_by_heart(make_recipe: Callable, tmp_path: Path, read_metrics: Callable) -> None:
    write_rows(draw_rows(8, 5, WorldConfig(text_share=0.5)), tmp_path / "few.jsonl")
    recipe = make_recipe(
        data={"train": [str(tmp_path / "few.jsonl")]},
        optimizer={"pairs_per_step": 8, "epochs": 40, "learning_rate": 3e-3, "schedule": "constant"},
    )
    train(recipe, tmp_path / "run")
    last = read_metrics(tmp_path / "run")[-2]
    assert last["accuracy"] == 1.0
    assert last["loss"] < 0.1
    model = RewardModel.from_pretrained(tmp_path / "run" / "model")
    for row in draw_rows(8, 5, WorldConfig(text_share=0.5)):
        answers = [row[side][0]["content"][0]["text"] for side in ("chosen", "rejected")]
        chosen, rejected = model.score(row["prompt"], row["images"], answers)
        assert chosen > rejected


def test_a_run_goes_to_stderr_and_leaves_stdout_empty(
    make_recipe: Callable, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    train(make_recipe(optimizer={"max_steps": 2}, run={"save_every": 1}), tmp_path / "run")
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "train" in printed.err
    assert "2/2" in printed.err


def test_max_steps_ends_a_run_early(make_recipe: Callable, tmp_path: Path, read_metrics: Callable) -> None:
    result = train(make_recipe(optimizer={"max_steps": 5, "epochs": 9}), tmp_path / "run")
    assert result.facts["steps"] == 5
    assert read_metrics(tmp_path / "run")[-1]["step"] == 5


def test_a_folder_that_holds_a_run_is_refused_and_left_alone(
    first: Path, make_recipe: Callable, read_metrics: Callable
) -> None:
    before = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    with pytest.raises(TrainingError, match="already holds a run; pass --resume"):
        train(make_recipe(run={"seed": 3}), first)
    assert {path: path.read_bytes() for path in first.rglob("*") if path.is_file()} == before


def test_sharding_in_one_process_is_refused(make_recipe: Callable, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="start them with torchrun"):
        train(make_recipe(hardware={"sharding": "fsdp2"}), tmp_path / "run")


@pytest.mark.parametrize(("text_share", "images"), [(0.0, 1), (1.0, 0)])
def test_only_images_of_the_data_are_counted(
    text_share: float, images: int, make_recipe: Callable, tmp_path: Path
) -> None:
    write_rows(draw_rows(8, 5, WorldConfig(text_share=text_share)), tmp_path / "rows.jsonl")
    data = {"train": [str(tmp_path / "rows.jsonl")]}
    train(make_recipe(data=data, optimizer={"pairs_per_step": 8, "epochs": 1}), tmp_path / "run")
    line = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert line["images_per_second"] == pytest.approx(images * line["pairs_per_second"])


def spoiled_rows(folder: Path) -> Path:
    """Twelve good pairs, and one each that is too long, that says the same twice, and that lost its image."""
    rows = list(draw_rows(15, 2, WorldConfig()))
    rows[12]["chosen"][0]["content"][0]["text"] += " because" * 300
    rows[13]["chosen"] = rows[13]["rejected"]
    write_rows(rows, folder / "rows.jsonl")
    last = json.loads((folder / "rows.jsonl").read_text().splitlines()[-1])
    (folder / last["images"][0]).unlink()
    return folder / "rows.jsonl"


def test_what_cannot_be_used_is_counted_by_reason(make_recipe: Callable, tmp_path: Path) -> None:
    data = {"train": [str(spoiled_rows(tmp_path))], "validation": [str(tmp_path / "rows.jsonl")]}
    recipe = make_recipe(data=data, model={"max_length": 120}, optimizer={"epochs": 1})
    train(recipe, tmp_path / "run")
    facts = json.loads((tmp_path / "run" / "train.json").read_text())
    assert facts["pairs"] == 12
    for drops in (facts["drops"], facts["validation_drops"]):
        assert drops["total"] == 3
        assert {reason: found["count"] for reason, found in drops["reasons"].items()} == {
            "too_long": 1,
            "equal_responses": 1,
            "image_missing": 1,
        }
        assert "more than max_length 120" in drops["reasons"]["too_long"]["examples"][0]


@pytest.mark.parametrize(("limit", "reason"), [(13, "too_long"), (15, "equal_responses")])
def test_a_strict_run_does_not_start_with_bad_rows(
    make_recipe: Callable, tmp_path: Path, limit: int, reason: str
) -> None:
    data = {"train": [str(spoiled_rows(tmp_path))], "strict": True, "limit": limit}
    with pytest.raises(DataError, match=reason):
        train(make_recipe(data=data, model={"max_length": 120}), tmp_path / "run")
    assert not (tmp_path / "run" / "model").exists()


def test_nothing_left_is_an_error(make_recipe: Callable, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="shorter than max_length 10"):
        train(make_recipe(model={"max_length": 10}), tmp_path / "run")


def test_bf16_computes_in_bf16_and_moves_fp32_weights(
    first: Path, world: Any, make_recipe: Callable, tmp_path: Path, read_metrics: Callable, read_state: Callable
) -> None:
    recipe = make_recipe(hardware={"precision": "bf16"}, optimizer={"learning_rate": 3e-6})
    train(recipe, tmp_path / "run")
    lines, exact = read_metrics(tmp_path / "run")[:-1], read_metrics(first)[0]
    assert all(math.isfinite(line[name]) for line in lines for name in ("loss", "chosen_mean", "grad_norm"))
    assert 0 < abs(lines[0]["loss"] - exact["loss"]) < 0.01  # not the fp32 number, but near it
    before, after = read_state(world.backbone), read_state(tmp_path / "run" / "model")
    assert {tensor.dtype for tensor in after.values()} == {torch.float32}
    shared = [name for name in before.keys() & after.keys() if name.endswith("proj.weight")]
    moved = sum(int((before[name] != after[name]).sum()) for name in shared)
    assert moved / sum(before[name].numel() for name in shared) > 0.95
    # A bf16 weight would have stood still: the updates are below its precision.
    rounded = sum(int((before[name].bfloat16() != after[name].bfloat16()).sum()) for name in shared)
    assert rounded < moved / 10


def test_a_saved_bf16_model_keeps_an_fp32_head(make_recipe: Callable, tmp_path: Path, read_state: Callable) -> None:
    train(make_recipe(run={"save_dtype": "bfloat16"}, optimizer={"max_steps": 1}), tmp_path / "run")
    state = read_state(tmp_path / "run" / "model")
    kinds = {name.startswith("reward_head."): tensor.dtype for name, tensor in state.items()}
    assert kinds == {True: torch.float32, False: torch.bfloat16}
