"""The result of an evaluation as tables: metrics and groups beside the references, models and published numbers."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from basereward.benchmarks.formulas import Metric
from basereward.benchmarks.published.tables import PublishedCell, comparable_rows
from basereward.benchmarks.summary import Summary
from basereward.evaluation.contamination import contamination_line
from basereward.evaluation.result import ProtocolResult, Result
from basereward.reporting.reliability_parts import reliability_line
from basereward.reporting.tables import DECIMALS, MISSING, Table, count, interval, percent, superscript


class ModelTable(NamedTuple):
    """A table with models as rows, the lines that must stand under it, and how many rows are ours and published.

    ``ablations`` are the places of rows whose numbers are all from tables of ablations.
    """

    table: Table
    notes: list[str]
    models: int
    published: int
    ablations: frozenset[int] = frozenset()


def metric_table(result: ProtocolResult) -> Table:
    """Return one row for each metric: value, interval and n of the model, and the value of each reference."""
    return _beside("metric", result, {name: own.metrics for name, own in result.summaries.items()})


def group_table(result: ProtocolResult) -> Table:
    """Return one row for each group of the protocol, in the same columns."""
    return _beside("group", result, {name: own.groups for name, own in result.summaries.items()})


def subset_table(result: ProtocolResult) -> Table:
    """Return the accuracy of the model for each subset of the file."""
    return _beside("subset", result, {"model": result.subsets})


def footnotes(result: Result) -> list[str]:
    """Return what must stand under the tables of the main protocol: counts, failures, and what each metric is."""
    main = result.main
    model = main.model
    counts = f"{model.n} rows, {model.ties} ties, {model.failed} failed, coverage "
    lines = [f"protocol {model.protocol.line}", counts + percent(model.coverage, DECIMALS)]
    lines += [f"{count} x {reason}" for reason, count in {**result.data.dropped, **result.failures}.items()]
    lines += [limited] if (limited := limit_note(result)) else []
    lines += [reliability_line(result.reliability)] if result.reliability else []
    return [*lines, contamination_line(result.contamination, main), *definitions(model)]


def definitions(summary: Summary) -> list[str]:
    """Return a line for each metric that says what it is and over how many it is computed, and the notes on them."""
    texts = summary.definitions.items()
    lines = [
        f"{name}: {text} (n = {count(summary.metrics[name].n)})" for name, text in texts if name in summary.metrics
    ]
    return [*lines, *summary.notes]


def limit_note(result: Result) -> str:
    """Return that only a part of the benchmark was evaluated; nothing where it was all of it."""
    data = result.data
    notes = [f"only {count(result.n)} of {count(data.part_of)} rows"] if data.part_of is not None else []
    notes += [f"only the first {count(data.limit)} items"] if data.limit is not None else []
    return ", ".join(notes)


def model_table(models: Mapping[str, Summary], with_published: bool = True) -> ModelTable:
    """Return models as rows, best first, and below them the published numbers that mean the same.

    Columns are the metrics of the protocol and its groups. Published rows follow by their first number, those without
    the first metric later. A number with a flag carries the mark of its footnote.

    Args:
        models: summaries of one benchmark under one protocol, by what a row is called.
    """
    own = {name: _numbers(summary) for name, summary in models.items()}
    columns = list(dict.fromkeys(column for numbers in own.values() for column in numbers))
    first = next(iter(models.values()))
    used = first.protocol
    is_comparable = with_published and (used.judge is None or used.judge.is_official)
    rows = comparable_rows(first.benchmark, used.name) if is_comparable else {}
    shown = {name: cells for name, cells in rows.items() if set(columns) & cells.keys()}
    if shown and len(models) == 1:
        columns = [column for column in columns if any(column in cells for cells in shown.values())]
    ordered = sorted(own, key=lambda name: -(own[name].get(columns[0]) or 0.0))
    body = [(name, *(percent(own[name].get(column), DECIMALS) for column in columns)) for name in ordered]
    header = ("model", *(column.removeprefix("groups.") for column in columns))
    if not shown:
        return ModelTable(Table(header, body), [], len(body), 0)
    ranked = sorted(shown, key=lambda name: _rank(shown[name], columns))
    below, notes = _published({name: shown[name] for name in ranked}, columns)
    table = Table((*header, "published in"), [*((*row, "") for row in body), *below])
    ablations = frozenset(
        place
        for place, name in enumerate(ranked, len(body))
        if all(cell.is_ablation for cell in _cells([shown[name]], columns))
    )
    return ModelTable(table, notes, len(body), len(below), ablations)


def _numbers(summary: Summary) -> dict[str, float | None]:
    """Return the values of a summary by name, those of its groups under ``groups.NAME``."""
    groups = {f"groups.{name}": own.value for name, own in summary.groups.items()}
    return {name: metric.value for name, metric in summary.main_metrics().items()} | groups


def _published(
    rows: Mapping[str, Mapping[str, PublishedCell]], columns: list[str]
) -> tuple[list[tuple[str, ...]], list[str]]:
    """Return the rows of published numbers in their order, and the lines on their sources and flags."""
    flags = list(dict.fromkeys(cell.flag for cell in _cells(rows.values(), columns) if cell.flag))
    sources = dict.fromkeys((cell.table, cell.source) for cell in _cells(rows.values(), columns))
    body = []
    for name in rows:
        tables = dict.fromkeys(cell.table for cell in _cells([rows[name]], columns))
        cells = (_printed(rows[name].get(column), flags) for column in columns)
        body.append((name, *cells, ", ".join(tables)))
    notes = [f"{table}: {source}" for table, source in sources]
    return body, notes + [f"{superscript(number)} {flag}" for number, flag in enumerate(flags, 1)]


def _beside(title: str, result: ProtocolResult, named: Mapping[str, Mapping[str, Metric]]) -> Table:
    """Return one row for each metric of the model, with its interval and n, and the values of the others."""
    model, *others = named.values()
    rows = []
    for name, own in model.items():
        beside = [percent(other[name].value if name in other else None, DECIMALS) for other in others]
        rows.append((name, percent(own.value, DECIMALS), interval(own.low, own.high), count(own.n), *beside))
    return Table((title, "model", "95 % interval", "n", *list(named)[1:]), rows)


def _cells(rows: Iterable[Mapping[str, PublishedCell]], columns: Iterable[str]) -> list[PublishedCell]:
    return [cells[column] for cells in rows for column in columns if column in cells]


def _rank(cells: Mapping[str, PublishedCell], columns: list[str]) -> tuple[int, float]:
    place, first = next((place, cells[column]) for place, column in enumerate(columns) if column in cells)
    return place, -(first.share or 0.0)


def _printed(cell: PublishedCell | None, flags: list[str]) -> str:
    if cell is None:
        return MISSING
    decimals = len(cell.printed.partition(".")[2])
    # A share with four decimals is a percentage with two.
    number = percent(cell.share, decimals if cell.unit == "percent" else max(0, decimals - 2))
    return number + (superscript(flags.index(cell.flag) + 1) if cell.flag else "")
