"""Tables of evaluation summaries: for the terminal, for Markdown and for the report's page."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rich.table import Table as RichTable

MISSING = "-"
Summary = Mapping[str, Any]


class Table(NamedTuple):
    """A header and rows of text; the first column is a name, the others are numbers."""

    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


def accuracy_table(evaluations: Mapping[str, Summary]) -> Table:
    """Return one row for each scorer: accuracy with its interval, ties, failures and coverage.

    The benchmark stands beside the name only where there are several.
    """
    benchmarks = {summary["benchmark"] for summary in evaluations.values() if "benchmark" in summary}
    header = ("scorer", "accuracy", "95 % interval", "ties half", "scored", "n", "ties", "failed", "coverage")
    rows = []
    for name, summary in evaluations.items():
        metrics = summary.get("metrics", {})
        accuracy = metrics.get("accuracy", {})
        rows.append(
            (
                f"{name} on {summary.get('benchmark')}" if len(benchmarks) > 1 else name,
                percent(accuracy.get("value")),
                interval(accuracy),
                percent(metrics.get("accuracy_ties_half", {}).get("value")),
                *(count(value) for value in (accuracy.get("n"), summary.get("n"))),
                *(count(summary.get(key)) for key in ("ties", "failed")),
                percent(summary.get("coverage")),
            )
        )
    return Table(header, rows)


def source_table(evaluations: Mapping[str, Summary]) -> Table:
    """Return one row for each source: the first scorer's pairs and interval, and the accuracy of every scorer."""
    sources = sorted({source for summary in evaluations.values() for source in summary.get("groups", {})})
    first = next(iter(evaluations), MISSING)
    rows = []
    for source in sources:
        groups = [summary.get("groups", {}).get(source, {}) for summary in evaluations.values()]
        accuracies = [percent(group.get("accuracy")) for group in groups]
        rows.append((source, count(groups[0].get("n")), accuracies[0], interval(groups[0]), *accuracies[1:]))
    others = tuple(evaluations)[1:]
    return Table(("source", "scored", first, "95 % interval", *others), rows)


def percent(share: float | None) -> str:
    """Return a share as a percentage with one decimal."""
    return MISSING if share is None else f"{100 * share:.1f} %"


def interval(proportion: Mapping[str, Any]) -> str:
    """Return the interval of a proportion in percent."""
    low, high = proportion.get("low"), proportion.get("high")
    return MISSING if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f}"


def count(number: float | None) -> str:
    """Return a count with separated thousands."""
    return MISSING if number is None else f"{number:,}"


def duration(seconds: float | None) -> str:
    """Return a length of time in its two largest units."""
    if seconds is None:
        return MISSING
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def to_markdown(table: Table) -> str:
    """Return a GitHub-flavoured Markdown table."""
    rules = ("---", *("---:" for _ in table.header[1:]))
    lines = [table.header, rules, *table.rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def to_rich(table: Table, title: str | None = None) -> "RichTable":
    """Return a table that ``rich`` prints on a terminal."""
    from rich.markup import escape
    from rich.table import Table as RichTable

    printed = RichTable(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(table.header):
        printed.add_column(escape(name), justify="right" if place else "left", no_wrap=place == 0)
    for row in table.rows:
        printed.add_row(*map(escape, row))
    return printed
