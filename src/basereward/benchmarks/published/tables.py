"""Published tables: their cells with what each means in our words, and the cells to compare a result with.

A file holds tables as ``{name: {title, source, ablation, defaults, columns, rows, rules}}``. A row is its cells as
printed, ``~`` where there is none. ``defaults``, then the column, then every rule that covers the cell say what it
means: a later one replaces a field, and flags add up. Whether any share of ``n`` items prints as the cell is computed,
and flagged.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict

from basereward.errors import DataError
from basereward.statistics import Attainable, attainable

ANY = "any"
MISSING = "~"
Unit = Literal["percent", "share", "count", "reward"]
# Unit -> what 1 is printed as, for the units of accuracies.
SCALES = {"percent": 100, "share": 1}
SUFFIXES = {"k": 1_000, "M": 1_000_000}
_PRINTED = re.compile(r"[+-]?(\d+)(?:\.(\d+))?([kM]?)")


@dataclass(frozen=True, slots=True)
class PublishedCell:
    """One printed number.

    Args:
        table: name of the table.
        row: the model or setting.
        column: header of the column as printed.
        value: the number as printed, in ``unit``.
        printed: its text.
        benchmark: our name of the benchmark; None for what is no benchmark of ours.
        metric: our name of what it means, ``groups.NAME`` for a group, or a named average; None if it has none.
        protocol: ours under which it means that, ``any`` if every one gives the same, None if it is not known.
        source: where it is printed.
        flag: what is wrong with it or must be known to read it.
        n: the items it is a share of, where it is a plain share and their number is known.
        unit: percent, share (in [0, 1]), count or reward.
        is_ablation: whether its table varies one thing of a model, so that its rows are no models that others have.
    """

    table: str
    row: str
    column: str
    value: float
    printed: str
    benchmark: str | None
    metric: str | None
    protocol: str | None
    source: str
    flag: str | None
    n: int | None
    unit: Unit
    is_ablation: bool = False

    @property
    def share(self) -> float | None:
        """The value in [0, 1], as our metrics are; None where it is no accuracy."""
        return self.value / SCALES[self.unit] if self.unit in SCALES else None


class _Meaning(BaseModel):
    """What cells mean; only the fields that a file sets count."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    benchmark: str | None = None
    metric: str | None = None
    protocol: str | None = None
    n: int | None = None
    unit: Unit = "percent"
    flag: str | None = None


class _Rule(_Meaning):
    """What some cells mean: those of the named rows and columns, all where none is named."""

    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    def covers(self, row: str, column: str) -> bool:
        return (not self.rows or row in self.rows) and (not self.columns or column in self.columns)


class _Table(BaseModel):
    """A table as its file has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    source: str
    ablation: bool = False
    defaults: _Meaning = _Meaning()
    columns: dict[str, _Meaning]
    rows: dict[str, str]
    rules: tuple[_Rule, ...] = ()


def published_cells(benchmark: str | None = None) -> list[PublishedCell]:
    """Return the cells of all tables, or those on one benchmark: boards first, then the tables of the paper."""
    return [cell for cell in _load_cells() if benchmark is None or cell.benchmark == benchmark]


def comparable_rows(benchmark: str, protocol: str) -> dict[str, dict[str, PublishedCell]]:
    """Return for each model the cells that mean the same as our metrics of a benchmark under a protocol.

    Cells with a flag are among them. A row of the same name in a later table adds its metrics; where it prints
    another number it stands for itself, with the name of its table in brackets.
    """
    found: dict[tuple[str, str], dict[str, PublishedCell]] = {}
    for cell in published_cells(benchmark):
        if cell.metric is not None and cell.protocol in (protocol, ANY):
            found.setdefault((cell.row, cell.table), {})[cell.metric] = cell
    rows: dict[str, dict[str, PublishedCell]] = {}
    for (row, table), own in found.items():
        known = rows.setdefault(row, {})
        if all(known[metric].share == cell.share for metric, cell in own.items() if metric in known):
            rows[row] = {**own, **known}
        else:
            rows[f"{row} ({table})"] = own
    return rows


def check_attainable(cell: PublishedCell) -> Attainable | None:
    """Return whether a share of the cell's ``n`` items prints as it does; None where it is no such share."""
    if cell.n is None or cell.unit not in SCALES:
        return None
    decimals = len(cell.printed.partition(".")[2])
    return attainable(cell.value, cell.n, decimals, SCALES[cell.unit])


@cache
def _load_cells() -> tuple[PublishedCell, ...]:
    paths = (path for path in files("basereward.benchmarks.published").iterdir() if path.name.endswith(".yaml"))
    ordered = sorted(paths, key=lambda path: (path.name.startswith("paper"), path.name))
    raw = [entry for path in ordered for entry in yaml.safe_load(path.read_text(encoding="utf-8")).items()]
    return tuple(cell for name, table in raw for cell in _build_cells(name, _Table.model_validate(table)))


def _build_cells(name: str, table: _Table) -> list[PublishedCell]:
    for rule in table.rules:
        unknown = (set(rule.rows) - set(table.rows)) | (set(rule.columns) - set(table.columns))
        if unknown:
            raise DataError(f"A rule of {name} names {sorted(unknown)}, which are no rows or columns of it.")
    return [_flag_unattainable(cell) for row in table.rows for cell in _row_cells(name, table, row)]


def _row_cells(name: str, table: _Table, row: str) -> Iterator[PublishedCell]:
    texts = table.rows[row].split()
    if len(texts) != len(table.columns):
        raise DataError(f"Row {row!r} of {name} has {len(texts)} cells, expected {len(table.columns)}.")
    for column, printed in zip(table.columns, texts, strict=True):
        if printed != MISSING:
            meaning = _meaning(table, row, column)
            about: dict[str, Any] = {"source": table.source, "is_ablation": table.ablation}
            yield PublishedCell(name, row, column, _parse(printed), printed, **about, **meaning)


def _meaning(table: _Table, row: str, column: str) -> dict[str, Any]:
    layers = [table.defaults, table.columns[column], *(rule for rule in table.rules if rule.covers(row, column))]
    meaning = _Meaning().model_dump()
    for layer in layers:
        meaning |= layer.model_dump(include=layer.model_fields_set - {"rows", "columns"})
    meaning["flag"] = " ".join(layer.flag for layer in layers if layer.flag) or None
    return meaning


def _parse(printed: str) -> float:
    match = _PRINTED.fullmatch(printed)
    if match is None:
        raise DataError(f"Expected a printed number such as 82.16, +5.82 or 22k, found {printed!r}.")
    suffix = match[3]
    return float(printed.removesuffix(suffix)) * SUFFIXES.get(suffix, 1)


def _flag_unattainable(cell: PublishedCell) -> PublishedCell:
    checked = check_attainable(cell)
    if checked is None or checked.is_attainable:
        return cell
    text = f"No k/{checked.n} prints as {cell.printed}; the nearest is {checked.k}/{checked.n}."
    return replace(cell, flag=f"{cell.flag} {text}" if cell.flag else text)
