"""What a sweep found: each point of the grid over its seeds, what failed, and which point is highest of how many."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from basereward.configuration import Section
from basereward.data.io import read_json, write_json
from basereward.errors import DataError
from basereward.evaluation.result import RESULT, Result
from basereward.evaluation.runs import EvaluationRun
from basereward.evaluation.seeds import (
    Exceeds,
    RecipeRuns,
    SeedSpread,
    Slot,
    metric_spread,
    recipe_difference,
    slot_of,
)
from basereward.sweep.cells import Grid, SweepCell
from basereward.sweep.work import CELLS, RUN, check_sweep, read_failure, read_measured
from basereward.training.folder import METRICS

FORMAT: Literal[1] = 1
SWEEP_RESULT = "sweep.json"
State = Literal["done", "failed", "unfinished"]


class SweptCell(Section):
    """One cell: how it ended, and its number on every place."""

    name: str
    point: str
    seed: int
    state: State
    values: dict[str, float] = Field(default_factory=dict)
    """By place; a place is missing where no row could be scored."""
    error: str | None = None
    """Why it failed, or how far it came."""


class PointSpread(Section):
    """A metric of a point over its seeds."""

    seeds: list[int]
    values: list[float]
    mean: float
    deviation: float | None
    """Sample standard deviation (n - 1), null for one seed."""
    low: float | None
    """Of the 95 % interval of the mean by Student's t over the seeds; null for one seed."""
    high: float | None
    coverage: float
    """The smallest share of rows that a model scored."""


class Versus(Section):
    """A point less another: the difference of the means over seeds with Welch's 95 % interval."""

    other: str
    difference: float
    low: float | None
    high: float | None
    exceeds: Exceeds
    """Whether the interval leaves out zero."""


class SweptPoint(Section):
    """A point of the grid on one place."""

    point: str
    values: dict[str, Any]
    """Of each axis."""
    asked: int
    """Seeds of the sweep."""
    spread: PointSpread | None
    """Over the seeds that are done; null if none is."""
    versus: Versus | None
    """Against the baseline; null for the baseline itself, and without one."""


class Highest(Section):
    """The point with the highest mean among those whose seeds are all done."""

    point: str
    tried: int
    """How many points it is the highest of."""
    alike: list[str]
    """Of these, points whose difference from it does not exceed the spread over seeds, or cannot be told."""
    left_out: list[str]
    """Points that lack a seed, which are not among them."""


class MeasuredPlace(Section):
    """The whole grid on one file of pairs or benchmark."""

    place: str
    metric: str
    line: str
    """The protocol in words."""
    points: list[SweptPoint]


class SweepResult(Section):
    """What ``sweep.json`` holds."""

    format: Literal[1] = FORMAT
    name: str
    axes: dict[str, list[Any]]
    seeds: list[int]
    baseline: str | None
    cells: list[SweptCell]
    places: list[MeasuredPlace]
    """The first one decides; empty while no cell is done."""
    highest: Highest | None
    """On the first place; null while no point has all its seeds."""
    strangers: list[str]
    """Cells in the folder that the grid does not hold (any more)."""

    def of_state(self, state: State) -> list[SweptCell]:
        """Return the cells that ended so."""
        return [cell for cell in self.cells if cell.state == state]


def collect(grid: Grid, folder: Path) -> SweepResult:
    """Read what the cells of a sweep hold, and write ``sweep.json``; a cell that is not done is said to be so.

    Raises:
        WorkError: the folder is of another sweep.
        DataError: cells were measured on different rows, or there is no such metric.
    """
    check_sweep(grid, folder)
    cells = {cell.name: cell for cell in grid.cells}
    runs: dict[str, dict[str, EvaluationRun]] = {}
    for name in cells:
        if measured := read_measured(folder / CELLS / name):
            inner = {where: folder / CELLS / name / place for where, place in measured.evaluations.items()}
            runs[name] = {where: _read_result(place) for where, place in inner.items()}
    places = [_place(grid, where, runs, is_first=number == 0) for number, where in enumerate(grid.places) if runs]
    result = SweepResult(
        name=grid.sweep.name,
        axes={key: list(values) for key, values in grid.axes.items()},
        seeds=grid.sweep.seeds,
        baseline=grid.baseline,
        cells=[_cell(cell, folder, places) for cell in grid.cells],
        places=places,
        highest=_highest(places[0]) if places else None,
        strangers=sorted(path.name for path in (folder / CELLS).glob("[!.]*") if path.name not in cells),
    )
    write_json(folder / SWEEP_RESULT, result.model_dump(mode="json"))
    return result


def read_sweep(folder: Path) -> SweepResult:
    """Return the result of a sweep.

    Raises:
        DataError: there is none, or it is of another version.
    """
    try:
        return SweepResult.model_validate(read_json(folder / SWEEP_RESULT))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder} holds no sweep ({error}); `basereward sweep SWEEP --out {folder}` makes one."
        ) from error


