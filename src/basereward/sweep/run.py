"""A sweep from its file to its table: resolve all, run what is not done, collect what there is."""

from collections.abc import Callable, Sequence
from pathlib import Path

from basereward.sweep.cells import Grid, SweepCell
from basereward.sweep.result import SweepResult, collect
from basereward.sweep.work import CELL, CELLS, open_sweep, run_cell, train_here

Launcher = Callable[[Grid, Sequence[SweepCell], Path], None]


def run_here(grid: Grid, cells: Sequence[SweepCell], folder: Path) -> None:
    """Run cells one after the other in this process."""
    for cell in cells:
        run_cell(grid, cell, folder, train_here)


def run_sweep(grid: Grid, folder: Path, launch: Launcher = run_here) -> SweepResult:
    """Run all cells that are not done, failed ones again, and return what the sweep found.

    Args:
        launch: runs cells and returns when they have ended.

    Raises:
        WorkError: another process runs the sweep, or the folder is of another one; it names what differs.
    """
    with open_sweep(grid, folder):
        launch(grid, open_cells(grid, folder), folder)
        return collect(grid, folder)


def open_cells(grid: Grid, folder: Path) -> list[SweepCell]:
    """Return the cells that are not done."""
    return [cell for cell in grid.cells if not (folder / CELLS / cell.name / CELL).is_file()]
