"""The folder of an evaluation: records that grow while it runs, and files that appear when it is done.

A folder that holds something is neither overwritten nor asked again, unless that is asked for.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from basereward.benchmarks.records import RowRecord, dump_record, parse_record
from basereward.data.identity import Identity, WorkInput, differences
from basereward.data.io import replacing, write_json, write_lines
from basereward.data.outcomes import About
from basereward.data.work import IDENTITY, Work, open_work
from basereward.data.work import RECORDS as PARTIAL_RECORDS
from basereward.errors import WorkError
from basereward.evaluation.result import ITEMS, RECORDS, RESULT, Result
from basereward.evaluation.runs import holds_evaluation, read_evaluation

# What another version, or another number of workers, does not change.
MAY_CHANGE = ("versions",)


class Store:
    """The records of an evaluation: ``known`` are those of earlier calls by row, without failed ones.

    Args:
        known: those of a finished evaluation; of an unfinished one they are read here.
    """

    def __init__(self, work: Work, known: dict[int, RowRecord]) -> None:
        self.folder = work.target
        self._partial = work.records(is_done=lambda record: record["failure"] is None)
        self.known = known | {record.row: record for record in map(parse_record, self._partial)}

    def add(self, records: Iterable[RowRecord]) -> None:
        """Keep records, so that an interrupted call can go on behind them."""
        self._partial.add(map(dump_record, records))

    def finish(self, records: Sequence[RowRecord], result: Result) -> None:
        """Write the files of a finished evaluation, the result last, and remove what was partial."""
        with replacing(self.folder / RECORDS) as temporary:
            write_lines(temporary, map(dump_record, records))
        write_json(self.folder / RESULT, result.model_dump(mode="json"))
        for name in (PARTIAL_RECORDS, IDENTITY):
            (self.folder / name).unlink(missing_ok=True)


def work_identity(about: About, settings: Mapping[str, Any], data: str) -> Identity:
    """Return whose records they are: what was asked, how, and about which items."""
    return Identity(
        task="eval",
        inputs=(WorkInput(name="items", sha256=data),),
        weights={"name": about.name, **about.facts},
        settings=dict(settings),
    )


@contextmanager
def open_store(folder: Path, identity: Identity, resume: bool = False, overwrite: bool = False) -> Iterator[Store]:
    """Hold the folder of an evaluation until the block ends.

    Args:
        resume: go on from what the folder holds, finished or not; failed rows are asked again.
        overwrite: delete it first.

    Raises:
        WorkError: another process writes the folder; it holds an evaluation, and neither is given; or one of another
            scorer, other settings or other data.
    """
    with open_work(folder, folder) as work:
        if overwrite:
            for name in (RESULT, RECORDS, ITEMS, PARTIAL_RECORDS, IDENTITY):
                (folder / name).unlink(missing_ok=True)
        partial = work.identity()
        if not resume:
            _refuse(folder, partial is not None)
        known = _finished_records(folder, identity, partial)
        work.claim(identity, MAY_CHANGE)
        yield Store(work, known)


def _refuse(folder: Path, is_partial: bool) -> None:
    if is_partial and (folder / PARTIAL_RECORDS).is_file():
        found, ask = "an interrupted evaluation", "--resume goes on from it"
    elif (folder / RESULT).is_file():
        found, ask = "a finished evaluation", "--resume asks again for what failed alone"
    else:
        return
    raise WorkError(f"{folder} holds {found}: {ask}, --overwrite starts anew, --out names another folder.")


def _finished_records(folder: Path, identity: Identity, partial: Identity | None) -> dict[int, RowRecord]:
    """Return the records of a finished evaluation, unless its folder holds the beginning of another one."""
    if not holds_evaluation(folder):
        return {}
    run = read_evaluation(folder)
    result = run.result
    about = About(result.scorer, sees_images=False, identity=result.identity, partial=result.partial_identity)
    found = work_identity(about, result.settings, result.data.sha256)
    if unlike := differences(found.facts(), identity.facts(), MAY_CHANGE):
        if partial is not None:
            return {}
        raise WorkError(
            f"{folder} holds the evaluation of something else: {'; '.join(unlike)}. --overwrite starts anew, --out "
            "names another folder."
        )
    return {record.row: record for record in run.records if record.failure is None}
