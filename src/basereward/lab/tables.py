"""The paper's tables in miniature: recipes x seeds, made cell by cell, with a verdict on each of the paper's findings.

What is done is not done again: a cell is a file, and a killed table goes on with the first cell that is missing.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, NamedTuple

from pydantic import Field

from basereward.configuration import Section
from basereward.data.identity import Identity
from basereward.data.io import read_json, write_json
from basereward.data.work import open_work
from basereward.errors import DataError
from basereward.evaluation.provenance import versions_here
from basereward.evaluation.spread import seed_interval
from basereward.reporting.documents import Chapter, Document
from basereward.reporting.plots import seed_dots
from basereward.reporting.tables import MISSING, Table, percent
from basereward.statistics import Interval

RESULT = "result.json"
Outcome = Literal["holds", "does not hold", "cannot be told"]


class Column(NamedTuple):
    """What a table measures: its key in the cells, its title, and whether it is a share."""

    key: str
    title: str
    is_share: bool = True


class Claim(NamedTuple):
    """A finding of the paper as a difference of two rows in one column that should be positive."""

    says: str
    better: str
    worse: str
    column: str


class Cell(Section):
    """One row of one seed."""

    row: str
    seed: int
    values: dict[str, float]
    versions: dict[str, str] = Field(default_factory=dict)
    """What made it: basereward, Python and the libraries; nothing in cells that do not say."""


class Finding(Section):
    """Whether a claim holds at this scale."""

    says: str
    difference: float
    """Mean over the seeds of the better row less the worse one."""
    is_share: bool = True
    """Whether the column is a share, of which differences are shown in points."""
    interval: Interval | None
    """Of that mean, 95 % by Student's t over the seeds; None for one seed."""
    outcome: Outcome


class LabTable(Section):
    """A table with its seeds and what it says of the paper's findings."""

    name: str
    source: str
    """Where the paper has it."""
    rows: list[str]
    columns: list[Column]
    seeds: list[int]
    cells: list[Cell]
    findings: list[Finding]
    notes: list[str]
    """What differs from the paper."""
    settings: dict[str, str] = Field(default_factory=dict)
    """What else decides the numbers, such as steps, as JSON; nothing in tables that do not say."""

    def values(self, row: str, column: str) -> list[float]:
        """Return a column of a row, one value for each seed that has one, in order."""
        return [cell.values[column] for cell in self.cells if cell.row == row and column in cell.values]


class TablePlan(NamedTuple):
    """What a table is made of.

    Args:
        name: of the command, such as ``table11``.
        source: where the paper has it.
        rows: its recipes.
        columns: what is measured.
        claims: the paper's findings.
        notes: what differs from the paper.
        settings: what else decides the numbers; a table with others does not go on.
        run: makes the cell of a row and a seed within a folder of the seed, which the rows share.
    """

    name: str
    source: str
    rows: Sequence[str]
    columns: Sequence[Column]
    claims: Sequence[Claim]
    notes: Sequence[str]
    settings: Mapping[str, Any]
    run: Callable[[str, int, Path], Mapping[str, float]]


def make_table(
    plan: TablePlan, folder: Path, seeds: Sequence[int], say: Callable[[str], None] = lambda _: None
) -> LabTable:
    """Make all cells that are missing, one seed after the other, and write ``result.json``.

    Raises:
        WorkError: another process makes the table, or the folder holds one with other settings.
    """
    with open_work(folder, folder) as work:
        # Seeds may be added: each cell stands for itself.
        work.claim(Identity(task=f"lab {plan.name}", settings=dict(plan.settings)))
        cells = [_cell(plan, folder, row, seed, say) for seed in seeds for row in plan.rows]
        shares = {column.key: column.is_share for column in plan.columns}
        table = LabTable(
            name=plan.name,
            source=plan.source,
            rows=list(plan.rows),
            columns=list(plan.columns),
            seeds=list(seeds),
            cells=cells,
            findings=[judge_claim(claim, cells, shares.get(claim.column, True)) for claim in plan.claims],
            notes=list(plan.notes),
            settings={name: json.dumps(value) for name, value in plan.settings.items()},
        )
        write_json(folder / RESULT, table.model_dump(mode="json"))
    return table


def read_table(folder: Path) -> LabTable:
    """Return a table that was made.

    Raises:
        DataError: it is not there, or of another version.
    """
    try:
        return LabTable.model_validate(read_json(folder / RESULT))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} holds no table of the lab ({error}); make it with basereward lab.") from error


