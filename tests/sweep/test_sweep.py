"""A sweep that was killed ends as one that never was; what fails is counted; what is of another sweep is refused."""

import gc
import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from basereward.data.work import open_work
from basereward.errors import DataError, StoppedError, TrainingError, WorkError
from basereward.reporting.reports import write_report
from basereward.reporting.sweep_page import highest_line
from basereward.sweep.result import Highest, collect, read_sweep
from basereward.sweep.run import open_cells, run_sweep
from basereward.sweep.work import CELLS, LOG, run_cell
from basereward.training.recipe import Recipe
from basereward.training.resume import find_checkpoint
from basereward.training.run import train

RATE = "optimizer.learning_rate"
KILLED = f"{RATE}=1e-06,seed=0"


class Kill(TrainerCallback):
    """Kills this process when the second step begins, behind the checkpoint of the first."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 1:
            os.kill(os.getpid(), signal.SIGKILL)


def sweep_and_die(grid: Any, folder: Path) -> None:
    def train_some(recipe: Recipe, run: Path) -> None:
        train(recipe, run, resume=True, callbacks=[Kill()] if run.parent.name == KILLED else [])

    run_sweep(grid, folder, lambda own, cells, place: [run_cell(own, cell, place, train_some) for cell in cells])


@pytest.fixture(scope="module", autouse=True)
def frozen() -> Iterator[None]:
    """Every run collects garbage, which takes a second of each among all that the tests have imported."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def whole(make_grid: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the paper's grid, swept by nothing that stops it."""
    folder = tmp_path_factory.mktemp("whole") / "sweep"
    run_sweep(make_grid(), folder)
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {
        f"{path.relative_to(folder)}:{name}": value
        for path in sorted(folder.glob(f"{CELLS}/*/run/model/*.safetensors"))
        for name, value in load_file(path).items()
    }


def test_a_killed_sweep_ends_as_one_that_never_was(make_grid, whole, tmp_path):
    folder = tmp_path / "sweep"
    child = multiprocessing.get_context("fork").Process(target=sweep_and_die, args=(make_grid(), folder))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    begun = folder / CELLS / KILLED / "run"
    assert find_checkpoint(begun / "checkpoints").path == begun / "checkpoints" / "checkpoint-1"
    cells = {cell.name: cell for cell in collect(make_grid(), folder).cells}
    assert [cell.state for cell in cells.values()] == ["done", "done", "unfinished", "unfinished"]
    assert cells[KILLED].error.startswith("begun")
    tried = [cell.name for cell in open_cells(make_grid(), folder)]
    found = run_sweep(make_grid(), folder)
    assert tried == list(cells)[2:]
    # The table, to the last digit, and every weight.
    assert found == read_sweep(whole)
    reference = weights(whole)
    assert len(reference) > 40
    assert {name for name, value in weights(folder).items() if torch.equal(value, reference[name])} == set(reference)
    assert found.highest.tried == 4
    assert "of 4 points tried with one seed each" in highest_line(found)


