"""The files of an evaluation: ``records.jsonl`` and ``result.json``, complete or not there at all.

While an evaluation runs, its records grow in ``records.partial.jsonl``; the other two appear when all pairs
are done, and the partial file goes away. ``records.partial.json`` beside it says whose records they are.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from basereward.errors import DataError, MissingFileError
from basereward.evaluation.pairs import PairEvaluation, PairRecord

RECORDS, PARTIAL_RECORDS, RESULT = "records.jsonl", "records.partial.jsonl", "result.json"
PARTIAL_IDENTITY = "records.partial.json"

_FIELDS = {field.name for field in fields(PairRecord)}


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


def open_partial(folder: Path, identity: Mapping[str, Any], resume: bool = False) -> list[PairRecord]:
    """Start the partial file of an evaluation, or go on with it; return its scored records.

    Args:
        identity: whose records they are, as plain JSON values.
        resume: keep what an interrupted call left; without it nothing is kept.

    Raises:
        DataError: the partial file is of another identity.
    """
    partial, owner = folder / PARTIAL_RECORDS, folder / PARTIAL_IDENTITY
    if not (resume and partial.is_file()):
        _remove_partial(folder)
        write_json(owner, identity)
        return []
    found = read_json(owner) if owner.is_file() else None
    if found != identity:
        raise DataError(
            f"{partial} holds records of {found}, but this is {dict(identity)}; evaluate into another folder, or "
            "without resuming."
        )
    records = {record.row: record for record in _read(partial)}
    return [records[row] for row in sorted(records) if records[row].failure is None]


def append_records(folder: Path, records: Sequence[PairRecord]) -> None:
    """Add the records of one batch to the partial file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / PARTIAL_RECORDS
    _cut_back(path)
    with path.open("a", encoding="utf-8") as file:
        file.write(_lines(records))


def write_records(folder: Path, records: Iterable[PairRecord]) -> None:
    """Write ``records.jsonl`` atomically and remove the partial files."""
    write_text(folder / RECORDS, _lines(records))
    _remove_partial(folder)


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
        records.update((record.row, record) for record in _read(path))
    return [records[row] for row in sorted(records)]


def _read(path: Path) -> list[PairRecord]:
    try:
        rows = read_jsonl(path) if path.is_file() else []
        # Records of a benchmark say more than those of a pair.
        return [PairRecord(**{key: value for key, value in row.items() if key in _FIELDS}) for row in rows]
    except TypeError as error:
        raise DataError(f"{path} has a line that is not a record of a pair: {error}.") from error


def _remove_partial(folder: Path) -> None:
    for name in (PARTIAL_RECORDS, PARTIAL_IDENTITY):
        (folder / name).unlink(missing_ok=True)


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
