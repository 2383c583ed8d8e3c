"""The work on a sweep: the folder of the whole, and one cell after the other, each trained, measured and recorded.

``sweep.yaml`` is the sweep with its base recipe inside, so that a job that starts hours later reads what was asked for.
A cell has a folder of its own with a lock and an identity of its own; in it ``run/`` is an ordinary run folder, which
goes on from its own checkpoint, ``evaluation/`` holds ordinary evaluations, and ``cell.json`` appears when both are
complete. What went wrong stands in ``failure.json`` until the cell is tried again.
"""

import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from basereward.benchmarks.plugins import open_benchmark
from basereward.configuration import Section, dump_configuration
from basereward.data.identity import differences
from basereward.data.io import read_json, replacing, write_json
from basereward.data.work import Work, open_work
from basereward.errors import BaseRewardError, DataError, StoppedError, WorkError
from basereward.evaluation.opened import Opened, read_benchmark
from basereward.evaluation.pairs import read_pairs
from basereward.evaluation.runner import EvaluationOptions, evaluate
from basereward.models.facts import JudgeRole
from basereward.scoring.spec import open_judge, open_scorer
from basereward.sweep.cells import (
    Grid,
    SweepCell,
    cell_identities,
    cell_identity,
    cell_may_change,
    measured_name,
    sweep_identity,
)
from basereward.training.folder import FACTS, MODEL
from basereward.training.recipe import Recipe, dump_recipe

SWEEP, CELLS, CELL, FAILURE, LOG = "sweep.yaml", "cells", "cell.json", "failure.json", "log.txt"
RUN, RECIPE, EVALUATION = "run", "recipe.yaml", "evaluation"
Train = Callable[[Recipe, Path], None]
S = TypeVar("S", bound=Section)
_log = logging.getLogger(__name__)


class CellRecord(Section):
    """What ``cell.json`` holds: the folders of the evaluations of a cell that is complete, by what was measured on."""

    evaluations: dict[str, str]


class Failed(Section):
    """What ``failure.json`` holds."""

    kind: str
    """Class of the error, or the signal that ended the process."""
    message: str
    """What it says."""


@contextmanager
def open_sweep(grid: Grid, folder: Path) -> Iterator[Work]:
    """Hold the folder of a sweep, and write what the sweep is; cells of a smaller grid in it are kept.

    Raises:
        WorkError: another process runs the sweep, or the folder or one of its cells is of another recipe or other data;
            it names what differs.
    """
    with open_work(folder, folder) as work:
        work.claim(sweep_identity(grid))
        check_cells(grid, folder)
        with replacing(folder / SWEEP) as temporary:
            temporary.write_text(dump_configuration(grid.sweep), encoding="utf-8")
        yield work


def check_sweep(grid: Grid, folder: Path) -> None:
    """Check that a folder is that of a sweep, if it is of any.

    Raises:
        WorkError: it is of another one; it names what differs.
    """
    found = Work(folder, folder).identity()
    if found and (unlike := differences(found.facts(), sweep_identity(grid).facts())):
        raise WorkError(f"{folder} holds a sweep with {'; '.join(unlike)}. Give the same, or another folder.")


def check_cells(grid: Grid, folder: Path) -> None:
    """Check that every cell can run, before any does: its data and start are there, and its folder is its own.

    Raises:
        WorkError: the folder holds a cell of other data or another start; it names what differs.
        BaseRewardError: data or a backbone is missing.
    """
    for cell, asked in zip(grid.cells, cell_identities(grid), strict=True):
        place = folder / CELLS / cell.name
        found = Work(place, place).identity()
        if found and (unlike := differences(found.facts(), asked.facts(), cell_may_change(cell))):
            raise WorkError(
                f"{place} holds a cell with {'; '.join(unlike)}. Give the same, choose another output, or delete it to "
                "run the cell anew."
            )


def run_cell(grid: Grid, cell: SweepCell, folder: Path, train: Train) -> bool:
    """Train and measure a cell, or what is left of that; return whether it is complete.

    An error is recorded in ``failure.json`` and logged, and is no result.

    Args:
        folder: of the sweep.
        train: trains a recipe into a run folder, on from its last checkpoint.

    Raises:
        WorkError: another process works on the cell, or its folder is of other work.
        StoppedError: a signal ended it; where it was is saved.
    """
    place = folder / CELLS / cell.name
    with open_work(place, place) as work:
        work.claim(cell_identity(grid, cell), cell_may_change(cell))
        if (place / CELL).is_file():
            return True
        (place / FAILURE).unlink(missing_ok=True)
        try:
            with replacing(place / RECIPE) as temporary:
                temporary.write_text(dump_recipe(cell.recipe), encoding="utf-8")
            if not (place / RUN / FACTS).is_file():
                train(cell.recipe, place / RUN)
            measured = _measure(grid, cell, place)
        except StoppedError:
            raise
        # Whatever a library raises: one cell that runs out of memory must not end the others.
        except Exception as error:
            _log.error("%s failed: %s", cell.name, error)
            if not isinstance(error, BaseRewardError):
                _log.error("%s", traceback.format_exc())
            record_failure(place, Failed(kind=type(error).__name__, message=str(error) or type(error).__name__))
            return False
        write_json(place / CELL, measured.model_dump(mode="json"))
    return True


def record_failure(place: Path, failed: Failed) -> None:
    """Write down why a cell is not complete."""
    write_json(place / FAILURE, failed.model_dump(mode="json"))


def read_failure(place: Path) -> Failed | None:
    """Return why a cell failed, None if it did not."""
    return _read(Failed, place / FAILURE)


def read_measured(place: Path) -> CellRecord | None:
    """Return what was measured of a cell, None if it is not complete."""
    return _read(CellRecord, place / CELL)


def train_here(recipe: Recipe, folder: Path) -> None:
    """Train in this process."""
    from basereward.training.run import train

    train(recipe, folder, resume=True)


def _read(kind: type[S], path: Path) -> S | None:
    if not path.is_file():
        return None
    try:
        return kind.model_validate(read_json(path))
    except ValidationError as error:
        raise DataError(f"{path} is not what this version writes: {error}.") from error


def _measure(grid: Grid, cell: SweepCell, place: Path) -> CellRecord:
    """Evaluate a trained model on every place, on from what is there."""
    recipe, model = cell.recipe, place / RUN / MODEL
    device = "cpu" if recipe.hardware.use_cpu else None
    is_judge = isinstance(recipe.objective.role, JudgeRole)
    subject = open_judge(f"judge:{model}", device=device) if is_judge else open_scorer(str(model), device=device)
    options = EvaluationOptions(references=False, resume=True)
    folders: dict[str, str] = {}
    for where in grid.places:
        inner = Path(EVALUATION) / measured_name(where)
        evaluate(subject, _open(grid, cell, where), place / inner, options)
        folders[where] = inner.as_posix()
    return CellRecord(evaluations=folders)


def _open(grid: Grid, cell: SweepCell, place: str) -> Opened:
    measure = grid.sweep.measure
    if place in measure.bench:
        root = Path(measure.data_root) if measure.data_root else None
        return read_benchmark(open_benchmark(place), root, limit=measure.limit)
    return read_pairs(place, measure.limit, options=cell.recipe.data)
