"""The page of a sweep: its grid over its seeds, which point is highest of how many, and what failed."""

from collections.abc import Iterator

from basereward.reporting.documents import Chapter, Document, Headline
from basereward.reporting.sweep_plots import sweep_plot
from basereward.reporting.tables import DECIMALS, MISSING, Table, interval, percent
from basereward.sweep.result import MeasuredPlace, SweepResult, SweptPoint

POINT_NOTE = (
    "One row for each point of the grid: the mean over its seeds, their standard deviation (n - 1), and the 95 % "
    "interval of the mean by Student's t. It is of other seeds, not of other test items. Behind stands the difference "
    "from the baseline in points with Welch's 95 % interval; it exceeds the spread over seeds if that leaves out zero. "
    "Several points are several tests."
)
CHOICE_NOTE = (
    "The highest of several means is too high on average, the more so the more were tried. Measure the point that is "
    "chosen on rows that did not choose it."
)
_HEADER = ("point", "seeds", "mean", "standard deviation", "95 % interval", "coverage")
_VERSUS_HEADER = ("difference", "95 % interval", "exceeds the spread")


def build_sweep_report(result: SweepResult) -> Document:
    """Return the report of a sweep.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    return Document(
        kind="basereward sweep",
        name=result.name,
        headlines=list(_headlines(result)),
        sections=list(_chapters(result)),
        details={"axes": result.axes, "seeds": result.seeds, "baseline": result.baseline},
    )


def point_table(place: MeasuredPlace) -> Table:
    """Return one row for each point of the grid."""
    has_versus = any(own.versus for own in place.points)
    header = (*_HEADER, *(_VERSUS_HEADER if has_versus else ()))
    return Table(header, [(*_spread(own), *(_versus(own) if has_versus else ())) for own in place.points])


def highest_line(result: SweepResult) -> str:
    """Return which point is highest, of how many, and what it cannot be told from."""
    best = result.highest
    if best is None:
        return "No point has all its seeds: nothing is the highest of anything."
    first = result.places[0]
    mean = next(own.spread.mean for own in first.points if own.point == best.point and own.spread)
    told = f"Highest mean {first.metric}: {best.point} with {percent(mean)}, of {best.tried} points tried"
    told += f" with {len(result.seeds)} seeds each" if len(result.seeds) > 1 else " with one seed each"
    alike = f" Not told apart from it by its seeds: {'; '.join(best.alike)}." if best.alike else ""
    left = f" Not among them, because a seed is missing: {'; '.join(best.left_out)}." if best.left_out else ""
    return f"{told}.{alike}{left}"


def _headlines(result: SweepResult) -> Iterator[Headline]:
    best = result.highest
    if best is not None:
        mean = next(own.spread.mean for own in result.places[0].points if own.point == best.point and own.spread)
        yield Headline(f"highest mean of {best.tried} points", percent(mean), best.point)
    done = len(result.of_state("done"))
    missing = [f"{len(own)} {state}" for state in ("failed", "unfinished") if (own := result.of_state(state))]  # type: ignore[arg-type]
    yield Headline("cells done", f"{done} of {len(result.cells)}", ", ".join(missing))


def _chapters(result: SweepResult) -> Iterator[Chapter]:
    for number, place in enumerate(result.places):
        lines = [f"protocol {place.line}"]
        if result.baseline:
            lines.append(f"baseline: {result.baseline}")
        if number == 0:
            lines = [highest_line(result), CHOICE_NOTE, *lines]
        has_numbers = any(own.spread for own in place.points)
        svg = sweep_plot(result.axes, place).decode() if has_numbers else ""
        yield Chapter(f"{place.place}: {place.metric}", POINT_NOTE, svg, point_table(place), lines)
    if failed := result.of_state("failed"):
        yield Chapter(
            f"Failed cells: {len(failed)} of {len(result.cells)}",
            "They are in no mean; a point that lacks a seed says so. The same command tries them again.",
            lines=[f"{own.name}: {own.error}" for own in failed],
        )
    if unfinished := result.of_state("unfinished"):
        lines = [f"{own.name}: {own.error}" for own in unfinished]
        yield Chapter(f"Unfinished cells: {len(unfinished)} of {len(result.cells)}", lines=lines)
    yield Chapter("Cells", table=_cell_table(result))
    if result.strangers:
        note = "The folder holds these cells, which the grid does not have; they are in no number."
        yield Chapter("Cells of another grid", note, lines=result.strangers)


def _spread(own: SweptPoint) -> tuple[str, ...]:
    spread = own.spread
    if spread is None:
        return (own.point, f"0 of {own.asked}", *[MISSING] * 4)
    return (
        own.point,
        f"{len(spread.values)} of {own.asked}",
        percent(spread.mean, DECIMALS),
        MISSING if spread.deviation is None else f"{100 * spread.deviation:.2f}",
        interval(spread.low, spread.high),
        percent(spread.coverage, DECIMALS),
    )


def _versus(own: SweptPoint) -> tuple[str, ...]:
    found = own.versus
    if found is None:
        return (MISSING, MISSING, MISSING)
    within = MISSING
    if found.low is not None and found.high is not None:
        within = f"{100 * found.low:+.1f} to {100 * found.high:+.1f}"
    return (f"{100 * found.difference:+.2f}", within, found.exceeds)


def _cell_table(result: SweepResult) -> Table:
    places = [place.place for place in result.places]
    rows = [
        (own.name, str(own.seed), own.state, *(percent(own.values.get(place), DECIMALS) for place in places))
        for own in result.cells
    ]
    return Table(("cell", "seed", "state", *places), rows)
