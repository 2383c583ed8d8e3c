"""The files of an evaluation: ``records.jsonl`` and ``result.json``, complete or not there at all.

While an evaluation runs, its records grow in ``records.partial.jsonl``; the other two appear when all pairs
are done, and the partial file goes away.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from basereward.errors import DataError, MissingFileError
from basereward.evaluation.pairs import PairEvaluation, PairRecord

RECORDS, PARTIAL_RECORDS, RESULT = "records.jsonl", "records.partial.jsonl", "result.json"


def write_text(path: Path, text: str) -> None:
    """Write a file under a temporary name and rename it, so that no reader sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    # A lone surrogate of a broken data set must not stop a report at its last line.
    temporary.write_text(text, encoding="utf-8", errors="replace")
    temporary.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write one JSON value atomically.

    Raises:
        DataError: the value holds NaN or infinity, which JSON has no word for.
    """
    write_text(path, _dump(value, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """Read one JSON value.

    Raises:
        MissingFileError: no such file.
        DataError: not JSON.
    """
    if not path.is_file():
        raise MissingFileError(f"There is no file {path}.")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is not JSON: {error}.") from error


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read one JSON object a line; a last line that a crash cut off is left out.

    Raises:
        MissingFileError: no such file.
        DataError: a line, other than a cut-off last one, is not a JSON object.
    """
    if not path.is_file():
        raise MissingFileError(f"There is no file {path}.")
    # Not splitlines(), which also splits at characters that may stand inside a JSON string.
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):
                break
            raise DataError(f"{path}, line {number} is not JSON: {error}.") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: expected a JSON object, found {line[:60]}.")
        rows.append(row)
    return rows


def append_records(folder: Path, records: Sequence[PairRecord]) -> None:
    """Add the records of one batch to the partial file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / PARTIAL_RECORDS
    _cut_back(path)
    with path.open("a", encoding="utf-8") as file:
        file.write(_lines(records))


def write_records(folder: Path, records: Iterable[PairRecord]) -> None:
    """Write ``records.jsonl`` atomically and remove the partial file."""
    write_text(folder / RECORDS, _lines(records))
    (folder / PARTIAL_RECORDS).unlink(missing_ok=True)


def write_evaluation(folder: Path, evaluation: PairEvaluation) -> None:
    """Write ``records.jsonl`` and then ``result.json``, each atomically."""
    write_records(folder, evaluation.records)
    write_json(folder / RESULT, evaluation.summary)


def read_records(folder: Path) -> list[PairRecord]:
    """Read the records of a folder by row, finished or not; a partial file's records replace older ones.

    Raises:
        DataError: a line is not a record.
    """
    records: dict[int, PairRecord] = {}
    for path in (folder / RECORDS, folder / PARTIAL_RECORDS):
        try:
            found = [PairRecord(**row) for row in read_jsonl(path)] if path.is_file() else []
        except TypeError as error:
            raise DataError(f"{path} has a line that is not a record of a pair: {error}.") from error
        records.update((record.row, record) for record in found)
    return [records[row] for row in sorted(records)]


def _cut_back(path: Path) -> None:
    """Remove a half-written last line, which would swallow the next record."""
    if path.is_file() and not (content := path.read_bytes()).endswith(b"\n"):
        path.write_bytes(content[: content.rfind(b"\n") + 1])


def _lines(records: Iterable[PairRecord]) -> str:
    return "".join(_dump(record.to_dict()) + "\n" for record in records)


def _dump(value: Any, indent: int | None = None) -> str:
    try:
        return json.dumps(value, allow_nan=False, indent=indent)
    except ValueError as error:
        raise DataError(f"NaN and infinity cannot be written as JSON: {error}.") from error