def test_cells_are_added_and_failed_ones_are_named_counted_and_tried_again(make_grid, whole, tmp_path):
    ran: list[str] = []
    breaks = [f"{RATE}=1e-06,seed=1"]

    def train_or_fail(recipe: Recipe, run: Path) -> None:
        ran.append(run.parent.name)
        if run.parent.name in breaks:
            raise TrainingError("the gradient is not finite")
        shutil.copytree(whole / CELLS / "base,seed=0" / "run", run)

    def launch(own: Any, cells: Any, folder: Path) -> None:
        for cell in cells:
            run_cell(own, cell, folder, train_or_fail)

    run_sweep(make_grid(grid={RATE: [3e-6]}), tmp_path, launch)
    grid = make_grid(grid={RATE: [1e-6, 3e-6]}, seeds=[1, 0])
    found = run_sweep(grid, tmp_path, launch)
    assert ran == ["base,seed=0", *breaks, KILLED, "base,seed=1"]
    [failed] = found.of_state("failed")
    assert (failed.name, failed.error) == (breaks[0], "TrainingError: the gradient is not finite")
    [short, point] = found.places[0].points
    assert (len(short.spread.values), len(point.spread.values), short.asked) == (1, 2, 2)
    assert (short.versus.other, short.versus.exceeds) == ("learning_rate 3e-06", "cannot be told")
    # The mean of the seeds that are left is not among those that the highest is chosen from.
    assert found.highest == Highest(point="learning_rate 3e-06", tried=1, alike=[], left_out=["learning_rate 1e-06"])
    for page in (path.read_text() for path in write_report(tmp_path, formats=("html", "markdown"))):
        assert "Failed cells: 1 of 4" in page
        assert "the gradient is not finite" in page
        assert "1 of 2" in page
        assert "Not among them, because a seed is missing: learning_rate 1e-06" in page
    del breaks[:]
    again = run_sweep(grid, tmp_path, launch)
    assert ran[4:] == [failed.name]
    assert [cell.state for cell in again.cells] == ["done"] * 4
    assert again.highest.tried == 2
    smaller = collect(make_grid(grid={RATE: [1e-6]}), tmp_path)
    assert smaller.strangers == ["base,seed=0", "base,seed=1", failed.name]


def test_another_sweep_is_refused_by_what_differs(make_grid, world, whole, tmp_path):
    def never(*_: Any) -> None:
        raise AssertionError

    with pytest.raises(WorkError, match=r"optimizer.weight_decay 0.0, not 0.5"):
        run_sweep(make_grid(changes={"optimizer.weight_decay": 0.5}), whole, never)
    with pytest.raises(WorkError, match=r"measure.limit None, not 3"):
        run_sweep(make_grid(measure={"limit": 3}), whole, never)
    with pytest.raises(WorkError, match=r"optimizer.max_steps 2, not 3"):
        run_sweep(make_grid(changes={"optimizer.max_steps": 3}), whole, never)
    lines = world.validation.read_text()
    try:
        world.validation.write_text("\n".join(lines.splitlines()[:-1]) + "\n")
        with pytest.raises(WorkError, match=r"learning_rate=1e-05,seed=0 holds a cell with inputs.1"):
            run_sweep(make_grid(), whole, never)
    finally:
        world.validation.write_text(lines)
    with pytest.raises(WorkError, match=r"holds a sweep with base.optimizer.weight_decay 0.0, not 0.5"):
        collect(make_grid(changes={"optimizer.weight_decay": 0.5}), whole)
    # What decides nothing may change.
    run_sweep(make_grid(changes={"run.log_every": 7, "hardware.workers": 3}), whole, lambda _, cells, __: [*cells])


def test_a_damaged_result_is_named_and_measured_again(make_grid, whole, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "sweep")
    [result] = (folder / CELLS / KILLED / "evaluation").glob("*/result.json")
    result.write_text("{")
    with pytest.raises(DataError, match=r"of a cell that is done is gone or damaged.*measures it again"):
        collect(make_grid(), folder)
    shutil.rmtree(result.parent)
    (folder / CELLS / KILLED / "cell.json").unlink()
    assert run_sweep(make_grid(), folder) == read_sweep(whole)


def test_a_second_writer_is_refused(make_grid, whole):
    with open_work(whole, whole), pytest.raises(WorkError, match="is being written by process"):
        run_sweep(make_grid(), whole)
    place = whole / CELLS / KILLED
    with open_work(place, place), pytest.raises(WorkError, match="is being written by process"):
        run_cell(make_grid(), make_grid().cell(KILLED), whole, lambda *_: None)


def test_a_signal_is_no_failure(make_grid, tmp_path):
    def stopped(recipe: Recipe, run: Path) -> None:
        raise StoppedError(15, "saved")

    grid = make_grid(grid={RATE: [3e-6]})
    with pytest.raises(StoppedError):
        run_cell(grid, grid.cells[0], tmp_path, stopped)
    [cell] = collect(grid, tmp_path).cells
    assert (cell.state, collect(grid, tmp_path).highest) == ("unfinished", None)
    assert not (tmp_path / CELLS / cell.name / LOG).exists()
