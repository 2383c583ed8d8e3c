"""Features of responses from a model: hidden states of chosen and rejected, in the file that ``label_noise`` reads.

The reward of a response is the head's value at its hidden state; models as cheap as a linear one can be fitted on the
same state. Until all rows are done, ``OUT.partial`` holds their records and, in ``states``, the features, so that
memory does not grow with the rows and interrupted work goes on.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np

from basereward.data.identity import Identity
from basereward.data.io import replacing
from basereward.data.outcomes import Failure
from basereward.data.partial import PartialRecords
from basereward.data.places import iterate_rows
from basereward.data.progress import Progress, no_progress
from basereward.data.schema import Comparison
from basereward.data.validation import parse_row
from basereward.data.work import Work, open_work
from basereward.errors import DataError, RowError
from basereward.scoring.files import BATCH_ROWS
from basereward.scoring.interface import failure_of
from basereward.scoring.local import LocalScorer
from basereward.scoring.projection import draw_projection
from basereward.scoring.rows import batched

DIMENSIONS = 256


class WrittenFeatures(NamedTuple):
    """How many rows there were, the features of a response, and why rows have none: counts and first messages."""

    rows: int
    written: int
    dimensions: int
    failed: dict[str, int]
    examples: dict[str, str]


def write_features(
    scorer: LocalScorer,
    rows: datasets.Dataset,
    target: Path,
    dimensions: int = DIMENSIONS,
    seed: int = 0,
    on_progress: Progress = no_progress,
) -> WrittenFeatures:
    """Write ``id`` [n], ``chosen`` [n, d] and ``rejected`` [n, d], float32, of the rows that can be computed.

    Args:
        scorer: its model computes; the head is not used.
        rows: a dataset of ``read_rows``.
        target: the ``.npz`` file.
        dimensions: states that are wider are projected, see ``draw_projection``; 0 keeps them whole.
        seed: of the projection.
        on_progress: called with the number of rows done, those of an earlier call included, and of all rows.

    Raises:
        DataError: another suffix, or no row that can be computed.
        WorkError: another process writes the target, or features of another model, other rows or settings stand
            beside it.
    """
    if target.suffix != ".npz":
        raise DataError(f"Found {target.name!r}, expected a file that ends in .npz.")
    width = scorer.model.config.get_text_config().hidden_size
    projection = draw_projection(width, dimensions, seed) if 0 < dimensions < width else None
    size = width if projection is None else dimensions
    drawn = {"rows": rows._fingerprint, "dimensions": size, "seed": seed if projection is not None else None}
    with open_work(target) as work:
        work.claim(Identity(task="features", weights={"name": scorer.name, **scorer.about.facts}, settings=drawn))
        records = work.records(len(rows))
        # Rows are done in order, and their states are flushed in front of their records.
        done, states = len(records), work.folder / "states"
        _cut(states, sum(record["error"] is None for record in records) * 2 * size * 4)
        with states.open("ab") as found:
            for batch in batched(iterate_rows(rows.select(range(done, len(rows)))), BATCH_ROWS):
                outcomes = list(_pair_states(scorer, batch, done))
                good = [outcome for outcome in outcomes if not isinstance(outcome, Failure)]
                found.write(_project(good, projection).tobytes())
                found.flush()
                records.add(map(_record, range(done, done + len(batch)), batch, outcomes))
                done += len(batch)
                on_progress(done, len(rows))
        return _finish(work, records, states, size)


def _pair_states(
    scorer: LocalScorer, rows: Sequence[Mapping[str, Any]], first: int
) -> Iterator[tuple[np.ndarray, np.ndarray] | Failure]:
    """Yield the hidden states of chosen and rejected, or the failure, of each row."""
    tasks = [_task(row, number) for number, row in enumerate(rows, first)]
    groups = [group for task in tasks if isinstance(task, Comparison) for group in task.groups]
    states = iter(scorer.hidden_states(groups))
    for task in tasks:
        if isinstance(task, Failure):
            yield task
            continue
        own = [state for _ in task.groups for state in next(states)]
        chosen, rejected = own[task.chosen], own[task.rejected]
        if isinstance(chosen, Failure):
            yield chosen
        elif isinstance(rejected, Failure):
            yield rejected
        else:
            yield chosen, rejected


def _task(row: Mapping[str, Any], number: int) -> Comparison | Failure:
    try:
        return parse_row(row, number).comparison()
    except RowError as error:
        return failure_of(error)


def _project(states: Sequence[tuple[np.ndarray, np.ndarray]], projection: np.ndarray | None) -> np.ndarray:
    whole = np.array(states, dtype=np.float32)
    return whole if projection is None or not len(whole) else whole @ projection


def _record(number: int, row: Mapping[str, Any], outcome: tuple[np.ndarray, np.ndarray] | Failure) -> dict[str, Any]:
    error, message = (outcome.reason, outcome.message) if isinstance(outcome, Failure) else (None, None)
    return {"row": number, "id": row["id"], "error": error, "message": message}


def _cut(states: Path, size: int) -> None:
    """Cut what was written for rows that count as not done."""
    with states.open("ab") as file:
        if file.tell() < size:
            raise DataError(f"{states} holds {file.tell()} bytes, expected {size}; delete {states.parent}.")
        file.truncate(size)


def _finish(work: Work, records: PartialRecords, states: Path, size: int) -> WrittenFeatures:
    """Write the target whole, and drop the unfinished work."""
    names: list[str] = []
    failed: dict[str, int] = {}
    examples: dict[str, str] = {}
    for record in records.complete():
        if (reason := record["error"]) is None:
            names.append(record["id"])
        else:
            failed[reason] = failed.get(reason, 0) + 1
            examples.setdefault(reason, record["message"])
    if names:
        found = np.memmap(states, np.float32, "r", shape=(len(names), 2, size))
        with replacing(work.target) as temporary, temporary.open("wb") as file:
            np.savez(file, id=np.array(names), chosen=found[:, 0], rejected=found[:, 1])
    work.discard()
    if not names:
        why = "; ".join(f"{reason} {count}: {examples[reason]}" for reason, count in failed.items())
        raise DataError(f"None of {sum(failed.values())} rows has features ({why}).")
    return WrittenFeatures(len(names) + sum(failed.values()), len(names), size, failed, examples)
