"""Scores a file of rows: the same rows plus scores, in order; interrupted work goes on where it stopped."""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from basereward.data.arrangement import ReadOptions
from basereward.data.identity import Identity
from basereward.data.io import count_records, read_records, replacing, write_lines
from basereward.data.partial import PartialRecords
from basereward.data.places import open_place
from basereward.data.progress import Progress, no_progress
from basereward.data.reader import Recognised, open_reader
from basereward.data.work import Work, open_work
from basereward.errors import DataError
from basereward.scoring.interface import Scorer
from basereward.scoring.rows import check_suffix, rebase, table_schema, write_parquet
from basereward.scoring.tasks import BATCH_ROWS, RecordTasks, error_text, score_rows


class ScoredFile(NamedTuple):
    """How many rows were scored, and how many have an error."""

    rows: int
    failed: int


def score_file(
    scorer: Scorer,
    source: Path,
    target: Path,
    on_progress: Progress = no_progress,
    settings: Mapping[str, Any] | None = None,
    options: ReadOptions | None = None,
    on_recognised: Callable[[Recognised], None] = Recognised.say,
) -> ScoredFile:
    """Score every row of a file of records.

    A row is a pair in any format that the reader knows, which gains ``chosen_score`` and ``rejected_score`` (and
    ``scores`` where records give several pairs), or has ``prompt``, ``responses`` (texts or message lists) and
    ``images``, and gains ``scores`` and ``best``, the place of the highest. Relative paths of images are rewritten if
    the target lies in another folder. Of a scorer that writes, critiques stand beside the scores. A row that cannot be
    scored keeps its place, with the reason in ``error``. The target appears when all rows have their scores, which
    until then are kept by row in ``TARGET.partial``; the same call goes on from them.

    Args:
        on_progress: called with the number of rows done, those of an earlier call included, and of all rows.
        settings: what else than the scorer's name decides a score, such as its dtype; scores of others are not mixed.
        options: how records are read that do not say it by themselves.
        on_recognised: called with what the file was recognised as.

    Raises:
        MissingFileError: no such file.
        DataError: another file format, a broken file, a misspelt column or one that a score would replace.
        WorkError: another process writes the target, or scores of another model, settings or file stand beside it.
    """
    with open_work(target) as work:
        tasks = _open_tasks(source, options, on_recognised, scorer.about.writes)
        _check_files(source, target, tasks)
        settings = {**(settings or {}), "read": options.model_dump(mode="json")} if options else settings
        identity = _identity(scorer, source, settings)
        work.claim(identity)
        total = count_records(source)
        records = work.records(total)
        missing = ((number, row) for number, row in enumerate(read_records(source)) if number not in records)
        while batch := dict(islice(missing, BATCH_ROWS)):
            scored = zip(batch, score_rows(scorer, batch, tasks), strict=True)
            records.add([{"row": row, **own, "error": error_text(own["error"])} for row, own in scored])
            on_progress(len(records), total)
        if _identity(scorer, source, settings) != identity:
            raise DataError(f"{source} changed while it was scored; delete {work.folder} and start anew.")
        return _finish(source, work, records, tasks)


def _open_tasks(
    source: Path, options: ReadOptions | None, on_recognised: Callable[[Recognised], None], writes: bool
) -> RecordTasks:
    if not count_records(source):
        return RecordTasks(None, source.parent, writes)
    reader = open_reader(read_records(source), str(source), options, groups=True)
    on_recognised(reader.recognised)
    return RecordTasks(reader, source.parent, writes)


def _check_files(source: Path, target: Path, tasks: RecordTasks) -> None:
    """Find what would go wrong at the end before anything is scored."""
    check_suffix(target)
    if target.resolve() == source.resolve():
        raise DataError(f"The scores of {source} would replace it; choose another file.")
    if target.suffix == ".parquet" or source.suffix == ".parquet":
        tasks.check_names(dict.fromkeys(table_schema(source).names), str(source))
    if source.suffix != ".parquet":
        seen: set[frozenset[str]] = set()
        for number, row in enumerate(read_records(source)):
            if (names := frozenset(row)) not in seen:
                seen.add(names)
                tasks.check_names(row, f"{source}, row {number}")


def _identity(scorer: Scorer, source: Path, settings: Mapping[str, Any] | None) -> Identity:
    # The folder belongs to it, because paths of images are relative to it.
    return Identity(
        task="score",
        inputs=(open_place(source).describe(),),
        weights={"name": scorer.about.name, **scorer.about.facts},
        settings={**(settings or {}), "folder": str(source.parent.resolve())},
    )


def _finish(source: Path, work: Work, records: PartialRecords, tasks: RecordTasks) -> ScoredFile:
    """Join rows and scores under a temporary name, rename, and drop the partial records."""
    rows = failed = 0
    here = work.target.parent

    def added() -> Iterator[dict[str, Any]]:
        nonlocal rows, failed
        for scored in records.complete():
            rows += 1
            failed += scored["error"] is not None
            yield {name: value for name, value in scored.items() if name != "row"}

    with replacing(work.target) as temporary:
        if work.target.suffix == ".parquet":
            write_parquet(source, added(), tasks.types(table_schema(source).names), temporary, here)
        else:
            joined = zip(read_records(source), added(), strict=True)
            is_moved = source.parent.resolve() != here.resolve()
            write_lines(
                temporary,
                ((rebase(row, source.parent, here) if is_moved else row) | scored for row, scored in joined),
            )
    work.discard()
    return ScoredFile(rows, failed)
