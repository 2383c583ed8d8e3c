"""Scores made elsewhere, read as the records of a benchmark: nothing is computed, nothing is guessed."""

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from basereward.benchmarks.items import BenchmarkItem, ItemRow
from basereward.benchmarks.records import RowRecord
from basereward.data.io import read_records
from basereward.data.outcomes import LARGEST_SCORE
from basereward.errors import DataError
from basereward.evaluation.opened import Opened

FORMS = "'correct' and 'rejected' (lists), 'chosen_score' and 'rejected_score', or 'scores' (correct ones first)"


class GivenScores(NamedTuple):
    """The items that a file has scores for, and the records of their rows."""

    opened: Opened
    records: list[RowRecord]


def read_scores(path: Path, opened: Opened, partial: bool = False) -> GivenScores:
    """Return one record for each row from a JSONL, JSON or Parquet file of scores.

    A line gives the scores of one row, in the order of the benchmark's file, and names the row under ``row``, counted
    from 0, or under ``id``, where no other row has that id. Lines that name none stand for the rows in order, as many
    as there are. A score that is null fails its row with the reason ``missing_score``, one that is not finite with
    ``not_finite``.

    Args:
        partial: a file with scores of some rows alone is read, and the other rows are left out of the items.

    Raises:
        MissingFileError: no such file.
        DataError: a line without scores or with verdicts of a judge, a row twice or unknown, another id, another number
            of scores, or rows without a line unless ``partial``.
    """
    rows = {row.row: (row, number) for number, item in enumerate(opened.items) for row in item.rows}
    lines = _by_row(path, list(read_records(path)), {place: row for place, (row, _) in rows.items()})
    records = [_record(lines[place], *rows[place], f"{path}, row {place}") for place in sorted(lines)]
    if len(lines) == len(rows):
        return GivenScores(opened, records)
    if not partial:
        raise DataError(
            f"{path} has scores of {len(lines)} of the {len(rows)} rows of {opened.name}; --partial evaluates these "
            "alone, beside baselines on the same rows."
        )
    kept = dataclasses.replace(opened, items=_only(opened.items, lines), part_of=len(rows))
    return GivenScores(kept, records)


def _only(items: Sequence[BenchmarkItem], rows: Mapping[int, Any]) -> list[BenchmarkItem]:
    kept = (dataclasses.replace(item, rows=tuple(row for row in item.rows if row.row in rows)) for item in items)
    return [item for item in kept if item.rows]


def _by_row(
    path: Path, lines: Sequence[Mapping[str, Any]], rows: Mapping[int, ItemRow]
) -> dict[int, Mapping[str, Any]]:
    """Return the lines by the rows that they are of."""
    ordered = sorted(rows)
    if not any("row" in line for line in lines):
        if len(lines) == len(rows):
            return dict(zip(ordered, lines, strict=True))
        return _by_id(path, lines, rows)
    named: dict[int, Mapping[str, Any]] = {}
    for line in lines:
        row = line.get("row")
        if not isinstance(row, (int, float)) or row not in rows:
            raise DataError(f"{path} has row {row!r}, but the benchmark has rows {ordered[0]} to {ordered[-1]}.")
        if int(row) in named:
            raise DataError(f"{path} has row {row} twice.")
        named[int(row)] = line
    return named


def _by_id(path: Path, lines: Sequence[Mapping[str, Any]], rows: Mapping[int, ItemRow]) -> dict[int, Mapping[str, Any]]:
    given, known = Counter(str(line.get("id")) for line in lines), Counter(row.id for row in rows.values())
    if not all(given[name] == known[name] == 1 for name in given):
        raise DataError(
            f"{path} has {len(lines)} lines without 'row' for {len(rows)} rows; expected as many, or 'row' in each, or "
            "an 'id' in each that one row alone has."
        )
    places = {row.id: row.row for row in rows.values()}
    return {places[str(line["id"])]: line for line in lines}


def _record(line: Mapping[str, Any], row: ItemRow, number: int, place: str) -> RowRecord:
    if line.get("id") is not None and str(line["id"]) != row.id:
        raise DataError(f"{place} is of {line['id']!r}, but the benchmark has {row.id!r} there.")
    correct, rejected = _sides(line, len(row.correct), place)
    expected = (len(row.correct), len(row.rejected))
    if (len(correct), len(rejected)) != expected:
        raise DataError(
            f"{place} has {len(correct)} and {len(rejected)} scores; expected {expected[0]}, {expected[1]}."
        )
    sides = [[_number(value, place) for value in side] for side in (correct, rejected)]
    absent = any(value is None for side in sides for value in side)
    finite = [tuple(None if value is None or not _is_finite(value) else value for value in side) for side in sides]
    broken = [value for side in finite for value in side].count(None)
    failure = _text(line, "failure", place) or ("missing_score" if absent else "not_finite" if broken else None)
    message = _text(line, "failure_message", place) or (f"{place} lacks a finite score." if failure else None)
    said = (row.row, row.id, row.subset, number, finite[0], finite[1], failure, message, row.first)
    return RowRecord(*said, tied=row.tied)


def _sides(line: Mapping[str, Any], split: int, place: str) -> tuple[list[Any], list[Any]]:
    if "judged" in line:
        raise DataError(f"{place} holds verdicts of a judge, which are no scores; evaluate the judge itself.")
    if "correct" in line and "rejected" in line:
        return _several(line["correct"]), _several(line["rejected"])
    if "chosen_score" in line and "rejected_score" in line:
        return [line["chosen_score"]], [line["rejected_score"]]
    if isinstance(line.get("scores"), list):
        return line["scores"][:split], line["scores"][split:]
    raise DataError(f"{place} has the keys {', '.join(line)}; expected {FORMS}.")


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def _is_finite(value: float) -> bool:
    # As rewards are: their differences are finite too. NaN is not within anything.
    return abs(value) <= LARGEST_SCORE


def _number(value: Any, place: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise DataError(f"{place} has the score {json.dumps(value, default=str)[:60]}; expected a number or null.")
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _text(line: Mapping[str, Any], name: str, place: str) -> str | None:
    value = line.get(name)
    if value is not None and not isinstance(value, str):
        raise DataError(f"{place} has the {name} {json.dumps(value, default=str)[:60]}; expected a text or null.")
    return value