def _cell(plan: TablePlan, folder: Path, row: str, seed: int, say: Callable[[str], None]) -> Cell:
    path = folder / "cells" / f"{row}-{seed}.json"
    if not path.is_file():
        say(f"seed {seed}: {row}")
        values = plan.run(row, seed, folder / f"seed-{seed}")
        made = Cell(row=row, seed=seed, values=dict(values), versions=versions_here())
        write_json(path, made.model_dump(mode="json"))
    try:
        return Cell.model_validate(read_json(path))
    except (OSError, ValueError) as error:
        cause = str(error).splitlines()[0]
        raise DataError(f"{path} is no cell of the lab ({cause}); delete it, and the command makes it anew.") from error


def judge_claim(claim: Claim, cells: Sequence[Cell], is_share: bool = True) -> Finding:
    """Return whether a claim holds: where zero lies with respect to the interval of the mean difference over seeds."""
    compared = (claim.better, claim.worse)
    # Other rows need not have the column.
    values = {(cell.row, cell.seed): cell.values[claim.column] for cell in cells if cell.row in compared}
    seeds = [seed for row, seed in values if row == claim.better]
    differences = [values[claim.better, seed] - values[claim.worse, seed] for seed in seeds]
    found = seed_interval(differences)
    outcome: Outcome = "cannot be told"
    if found and found.low > 0:
        outcome = "holds"
    elif found and found.high < 0:
        outcome = "does not hold"
    mean = fmean(differences)
    return Finding(says=claim.says, difference=mean, is_share=is_share, interval=found, outcome=outcome)


def shown_table(table: LabTable) -> Table:
    """Return the rows with the mean over the seeds of each column, and in brackets the smallest and the largest."""
    rows = [
        (row, *(_shown(table.values(row, column.key), column.is_share) for column in table.columns))
        for row in table.rows
    ]
    return Table(("", *(column.title for column in table.columns)), rows)


def findings_table(table: LabTable) -> Table:
    """Return each of the paper's findings, the difference that it is about, and whether it holds at this scale."""
    rows = []
    for finding in table.findings:
        low, high = finding.interval or (None, None)
        shown = _points if finding.is_share else "{:+.2f}".format
        within = "" if low is None or high is None else f" ({shown(low)} to {shown(high)})"
        rows.append((finding.says, f"{shown(finding.difference)}{within}", finding.outcome))
    return Table(("finding", "difference, of shares in points", "at this scale"), rows)


def _how(table: LabTable) -> list[str]:
    """Return the seeds, the settings, and a line for each set of versions that made rows, with their number."""
    sizes = [f"Settings: {', '.join(f'{name} {value}' for name, value in table.settings.items())}."]
    made = Counter(", ".join(f"{name} {value}" for name, value in cell.versions.items()) for cell in table.cells)
    rows = [f"{count} rows of a seed with {used or 'versions that they do not tell'}." for used, count in made.items()]
    return [f"Seeds {', '.join(map(str, table.seeds))}.", *(sizes if table.settings else []), *rows]


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"


def _shown(values: Sequence[float], is_share: bool) -> str:
    if not values:
        return MISSING
    if len(values) == 1:
        return percent(values[0]) if is_share else f"{values[0]:.2f}"
    mean, low, high = fmean(values), min(values), max(values)
    if is_share:
        return f"{percent(mean)} ({100 * low:.1f} to {100 * high:.1f})"
    return f"{mean:.2f} ({low:.2f} to {high:.2f})"


def table_page(table: LabTable) -> Document:
    """Return the page of a table: its numbers, its findings, and a dot for each seed.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    drawn = {
        column.title: [table.values(row, column.key) for row in table.rows]
        for column in table.columns
        if column.is_share
    }
    seeds = f"{len(table.seeds)} seeds" if len(table.seeds) > 1 else "one seed"
    return Document(
        kind=f"{table.source}, in miniature",
        name=table.name,
        sections=[
            Chapter(
                "Results",
                f"Means over {seeds}; in brackets the smallest and the largest.",
                seed_dots(table.rows, drawn).decode(),
                shown_table(table),
            ),
            Chapter(
                "Findings",
                "The mean difference over the seeds, its 95 % interval by Student's t, and what it says.",
                table=findings_table(table),
            ),
            Chapter("What differs from the paper", lines=table.notes),
            Chapter("How it was made", lines=_how(table)),
        ],
    )
