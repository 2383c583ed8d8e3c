"""A policy on the benchmarks of Table 11, beside the rows that the paper prints."""

from basereward.benchmarks.published.tables import published_cells
from basereward.reporting.tables import MISSING, Table
from basereward.rl.policy.benchmarks import BENCHMARKS, TABLE, UNKNOWN_COLUMN
from basereward.rl.policy.results import PolicyResult


def policy_table(result: PolicyResult) -> Table:
    """Return the columns of Table 11: the policy first, then the paper's rows."""
    cells = [cell for cell in published_cells() if cell.table == TABLE]
    columns = tuple(dict.fromkeys(cell.column for cell in cells))
    own = {score.column: f"{score.value:.1f}" for score in result.scores}
    rows = [(result.policy, *(own.get(column, MISSING) for column in columns))]
    for name in dict.fromkeys(cell.row for cell in cells):
        printed = {cell.column: cell.printed for cell in cells if cell.row == name}
        rows.append((f"{name} (paper)", *(printed.get(column, MISSING) for column in columns)))
    return Table(("", *columns), rows)


def policy_lines(result: PolicyResult) -> list[str]:
    """Return what must be known to read the numbers, and why others are missing."""
    notes: dict[str, list[str]] = {}
    for score in result.scores:
        for note in (*score.notes, *([f"judged by {score.judge}"] if score.judge else [])):
            notes.setdefault(note, []).append(score.column)
    lines = [f"{', '.join(dict.fromkeys(columns))}: {note}" for note, columns in notes.items()]
    lines += [f"{BENCHMARKS[name].title}: missing, {why}." for name, why in result.missing.items()]
    return [*lines, f"{UNKNOWN_COLUMN}: unknown, the paper names no benchmark for it."]
