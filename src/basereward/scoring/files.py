"""Scores a file of rows: the same rows plus scores, in order; interrupted work goes on where it stopped."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from basereward.data.images import pack_images
from basereward.data.schema import (
    Comparison,
    Response,
    ResponseGroup,
    count_parts,
    parse_messages,
    parse_pair,
    response_id,
)
from basereward.errors import DataError, MissingFileError, RowError
from basereward.scoring.interface import Failure, Score, Scorer

SUFFIXES = (".jsonl", ".parquet")
BATCH_ROWS = 64


class ScoredFile(NamedTuple):
    """How many rows were scored, and how many have an error."""

    rows: int
    failed: int


class _Task(NamedTuple):
    groups: tuple[ResponseGroup, ...]
    pair: Comparison | None


def score_file(
    scorer: Scorer, source: Path, target: Path, on_progress: Callable[[int], None] = lambda rows: None
) -> ScoredFile:
    """Score every row of a JSONL or Parquet file.

    A row is a canonical pair, which gains ``chosen_score`` and ``rejected_score``, or has ``prompt``, ``responses``
    (texts or message lists) and ``images``, and gains ``scores``. A row that cannot be scored keeps its place, with
    the reason in ``error``. Scores are kept beside the target until all are there; the same call goes on from them.

    Raises:
        MissingFileError: no such file.
        DataError: another file format, a broken file, or scores of another model or file beside the target.
    """
    for path in (source, target):
        if path.suffix not in SUFFIXES:
            raise DataError(f"Found {path.name!r}, expected a file that ends in {' or '.join(SUFFIXES)}.")
    partial = target.with_name(target.name + ".partial")
    identity = {"model": scorer.name, "source": str(source.resolve()), "bytes": _size(source)}
    done = _open_partial(partial, identity)
    rows = islice(read_raw(source), done, None)
    with partial.open("a") as out:
        while batch := list(islice(rows, BATCH_ROWS)):
            for scored in _score_rows(scorer, batch, source.parent):
                out.write(json.dumps(scored) + "\n")
            out.flush()
            done += len(batch)
            on_progress(done)
    return _finish(source, target, partial)


def read_raw(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a JSONL or Parquet file as they are.

    Raises:
        DataError: a line is not a JSON object; it is named.
    """
    if path.suffix == ".parquet":
        for batch in pq.ParquetFile(path).iter_batches(BATCH_ROWS):
            yield from batch.to_pylist()
        return
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _parse_line(line, path, number)


def count_rows(path: Path) -> int:
    """Count the rows of a JSONL or Parquet file without parsing them."""
    if path.suffix == ".parquet":
        return pq.ParquetFile(path).metadata.num_rows
    with path.open("rb") as lines:
        return sum(bool(line.strip()) for line in lines)


def _parse_line(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {number} is not JSON: {error}.") from error
    if not isinstance(row, dict):
        raise DataError(f"{path}, line {number}: expected a JSON object, found {type(row).__name__}.")
    return row


def _size(source: Path) -> int:
    if not source.is_file():
        raise MissingFileError(f"There is no file {source}.")
    return source.stat().st_size


def _open_partial(partial: Path, identity: Mapping[str, Any]) -> int:
    """Check that earlier scores belong to this call, cut a torn last line, and return how many there are."""
    if not partial.exists():
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(identity) + "\n")
        return 0
    lines = partial.read_text().split("\n")[:-1]
    if not lines or json.loads(lines[0]) != identity:
        raise DataError(f"{partial} holds scores of another model or file; delete it to start anew.")
    partial.write_text("".join(line + "\n" for line in lines))
    return len(lines) - 1


def _score_rows(scorer: Scorer, rows: Sequence[Mapping[str, Any]], folder: Path) -> Iterator[dict[str, Any]]:
    tasks = [_task(row, folder, number) for number, row in enumerate(rows)]
    groups = [group for task in tasks if isinstance(task, _Task) for group in task.groups]
    scores = iter(scorer.score(groups))
    for task in tasks:
        if isinstance(task, RowError):
            yield {"error": f"{task.reason}: {task}"}
        else:
            yield _columns(task, [score for _ in task.groups for score in next(scores)])


def _task(row: Mapping[str, Any], folder: Path, number: int) -> "_Task | RowError":
    try:
        images = pack_images(row.get("images"), folder)
        if "responses" in row:
            return _Task((_group(row, images, number),), None)
        comparison = parse_pair({**row, "images": images}, fallback_id=str(number)).comparison()
        return _Task(comparison.groups, comparison)
    except RowError as error:
        return error


def _group(row: Mapping[str, Any], images: Sequence[Any], number: int) -> ResponseGroup:
    name = str(row.get("id") or number)
    prompt = parse_messages(row.get("prompt"), "user")
    answers = [parse_messages(answer, "assistant") for answer in row["responses"] or ()]
    if count_parts(prompt, "image") != len(images):
        raise RowError(
            "placeholder_count",
            f"Row {name!r} has {count_parts(prompt, 'image')} image parts and {len(images)} images.",
        )
    return ResponseGroup(
        name, prompt, tuple(Response(response_id(name, answer), answer) for answer in answers), tuple(images)
    )


def _columns(task: _Task, scores: Sequence[Score]) -> dict[str, Any]:
    values = [None if isinstance(score, Failure) else score for score in scores]
    failures = [f"{score.reason}: {score.message}" for score in scores if isinstance(score, Failure)]
    error = "; ".join(dict.fromkeys(failures)) or None
    if task.pair is None:
        return {"scores": values, "error": error}
    return {"chosen_score": values[task.pair.chosen], "rejected_score": values[task.pair.rejected], "error": error}


def _finish(source: Path, target: Path, partial: Path) -> ScoredFile:
    """Join rows and scores under a temporary name, rename, and drop the partial file."""
    temporary = target.with_name(f".{target.name}")
    counted = [0, 0]

    def joined() -> Iterator[dict[str, Any]]:
        with partial.open() as lines:
            next(lines)
            for row, line in zip(read_raw(source), lines, strict=True):
                scored = json.loads(line)
                counted[0] += 1
                counted[1] += scored.get("error") is not None
                yield row | scored

    if target.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(joined())), temporary)
    else:
        with temporary.open("w", encoding="utf-8") as out:
            out.writelines(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in joined())
    temporary.replace(target)
    partial.unlink()
    return ScoredFile(*counted)
