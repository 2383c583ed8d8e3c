"""Who may write a run folder, and with which recipe a run goes on: the same but for a list of keys."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from basereward.data.identity import differences
from basereward.data.record import TrainedBy, read_record
from basereward.data.storage import write_rows
from basereward.data.work import IDENTITY, open_work
from basereward.errors import TrainingError, WorkError
from basereward.lab.world import WorldConfig, draw_rows
from basereward.training.folder import MAY_CHANGE, MODEL, may_change, open_run, read_trained_by, run_identity
from basereward.training.recipe import Recipe, load_recipe
from basereward.training.run import train

# One change of every kind that decides the weights, as overrides of the recipe.
DECIDES = (
    "optimizer.learning_rate=1e-5",
    "optimizer.pairs_per_step=6",
    "optimizer.schedule=linear",
    "optimizer.warmup_share=0.5",
    "optimizer.weight_decay=0.1",
    "optimizer.max_grad_norm=2",
    "optimizer.length_window=2",
    "run.seed=1",
    "hardware.precision=bf16",
    "objective.zero_coefficient=0.1",
    "objective.use_margin=true",
    "model.freeze_vision=true",
    "model.max_length=500",
    "model.max_pixels=100000",
    "model.head.layers=3",
    "data.limit=20",
)
# And of every key that does not.
FREE = (
    "name=other",
    "model.backend=plain",
    "model.checkpointing=true",
    "data.strict=true",
    "optimizer.tokens_per_microbatch=500",
    "run.log_every=1",
    "run.save_every=1",
    "run.keep=9",
    "run.save_dtype=bfloat16",
)


@pytest.fixture(scope="module")
def begun(make_recipe: Callable[..., Recipe], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of 4 steps with checkpoints at 2 and 4; its recipe has 8 steps."""
    folder = tmp_path_factory.mktemp("begun") / "run"
    recipe = make_recipe(optimizer={"max_steps": 4, "schedule": "cosine"}, run={"save_every": 2, "keep": 3})
    train(recipe, folder)
    return folder


@pytest.fixture
def folder(begun: Path, tmp_path: Path) -> Path:
    """A copy of that folder."""
    return Path(shutil.copytree(begun, tmp_path / "run"))


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("change", DECIDES)
def test_a_key_that_decides_the_weights_is_refused_by_its_name(begun: Path, change: str) -> None:
    before, key = contents(begun), change.partition("=")[0]
    recipe = load_recipe(begun, ["optimizer.max_steps=6", change])
    with pytest.raises(WorkError, match=rf"run holds work with {key.replace('.', '[.]')} .*, not "):
        train(recipe, begun, resume=True)
    assert contents(begun) == before


def test_keys_that_do_not_decide_the_weights_may_change(
    folder: Path, begun: Path, read_state: Callable, tmp_path: Path
) -> None:
    plain = Path(shutil.copytree(begun, tmp_path / "plain"))
    for place, changes in ((folder, FREE), (plain, ())):
        train(load_recipe(place, ["optimizer.max_steps=6", "run.save_dtype=float32", *changes]), place, resume=True)
    found, expected = (read_state(place / "checkpoints" / "checkpoint-6") for place in (folder, plain))
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, rtol=0, atol=1e-5, msg=name)
    assert {key for key, *_ in (change.partition("=") for change in FREE)} < set(MAY_CHANGE)


def test_the_list_names_keys_of_the_recipe(make_recipe: Callable[..., Recipe]) -> None:
    known = make_recipe().model_dump()
    for key in MAY_CHANGE:
        section: Any = known
        for part in key.split("."):
            section = section[part]


def test_other_data_is_refused_and_moved_data_is_not(
    folder: Path, world: Any, make_recipe: Callable, tmp_path: Path
) -> None:
    (tmp_path / "images").symlink_to(world.train.parent / "images")
    moved = tmp_path / "moved.jsonl"
    moved.write_bytes(world.train.read_bytes())
    recipe = load_recipe(folder, [f"data.train=[{moved}]"])
    assert run_identity(recipe).facts() == run_identity(load_recipe(folder)).facts()
    write_rows(draw_rows(30, 9, WorldConfig(text_share=0.5)), moved)
    with pytest.raises(WorkError, match=r"holds work with inputs\.0 '[0-9a-f]{64}', not '[0-9a-f]{64}'"):
        train(load_recipe(folder, ["optimizer.max_steps=6", f"data.train=[{moved}]"]), folder, resume=True)


def test_more_steps_go_on_with_the_schedule_of_the_new_length(
    folder: Path, make_recipe: Callable, tmp_path: Path, read_metrics: Callable
) -> None:
    longer = make_recipe(optimizer={"max_steps": 8, "schedule": "cosine"}, run={"save_every": 2, "keep": 3})
    train(longer, folder, resume=True)
    train(longer, tmp_path / "whole")
    rates, expected = (
        [line["learning_rate"] for line in read_metrics(place) if "learning_rate" in line]
        for place in (folder, tmp_path / "whole")
    )
    assert rates[4:] == pytest.approx(expected[4:], rel=1e-12)
    assert rates[3] != pytest.approx(expected[3], rel=1e-3), "the steps before had the old one"
    assert json.loads((folder / "train.json").read_text())["steps"] == 8
    assert load_recipe(folder).optimizer.max_steps == 8


