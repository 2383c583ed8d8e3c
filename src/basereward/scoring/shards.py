"""Shards of scores: how one slice of records becomes one Parquet file, the same whoever computes it."""

import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from basereward.data.arrangement import ReadOptions
from basereward.data.outcomes import Failure
from basereward.data.places import Place, open_place
from basereward.data.progress import Progress, no_progress
from basereward.data.reader import Recognised, open_reader
from basereward.data.slices import FileSlice, read_slice
from basereward.errors import DataError, ScoringError
from basereward.scoring.interface import Scorer
from basereward.scoring.model_spec import ModelSpec
from basereward.scoring.tasks import BATCH_ROWS, RecordTasks, added_types, score_rows

ERROR_TYPE = pa.struct({"reason": pa.string(), "message": pa.string()})
NAME_TYPES = pa.schema([pa.field("record_id", pa.string(), nullable=False), pa.field("id", pa.string())])
OpenScorer = Callable[[ModelSpec], Scorer]


class ShardTask(NamedTuple):
    """One shard of a job: its number, what is scored, what its file calls the input, and where the file goes."""

    number: int
    piece: FileSlice
    name: str
    path: Path


class ScoringJob(NamedTuple):
    """What every process of a job knows; it travels to each of them.

    Args:
        member: the model and how it runs.
        source: where the records lie.
        options: how they are read that do not say it by themselves.
        working_folder: in which relative names are meant.
        threads: of the CPU, for one process.
    """

    member: ModelSpec
    source: str
    options: ReadOptions
    working_folder: Path
    threads: int

    def open_scorer(self, open_spec: OpenScorer) -> Scorer:
        """Return the scorer of the job, in this process, with its number of threads."""
        # Another machine may not have it; absolute names need none.
        if Path.cwd() != self.working_folder and self.working_folder.is_dir():
            os.chdir(self.working_folder)
        scorer = open_spec(self.member)
        if torch := sys.modules.get("torch"):
            # The order in which threads add up decides the last bits: as many wherever the job runs.
            torch.set_num_threads(self.threads)
        return scorer

    def tasks(
        self, place: Place, on_recognised: Callable[[Recognised], None] = lambda _: None, writes: bool = False
    ) -> RecordTasks:
        """Return what turns the records of the job into tasks; its reader has seen no more than the first of them.

        Args:
            place: where they lie.
            on_recognised: called with what they were recognised as.
            writes: the scores hold texts.

        Raises:
            DataError: as ``open_reader``.
        """
        reader = open_reader(place.records(), place.name, self.options, groups=True)
        on_recognised(reader.recognised)
        return RecordTasks(reader, place.folder, writes)


def shard_schema(writes: bool) -> pa.Schema:
    """Return the columns of every shard of a job.

    Args:
        writes: the scores hold texts.
    """
    scores = (field for field in added_types(writes) if field.name != "error")
    return pa.schema([*NAME_TYPES, *scores, pa.field("error", ERROR_TYPE)])


def scorer_facts(scorer: Scorer, threads: int) -> dict[str, Any]:
    """Return what of a scorer decides its scores; on a CPU threads do, by their last bits."""
    identity = scorer.about.facts
    return {"name": scorer.about.name, **identity, **({"threads": threads} if _on_cpu(identity) else {})}


def _on_cpu(facts: Any) -> bool:
    """Return whether a model, or one that it is composed of, runs on a CPU."""
    return isinstance(facts, Mapping) and (facts.get("device") == "cpu" or any(map(_on_cpu, facts.values())))


class ShardScorer:
    """Scores shards of a job in this process, one after the other; the model is loaded once.

    Args:
        job: the job.
        open_spec: opens its model.
        weights: the facts of the scorer that the job began with; None where this process begins it.

    Raises:
        ScoringError: the model opens with other weights or libraries than the job began with.
    """

    def __init__(self, job: ScoringJob, open_spec: OpenScorer, weights: Mapping[str, Any] | None = None) -> None:
        self.job = job
        self.scorer = job.open_scorer(open_spec)
        self.weights = scorer_facts(self.scorer, job.threads)
        self._place = open_place(job.source)
        if weights is not None and weights != self.weights:
            unlike = [name for name in {**weights, **self.weights} if weights.get(name) != self.weights.get(name)]
            raise ScoringError(
                f"On {socket.gethostname()} the model has another {', '.join(unlike)} than where the job began; give "
                "every worker the same files, libraries and kind of device."
            )

    def write(self, task: ShardTask, on_rows: Progress = no_progress) -> None:
        """Score the rows of a shard and write its file, which appears complete; one that is there already stays.

        Raises:
            DataError: the input has changed, or has a column that looks like a misspelt one.
        """
        # A reader remembers the columns that it has seen: a fresh one, so that no shard depends on others before it.
        writes = self.scorer.about.writes
        tasks = self.job.tasks(self._place, writes=writes)
        rows = enumerate(read_slice(task.piece), task.piece.first)
        scored: list[dict[str, Any]] = []
        seen: set[frozenset[str]] = set()
        while batch := dict(islice(rows, BATCH_ROWS)):
            for number, row in batch.items():
                if (names := frozenset(row)) not in seen:
                    seen.add(names)
                    tasks.check_spelling(row, f"{task.name}, row {number}")
            columns = score_rows(self.scorer, batch, tasks)
            for (number, row), own in zip(batch.items(), columns, strict=True):
                name = None if row.get("id") is None else str(row["id"])
                scored.append({"record_id": f"{task.name}:{number}", "id": name, **own, "error": _error(own["error"])})
            on_rows(len(scored), task.piece.rows)
        _write_once(pa.Table.from_pylist(scored, shard_schema(writes)), task.path)


def check_first_records(plan: Sequence[ShardTask], tasks: RecordTasks) -> None:
    """Refuse misspelt columns in the first record of each file, before anything is scored.

    Raises:
        DataError: there is one.
    """
    for task in plan:
        if task.piece.first == 0:
            for record in islice(read_slice(task.piece), 1):
                tasks.check_spelling(record, task.name)


def _error(failures: tuple[Failure, ...]) -> dict[str, str] | None:
    """Return the reason of the first failure and what all of them say."""
    if not failures:
        return None
    return {"reason": failures[0].reason, "message": "; ".join(dict.fromkeys(one.message for one in failures))}


def _write_once(table: pa.Table, path: Path) -> None:
    """Write a file beside its folder and give it its name there, unless it has been written meanwhile.

    The folder is that of one identity and is made by the one who leads the job. So a worker that has outlived its job
    can only give what is missing there, and finds no folder where the job is done or another one stands.
    """
    temporary = path.parent.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            pq.write_table(table, file)
            file.flush()
            os.fsync(file.fileno())
        _link(temporary, path)
    except FileNotFoundError as error:
        raise DataError(f"{path.parent} is gone: the job is done or was started anew by another process.") from error
    finally:
        temporary.unlink(missing_ok=True)


def _link(temporary: Path, path: Path) -> None:
    try:
        # Unlike a rename it leaves a file that is there: what was once seen complete never changes.
        os.link(temporary, path)
    except FileExistsError:
        return
    except FileNotFoundError:
        raise
    except OSError:
        # A file system without hard links.
        temporary.replace(path)
