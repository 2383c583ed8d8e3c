"""A finished evaluation, read again from its folder."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from basereward.benchmarks.records import RowRecord, parse_record
from basereward.data.io import read_records
from basereward.errors import DataError, MissingFileError
from basereward.evaluation.result import FORMAT, RECORDS, RESULT, Result

# What older versions wrote under these keys, and nothing else that is called result.json has.
_OLD_KEYS = {"benchmark", "scorer", "evaluations"}


@dataclass(frozen=True, slots=True)
class EvaluationRun:
    """The finished evaluation of one scorer or judge on one benchmark or file of pairs."""

    folder: Path
    result: Result
    records: tuple[RowRecord, ...]


def holds_evaluation(folder: Path) -> bool:
    """Return whether a folder holds the result of an evaluation, as against another one.

    Raises:
        DataError: it holds one that an older version wrote; says what to do.
    """
    result = read_facts(folder / RESULT)
    if isinstance(result, dict) and "format" not in result and result.keys() >= _OLD_KEYS:
        raise DataError(
            f"{folder / RESULT} was written by an older version of basereward. Evaluate again with --overwrite; scores "
            f"need no model: --from-scores {folder / RECORDS} --bench {result['benchmark']} --out ELSEWHERE."
        )
    return isinstance(result, dict) and result.get("format") == FORMAT


def read_facts(path: Path) -> Any:
    """Return the JSON value of a file, None without one.

    Raises:
        DataError: not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}.") from error


def read_evaluation(folder: Path) -> EvaluationRun:
    """Read a finished evaluation.

    Raises:
        MissingFileError: no such folder, or its result or records are missing.
        DataError: it holds no evaluation, a file is not what its name says, or records are missing.
    """
    if not folder.is_dir():
        raise MissingFileError(f"There is no folder {folder}; expected one that train, rl, eval or forecast wrote.")
    if not holds_evaluation(folder):
        raise DataError(
            f"{folder} holds no {RESULT} of an evaluation; `basereward eval MODEL --bench NAME` writes one."
        )
    try:
        result = Result.model_validate_json((folder / RESULT).read_text(encoding="utf-8"))
    except ValidationError as error:
        raise DataError(f"{folder / RESULT} is not what this version writes: {error}.") from error
    records = tuple(map(parse_record, read_records(folder / RECORDS)))
    if len(records) != result.n:
        raise DataError(f"{folder / RECORDS} has {len(records)} records, but {RESULT} is of {result.n} rows.")
    return EvaluationRun(folder, result, records)


def evaluation_folders(folder: Path) -> list[Path]:
    """Return the folders of evaluations: the folder itself if it is one, else those directly inside, by name.

    Raises:
        MissingFileError: no such folder.
        DataError: an older version wrote one of them.
    """
    if not folder.is_dir():
        raise MissingFileError(f"There is no folder {folder}; expected one that train, rl, eval or forecast wrote.")
    if holds_evaluation(folder):
        return [folder]
    return sorted(inner for inner in folder.iterdir() if inner.is_dir() and holds_evaluation(inner))


def by_benchmark(runs: Iterable[EvaluationRun]) -> dict[str, EvaluationRun]:
    """Return runs by the names of their benchmarks.

    Raises:
        DataError: two are of one benchmark.
    """
    named: dict[str, EvaluationRun] = {}
    for run in runs:
        if (other := named.setdefault(run.result.benchmark, run)) is not run:
            raise DataError(
                f"{other.folder} and {run.folder} both hold {run.result.benchmark}; name one of them, or move it "
                "elsewhere."
            )
    return named
