"""``basereward sweep``."""

from enum import StrEnum
from pathlib import Path
from typing import Any

import typer

from basereward.cli.following import print_use, this_call
from basereward.cli.output import JSON_OPTION, console, print_json, print_next, say

OUT_HELP = "Folder of the sweep; what is done there is not done again. runs/NAME by default."
TRAIN_WITH_HELP = "What starts the training of a cell instead of this process: torchrun ... -m basereward; for --cell."


class Launcher(StrEnum):
    """Where cells run."""

    local = "local"
    slurm = "slurm"
    ray = "ray"


def sweep(
    context: typer.Context,
    sweep: Path = typer.Argument(
        metavar="SWEEP", help="YAML file: a base recipe, a grid, seeds, what is measured; or an installed one by name."
    ),
    overrides: list[str] | None = typer.Argument(None, metavar="KEY=VALUE", help="Changes to it: key.sub=value."),
    out: Path | None = typer.Option(None, help=OUT_HELP),
    launcher: Launcher = typer.Option(Launcher.local, help="Where cells run."),
    workers: int = typer.Option(1, min=1, help="Cells at once on this machine, each in a process."),
    plan: bool = typer.Option(False, "--plan", help="Print all cells, or the cluster's script; run and write nothing."),
    collect: bool = typer.Option(False, "--collect", help="Make the table from what the cells hold; run nothing."),
    cell: str | None = typer.Option(None, metavar="NAME", help="Run this cell alone, as a job of a cluster does."),
    train_with: str | None = typer.Option(None, metavar="COMMAND", help=TRAIN_WITH_HELP),
    as_json: bool = JSON_OPTION,
) -> None:
    """Train and measure a recipe over a grid of its settings and over seeds, into one table.

    The same command goes on with a sweep that was killed, tries failed cells again, and runs what a larger grid adds.

    Example: `basereward sweep recipes/sweeps/learning-rates-tiny.yaml --out runs/learning-rates`

    Example: `basereward sweep recipes/sweeps/learning-rates.yaml --launcher slurm --plan`
    """
    from basereward.sweep.cells import resolve
    from basereward.sweep.recipe import load_sweep

    _check(launcher, workers, plan, collect, cell, train_with)
    grid = resolve(load_sweep(sweep, overrides))
    folder = out or Path("runs") / grid.sweep.name
    if cell is not None:
        _run_cell(grid, cell, folder, train_with)
    elif plan:
        _show(grid, folder, launcher.value, as_json)
        if launcher == Launcher.local and not as_json:
            print_next(*this_call(context, "plan"))
    elif launcher != Launcher.local and not collect:
        _submit(grid, folder, launcher.value, as_json)
        if not as_json:
            print_next(*this_call(context, "launcher"), "--collect")
    else:
        _finish(_collect(grid, folder) if collect else _run(grid, folder, workers), folder, as_json)


def _check(launcher: str, workers: int, plan: bool, collect: bool, cell: str | None, train_with: str | None) -> None:
    if sum([plan, collect, cell is not None]) > 1:
        raise typer.BadParameter("--plan, --collect and --cell exclude each other.")
    if launcher != Launcher.local and (workers != 1 or collect or cell is not None):
        raise typer.BadParameter(
            "--workers, --collect and --cell are of the local launcher; a cluster has launch.jobs."
        )
    if train_with is not None and cell is None:
        raise typer.BadParameter("--train-with goes with --cell; launch.processes says how many processes a run has.")


def _run_cell(grid: Any, name: str, out: Path, train_with: str | None) -> None:
    from basereward.sweep.launch import train_by
    from basereward.sweep.work import CELLS, check_sweep, run_cell, train_here

    check_sweep(grid, out)
    cell = grid.cell(name)
    if not run_cell(grid, cell, out, train_by(train_with, out / CELLS / name) if train_with else train_here):
        raise typer.Exit(1)


def _run(grid: Any, out: Path, workers: int) -> Any:
    from basereward.errors import RecipeError
    from basereward.reporting.plots import require_matplotlib
    from basereward.sweep.launch import local_training, run_processes
    from basereward.sweep.run import run_sweep

    require_matplotlib()
    if grid.sweep.launch.nodes > 1:
        raise RecipeError(
            "launch.nodes asks for several machines, and the local launcher has one; use --launcher slurm."
        )
    train_with = local_training(grid.sweep.launch)
    return run_sweep(grid, out, lambda own, cells, folder: run_processes(own, cells, folder, workers, train_with, say))


def _collect(grid: Any, out: Path) -> Any:
    from basereward.errors import MissingFileError
    from basereward.sweep.result import collect
    from basereward.sweep.work import CELLS

    if not (out / CELLS).is_dir():
        raise MissingFileError(f"{out} holds no cells of a sweep; leave --collect out to run them.")
    return collect(grid, out)


def _show(grid: Any, out: Path, launcher: Any, as_json: bool) -> None:
    """Print the cells or the script, after the same checks that a run makes."""
    from basereward.sweep.cluster import cluster_script
    from basereward.sweep.run import open_cells
    from basereward.sweep.work import check_cells

    if launcher != "local":
        print(cluster_script(launcher, grid, open_cells(grid, out) or grid.cells, out), end="")
        return
    check_cells(grid, out)
    todo = {cell.name for cell in open_cells(grid, out)}
    if as_json:
        cells = [
            {"name": own.name, "point": own.point, "seed": own.seed, "done": own.name not in todo} for own in grid.cells
        ]
        print_json({"cells": cells, "places": grid.places, "baseline": grid.baseline})
        return
    for own in grid.cells:
        print(f"{own.name}{'' if own.name in todo else '  (done)'}")
    print(f"{len(grid.cells)} cells, {len(todo)} to run; measured on {', '.join(grid.places)}")


def _submit(grid: Any, out: Path, launcher: Any, as_json: bool) -> None:
    from basereward.sweep.cluster import cluster_script, submit
    from basereward.sweep.run import open_cells
    from basereward.sweep.work import open_sweep

    with open_sweep(grid, out):
        if not (cells := open_cells(grid, out)):
            said = "all cells are done; --collect makes the table"
        else:
            (out / launcher).mkdir(parents=True, exist_ok=True)
            said = submit(launcher, cluster_script(launcher, grid, cells, out), out)
    print_json({"cells": len(cells), "launcher": launcher, "said": said}) if as_json else print(said)


def _finish(result: Any, out: Path, as_json: bool) -> None:
    from basereward.reporting.reports import write_report
    from basereward.reporting.sweep_page import highest_line, point_table
    from basereward.reporting.tables import to_rich

    files = [str(path) for path in write_report(out, formats=("html", "markdown"))]
    failed, unfinished = result.of_state("failed"), result.of_state("unfinished")
    if as_json:
        print_json({**result.model_dump(mode="json"), "files": files})
    else:
        for place in result.places:
            console().print(to_rich(point_table(place), title=f"{result.name}: {place.place}, {place.metric}"))
        for own in [*failed, *unfinished]:
            print(f"{own.state}: {own.name}: {own.error}")
        print("\n".join([highest_line(result), *files]))
        _print_best(result, out)
    if failed or unfinished:
        raise typer.Exit(1)


def _print_best(result: Any, out: Path) -> None:
    """Print how the model of the highest mean is measured, if a cell of it is done and keeps its model."""
    from basereward.sweep.work import CELLS, RUN
    from basereward.training.folder import MODEL

    done = [own.name for own in result.cells if result.highest and own.point == result.highest.point]
    for model in [out / CELLS / name / RUN / MODEL for name in done]:
        if model.is_dir():
            print_use(model, model)
            return
