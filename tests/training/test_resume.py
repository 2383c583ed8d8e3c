"""A run that was killed, wherever that was, ends as one that never was: same weights to the bit, same metrics."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from basereward.errors import TrainingError
from basereward.training.recipe import Recipe
from basereward.training.resume import FILES, cut_log, find_checkpoint, list_files, publish
from basereward.training.run import train

KILLED = 9
# Where a run of 2 x 4 steps with a checkpoint at every second step dies, and the checkpoint that it goes on from.
PLACES = {
    "after-step:7": 6,
    "after-step:5": 4,  # the checkpoint at the end of an epoch
    "in-save:4": 2,  # and over the border of the epoch
    "before-rename:4": 2,
    "in-save:2": None,  # before any checkpoint
    "in-deletion": 6,
    "in-line:3": 2,
    "in-final-save": 8,
}


@pytest.fixture(scope="module")
def recipe(make_recipe: Callable[..., Recipe], world: Any) -> Recipe:
    """Log lines of three steps, which do not end where checkpoints do."""
    data = {"train": [str(world.train)], "validation": [str(world.validation)]}
    return make_recipe(data=data, run={"save_every": 2, "log_every": 3, "eval_every": 2, "keep": 2})


@pytest.fixture(scope="module")
def whole(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the run that nothing stops."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(recipe, folder)
    return folder


@pytest.fixture(scope="module")
def check_equal(read_metrics: Callable, read_state: Callable) -> Callable[[Path, Path], None]:
    """Compare two finished runs: weights to the bit, metrics but for the clock, facts."""

    def check(found: Path, expected: Path) -> None:
        state, reference = read_state(found / "model"), read_state(expected / "model")
        assert state.keys() == reference.keys()
        assert [name for name in state if not torch.equal(state[name], reference[name])] == []
        assert read_metrics(found) == read_metrics(expected)
        facts, wanted = (json.loads((folder / "train.json").read_text()) for folder in (found, expected))
        machine = {"seconds": 0, "peak_memory_bytes": 0}
        assert facts | machine == wanted | machine
        assert sorted(path.name for path in (found / "checkpoints").glob("checkpoint-*")) == [
            "checkpoint-6",
            "checkpoint-8",
        ]

    return check


@pytest.mark.parametrize("place", PLACES)
def test_a_killed_run_ends_as_the_whole_one(
    place: str, recipe: Recipe, whole: Path, launch: Callable, check_equal: Callable, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    assert launch(recipe, folder, kill=place).codes == [KILLED]
    assert not (folder / "train.json").exists()
    last = find_checkpoint(folder / "checkpoints").path
    assert (last and last.name) == (PLACES[place] and f"checkpoint-{PLACES[place]}")
    whole_parts = {"model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"}
    for path in (folder / "checkpoints").glob("checkpoint-*"):
        assert whole_parts <= {part.name for part in path.iterdir()}
    result = train(recipe, folder, resume=True)
    assert result.facts["steps"] == 8
    check_equal(folder, whole)


def test_a_run_is_killed_again_and_again(
    recipe: Recipe, whole: Path, launch: Callable, check_equal: Callable, tmp_path: Path
) -> None:
    assert launch(recipe, tmp_path / "run", kill="in-save:4").codes == [KILLED]
    # The resumed run dies while it clears what the first one left, the next one while it saves.
    assert launch(recipe, tmp_path / "run", resume=True, kill="in-deletion").codes == [KILLED]
    assert launch(recipe, tmp_path / "run", resume=True, kill="in-save:6").codes == [KILLED]
    train(recipe, tmp_path / "run", resume=True)
    check_equal(tmp_path / "run", whole)


def test_a_run_with_worker_processes_resumes(
    make_recipe: Callable, recipe: Recipe, whole: Path, launch: Callable, check_equal: Callable, tmp_path: Path
) -> None:
    hardware = recipe.hardware.model_copy(update={"workers": 1})
    with_worker = recipe.model_copy(update={"hardware": hardware})
    assert launch(with_worker, tmp_path / "run", kill="after-step:7").codes == [KILLED]
    train(with_worker, tmp_path / "run", resume=True)
    check_equal(tmp_path / "run", whole)


def test_resuming_where_nothing_is_starts_anew(
    recipe: Recipe, whole: Path, check_equal: Callable, tmp_path: Path
) -> None:
    train(recipe, tmp_path / "run", resume=True)
    check_equal(tmp_path / "run", whole)


def test_a_finished_run_is_refused_and_stays_as_it_is(recipe: Recipe, whole: Path) -> None:
    before = {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    with pytest.raises(TrainingError, match=r"finished run of 8 steps.*run/model\. .*raise optimizer.max_steps"):
        train(recipe, whole, resume=True)
    assert {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()} == before


def test_a_run_resumed_at_its_last_step_takes_no_other(
    make_recipe: Callable, read_state: Callable, tmp_path: Path
) -> None:
    """``max_steps`` ends the run inside an epoch, where Trainer alone would go on."""
    recipe = make_recipe(optimizer={"max_steps": 2}, run={"save_every": 2})
    folder = tmp_path / "run"
    train(recipe, folder)
    expected = read_state(folder / "model")
    (folder / "train.json").unlink()  # as if it had been killed just before its end
    assert train(recipe, folder, resume=True).facts["steps"] == 2
    state = read_state(folder / "model")
    assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_a_model_that_was_killed_while_written_is_no_model(recipe: Recipe, launch: Callable, tmp_path: Path) -> None:
    assert launch(recipe, tmp_path / "run", kill="in-final-save").codes == [KILLED]
    assert (tmp_path / "run" / ".incomplete" / "model" / "model.safetensors").exists()
    assert not (tmp_path / "run" / "model").exists()


def write_checkpoint(folder: Path) -> Path:
    """A folder with the files of a checkpoint and their list."""
    folder.mkdir(parents=True)
    for name in ("config.json", "trainer_state.json", "scheduler.pt", "model.safetensors", "optimizer.pt"):
        (folder / name).write_text("{}")
    (folder / "optimizer").mkdir()
    (folder / "optimizer" / "__0_0.distcp").write_text("shard")
    list_files(folder)
    return folder


@pytest.mark.parametrize(
    "missing", ["config.json", "trainer_state.json", "scheduler.pt", "optimizer.pt", "optimizer/__0_0.distcp"]
)
def test_the_last_complete_checkpoint_is_taken_by_number(tmp_path: Path, missing: str) -> None:
    assert find_checkpoint(tmp_path) == (None, ())
    for step in (8, 9, 10, 11, 12):
        write_checkpoint(tmp_path / f"checkpoint-{step}")
    (tmp_path / "checkpoint-11" / missing).unlink()
    (tmp_path / "checkpoint-12" / missing).write_text("{")
    write_checkpoint(tmp_path / ".incomplete" / "checkpoint-13")
    problems = [f"{missing} has 1 bytes, not ", f"{missing} is missing"]
    path, skipped = find_checkpoint(tmp_path)
    assert path == tmp_path / "checkpoint-10"
    for step, problem, told in zip((12, 11), problems, skipped, strict=True):
        assert told.startswith(f"checkpoint-{step} is incomplete: {problem}")


def test_checkpoints_of_which_none_is_complete_are_refused(tmp_path: Path) -> None:
    for step, name in ((1, "optimizer.pt"), (2, FILES)):
        (write_checkpoint(tmp_path / f"checkpoint-{step}") / name).unlink()
    with pytest.raises(TrainingError) as caught:
        find_checkpoint(tmp_path)
    assert "checkpoint-1 is incomplete: optimizer.pt is missing" in str(caught.value)
    assert "checkpoint-2 is incomplete: it has no readable files.json" in str(caught.value)


def test_publishing_keeps_the_newest_and_replaces_an_equal_step(tmp_path: Path) -> None:
    for step in (2, 9, 10):
        write_checkpoint(tmp_path / f"checkpoint-{step}")
    staged = write_checkpoint(tmp_path / ".incomplete" / "checkpoint-10")
    (staged / "new").touch()
    assert publish(staged, tmp_path, keep=2) == tmp_path / "checkpoint-10"
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-10", "checkpoint-9"]
    assert (tmp_path / "checkpoint-10" / "new").exists()
    assert list(tmp_path.glob(".incomplete*")) == []
    assert find_checkpoint(tmp_path) == (tmp_path / "checkpoint-10", ()), "its list is that of the new files"


def test_a_log_is_cut_to_the_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    cut_log(file, 2)
    assert not file.exists()
    lines = [{"step": 1, "loss": 0.7}, {"step": 2, "eval_accuracy": 0.5}, {"step": 3, "loss": 0.6}]
    summary = {"step": 2, "train_runtime": 1.0}
    file.write_text("".join(json.dumps(line) + "\n" for line in [*lines, summary]) + '{"step": 2, "lo')
    cut_log(file, 2)
    assert [json.loads(line) for line in file.read_text().splitlines()] == lines[:2]
    assert file.read_text().endswith("}\n")