def test_a_run_that_goes_on_does_not_look_finished(folder: Path) -> None:
    class Look(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            assert not (folder / "train.json").exists()
            looked.append(1)

    looked: list[int] = []
    train(load_recipe(folder, ["optimizer.max_steps=6"]), folder, resume=True, callbacks=[Look()])
    assert looked == [1, 1]


@pytest.mark.parametrize("changes", [[], ["optimizer.max_steps=3"], ["optimizer.max_steps=null", "data.limit=7"]])
def test_a_finished_run_is_refused_unless_more_steps_are_asked_for(begun: Path, changes: list[str]) -> None:
    recipe = load_recipe(begun, changes)
    if "data.limit=7" in changes:
        with pytest.raises(WorkError, match=r"data\.limit None, not 7"):
            train(load_recipe(begun, [*changes, "optimizer.epochs=9"]), begun, resume=True)
        return
    with pytest.raises(TrainingError, match="holds a finished run of 4 steps"):
        train(recipe, begun, resume=True)


def test_a_finished_run_without_checkpoints_is_not_begun_again(make_recipe: Callable, tmp_path: Path) -> None:
    train(make_recipe(optimizer={"max_steps": 1}), tmp_path / "run")
    before = contents(tmp_path / "run")
    for steps in (1, 2):
        with pytest.raises(TrainingError, match="left no checkpoint") as refused:
            train(make_recipe(optimizer={"max_steps": steps}), tmp_path / "run", resume=True)
        assert "raise" not in str(refused.value)
    assert contents(tmp_path / "run") == before


def test_a_checkpoint_behind_the_end_of_the_recipe_is_refused(folder: Path) -> None:
    (folder / "train.json").unlink()
    with pytest.raises(TrainingError, match="checkpoint-4 is behind the 3 steps"):
        train(load_recipe(folder, ["optimizer.max_steps=3"]), folder, resume=True)


@pytest.mark.parametrize("file", ["optimizer.pt", "model.safetensors"])
def test_an_incomplete_checkpoint_is_told_and_an_older_one_taken(
    folder: Path, file: str, caplog: pytest.LogCaptureFixture, read_metrics: Callable
) -> None:
    (folder / "checkpoints" / "checkpoint-4" / file).unlink()
    train(load_recipe(folder, ["optimizer.max_steps=5"]), folder, resume=True)
    assert f"checkpoint-4 is incomplete: {file} is missing; going on from checkpoint-2." in caplog.text
    assert [line["step"] for line in read_metrics(folder)] == [1, 2, 3, 4, 5, 5]


def test_a_checkpoint_without_an_identity_is_refused(folder: Path) -> None:
    (folder / IDENTITY).unlink()
    with pytest.raises(TrainingError, match=r"has a checkpoint but no identity\.json"):
        train(load_recipe(folder, ["optimizer.max_steps=6"]), folder, resume=True)


def test_a_changed_tokenizer_is_refused_by_its_file(folder: Path, world: Any, tmp_path: Path) -> None:
    backbone = Path(shutil.copytree(world.backbone, tmp_path / "backbone"))
    recipe = load_recipe(folder, ["optimizer.max_steps=6", f"model.backbone={backbone}"])
    assert run_identity(recipe).facts() == run_identity(load_recipe(folder, ["optimizer.max_steps=6"])).facts()
    text = (backbone / "tokenizer.json").read_text()
    (backbone / "tokenizer.json").write_text(text + " ")
    with pytest.raises(WorkError, match=r"weights\.tokenizer\.json"):
        train(recipe, folder, resume=True)


def test_adapters_belong_to_the_weights_of_their_base(world: Any, make_recipe: Callable, tmp_path: Path) -> None:
    other = Path(shutil.copytree(world.backbone, tmp_path / "other"))
    weights = load_file(other / "model.safetensors")
    save_file({name: weight + 1 for name, weight in weights.items()}, other / "model.safetensors", {"format": "pt"})
    for lora, differ in ((None, []), ({"rank": 2}, ["weights.base"])):
        facts = [
            run_identity(make_recipe(model={"backbone": str(base), "lora": lora})).facts()
            for base in (world.backbone, other)
        ]
        assert [told.split()[0] for told in differences(*facts)] == differ


@pytest.mark.parametrize("resume", [False, True])
def test_a_second_run_in_a_folder_is_refused_while_the_first_writes(
    make_recipe: Callable, tmp_path: Path, resume: bool
) -> None:
    recipe = make_recipe(optimizer={"max_steps": 1})
    with open_work(tmp_path / "run", tmp_path / "run"), pytest.raises(WorkError, match="being written by process"):
        train(recipe, tmp_path / "run", resume=resume)
    assert not (tmp_path / "run").exists()


def test_an_unknown_logger_is_named_before_anything_is_read(make_recipe: Callable, tmp_path: Path) -> None:
    data = {"train": [str(tmp_path / "none.jsonl")]}
    with pytest.raises(TrainingError, match=r"no logger 'tensorbord'\. Did you mean 'tensorboard'"):
        train(make_recipe(data=data, run={"report_to": ["tensorbord"]}), tmp_path / "run")
    with pytest.raises(TrainingError, match="'neptune' is not installed"):
        train(make_recipe(data=data, run={"report_to": ["neptune"]}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.fixture
def told_by(make_recipe: Callable[..., Recipe], tmp_path: Path) -> Callable[..., TrainedBy]:
    """``told_by(**sections)``: what a model says of the recipe of these sections."""

    def tell(**sections: dict[str, Any]) -> TrainedBy:
        recipe = make_recipe(**sections)
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        with open_run(recipe, folder, resume=False):
            return read_trained_by(recipe, folder)

    return tell


def test_recipes_are_one_if_they_differ_in_the_seed_or_in_what_decides_nothing(told_by) -> None:
    first = told_by()
    again = told_by(run={"seed": 5, "log_every": 3}, hardware={"workers": 1})
    assert again.recipe_sha256 == first.recipe_sha256
    assert (first.seed, again.seed) == (0, 5)
    for change in ({"optimizer": {"max_steps": 3}}, {"optimizer": {"learning_rate": 1e-4}}, {"data": {"limit": 9}}):
        assert told_by(**change).recipe_sha256 != first.recipe_sha256


def test_recipes_that_start_from_other_weights_are_two(told_by, world: Any, tmp_path: Path) -> None:
    """A backbone that was trained on has every file but its weights in common with what it came from."""
    start = tmp_path / "start"
    shutil.copytree(world.backbone, start)
    first = told_by(model={"backbone": str(start)})
    assert first.recipe_sha256 == told_by().recipe_sha256
    weights = start / "model.safetensors"
    save_file({name: 2 * one for name, one in load_file(weights).items()}, weights, metadata={"format": "pt"})
    assert told_by(model={"backbone": str(start)}).recipe_sha256 != first.recipe_sha256


def test_a_trained_model_tells_its_recipe(begun: Path) -> None:
    recipe = load_recipe(begun)
    told = read_record(begun / MODEL).trained_by
    assert told == read_trained_by(recipe, begun)
    assert told.name == recipe.name


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("run.eval_every=1", r"run\.eval_every 2, not 1"),
        ("data.validation_sets.charts=[{other}]", r"inputs\.1 '[0-9a-f]{64}', not '[0-9a-f]{64}'"),
        # The same places in the same order, of which another one trains.
        ("data.train=[{train},{validation}]; data.validation_sets.charts=[{other}]", r"data\.train 1, not 2"),
        ("run.best.patience=3", r"run\.best\.patience None, not 3"),
    ],
)
def test_a_run_that_keeps_the_best_is_compared_on_the_same_evaluations(
    change: str, named: str, world: Any, make_recipe: Callable, tmp_path: Path
) -> None:
    """Where none is kept, evaluations decide nothing and may change."""
    other = tmp_path / "other.jsonl"
    write_rows(draw_rows(7, 5, WorldConfig(text_share=1.0)), other)
    data = {"train": [str(world.train)], "validation_sets": {"charts": [str(world.validation)]}}
    optimizer, run = {"max_steps": 2}, {"eval_every": 2, "save_every": 2}
    places = {"train": world.train, "validation": world.validation, "other": other}
    if "; " in change:
        data["validation_sets"]["charts"].append(str(other))
    recipe = make_recipe(data=data, optimizer=optimizer, run={**run, "best": {"of": "charts"}})
    with open_run(recipe, tmp_path / "run", resume=False):
        (tmp_path / "run" / "begun").touch()
    changed = load_recipe(tmp_path / "run", change.format(**places).split("; "))
    unlike = differences(run_identity(recipe).facts(), run_identity(changed).facts(), may_change(recipe))
    assert re.fullmatch(named, "; ".join(unlike))
    # A further set beside that one, or that one at another place, decides nothing.
    copied = shutil.copy(world.validation, tmp_path / "copied.jsonl")
    (tmp_path / "images").symlink_to(world.train.parent / "images")
    charts = [str(copied), *data["validation_sets"]["charts"][1:]]
    sets = [f"data.validation_sets={json.dumps({'charts': charts, 'more': [str(other)]})}"]
    moved = load_recipe(tmp_path / "run", sets)
    assert not differences(run_identity(recipe).facts(), run_identity(moved).facts(), may_change(recipe))
    free = make_recipe(data=data, optimizer=optimizer, run=run)
    also = make_recipe(data=data | {"validation_sets": {}}, optimizer=optimizer, run=run | {"eval_every": 1})
    assert not differences(run_identity(free).facts(), run_identity(also).facts(), may_change(free))