def _read_result(folder: Path) -> EvaluationRun:
    try:
        result = Result.model_validate_json((folder / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        cause = " ".join(str(error).split())[:200]
        raise DataError(
            f"{folder / RESULT} of a cell that is done is gone or damaged: {cause}. Delete "
            f"{folder} and the cell's cell.json, and call the command again, which measures it again."
        ) from error
    return EvaluationRun(folder, result, ())


def _place(grid: Grid, where: str, runs: Mapping[str, Mapping[str, EvaluationRun]], is_first: bool) -> MeasuredPlace:
    own = {name: each[where].result for name, each in runs.items()}
    slots = {name: slot_of(result, result.main) for name, result in own.items()}
    first = next(iter(slots))
    if unlike := [name for name, slot in slots.items() if slot != slots[first]]:
        raise DataError(
            f"{where}: the cells {first} and {unlike[0]} were measured on different rows: {slots[first]} and "
            f"{slots[unlike[0]]}. Delete the evaluation of one of them, with its cell.json, and call the command again."
        )
    metric = _metric(grid.sweep.measure.metric if is_first else None, own[first], where)
    spreads = _spreads(
        grid, {name: {own[name].benchmark: each[where]} for name, each in runs.items()}, slots[first], metric
    )
    points = [_point(grid, point, spreads) for point in grid.points]
    return MeasuredPlace(place=where, metric=metric, line=slots[first].line, points=points)


def _metric(asked: str | None, result: Result, where: str) -> str:
    known = list(result.main.model.main_metrics())
    if asked is not None and asked not in known:
        raise DataError(f"{where} has no metric {asked!r}; give measure.metric one of {', '.join(known)}.")
    return asked or known[0]


def _spreads(
    grid: Grid, runs: Mapping[str, Mapping[str, EvaluationRun]], slot: Slot, metric: str
) -> dict[str, SeedSpread]:
    """Return the spread of each point that has a seed with a number."""
    found: dict[str, SeedSpread] = {}
    for point in grid.points:
        cells = [cell for cell in grid.cells if cell.point == point and cell.name in runs]
        recipe = RecipeRuns(
            point,
            tuple(cell.seed for cell in cells),
            tuple(cell.name for cell in cells),
            tuple(runs[cell.name] for cell in cells),
            None,
        )
        if spread := metric_spread(recipe, slot, metric):
            found[point] = spread
    return found


def _point(grid: Grid, point: str, spreads: Mapping[str, SeedSpread]) -> SweptPoint:
    values = next(cell.values for cell in grid.cells if cell.point == point)
    base = grid.baseline
    is_compared = base is not None and point != base and base in spreads and point in spreads
    return SweptPoint(
        point=point,
        values=dict(values),
        asked=len(grid.sweep.seeds),
        spread=_spread(spreads[point]) if point in spreads else None,
        versus=_versus(point, base or "", spreads) if is_compared else None,
    )


def _spread(own: SeedSpread) -> PointSpread:
    low, high = own.interval or (None, None)
    return PointSpread(
        seeds=list(own.seeds),
        values=list(own.values),
        mean=own.mean,
        deviation=own.deviation,
        low=low,
        high=high,
        coverage=own.coverage,
    )


def _versus(point: str, other: str, spreads: Mapping[str, SeedSpread]) -> Versus:
    found = recipe_difference(point, other, spreads)
    low, high = found.interval or (None, None)
    return Versus(other=other, difference=found.difference, low=low, high=high, exceeds=found.exceeds)


def _highest(place: MeasuredPlace) -> Highest | None:
    whole = {own.point: own.spread for own in place.points if own.spread and len(own.spread.values) == own.asked}
    if not whole:
        return None
    best = max(whole, key=lambda point: whole[point].mean)
    spreads = {point: _seed_spread(own) for point, own in whole.items()}
    others = [point for point in whole if point != best]
    alike = [point for point in others if recipe_difference(best, point, spreads).exceeds != "yes"]
    left_out = [own.point for own in place.points if own.point not in whole]
    return Highest(point=best, tried=len(whole), alike=alike, left_out=left_out)


def _seed_spread(own: PointSpread) -> SeedSpread:
    return SeedSpread(tuple(own.seeds), tuple(own.values), own.mean, own.deviation, None, own.coverage)


def _cell(cell: SweepCell, folder: Path, places: Sequence[MeasuredPlace]) -> SweptCell:
    place = folder / CELLS / cell.name
    told: dict[str, Any] = {"name": cell.name, "point": cell.point, "seed": cell.seed}
    if read_measured(place):
        values = {}
        for where in places:
            spread = next(own.spread for own in where.points if own.point == cell.point)
            if spread and cell.seed in spread.seeds:
                values[where.place] = spread.values[spread.seeds.index(cell.seed)]
        return SweptCell(**told, state="done", values=values)
    if failed := read_failure(place):
        return SweptCell(**told, state="failed", error=f"{failed.kind}: {failed.message}")
    return SweptCell(**told, state="unfinished", error=_progress(place))


def _progress(place: Path) -> str:
    """Return how far a cell came that is neither done nor failed: it waits, runs, or was killed."""
    log = place / RUN / METRICS
    if not log.is_file():
        return "not begun" if not (place / RUN).exists() else "begun"
    steps = log.read_text(encoding="utf-8", errors="replace").count("\n")
    return f"begun: {steps} lines of {METRICS}"
