"""The folder of an audit: a file of records for each probe, which grows while it runs, so that nothing is lost."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from basereward.benchmarks.items import BenchmarkItem
from basereward.benchmarks.records import RowRecord, dump_record, parse_record, score_records
from basereward.data.identity import Identity
from basereward.data.io import read_json, replacing, write_json, write_lines
from basereward.data.outcomes import Failure
from basereward.data.partial import PartialRecords
from basereward.data.work import IDENTITY, open_work
from basereward.errors import RowError, WorkError
from basereward.evaluation.asking import BATCH_ITEMS, Ask
from basereward.evaluation.audit.probe import Changed
from basereward.evaluation.audit.probes import PROBES
from basereward.evaluation.audit.result import PAGE, TASK, AuditResult
from basereward.evaluation.audit.sets import AuditSet
from basereward.evaluation.result import RESULT

RECORDS = "records"
# The records of the items as they are.
ORIGINAL = "original"


class AuditFolder:
    """The folder of an audit, held by this process.

    Args:
        folder: holds ``records/NAME.jsonl`` for each probe; failed rows of earlier calls are asked about again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def collect(
        self, name: str, ask: Ask, asked: AuditSet, changed: Changed, step: Callable[[int], None]
    ) -> dict[int, RowRecord]:
        """Return the records of changed items by the numbers of the items; what is known is not asked about.

        An item that cannot be changed, such as one with an image that cannot be decoded, has a failed record.

        Args:
            name: of the probe.
            step: called with the number of items that were done since the last call.
        """
        path = self.folder / RECORDS / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = PartialRecords(path, is_done=lambda record: record["failure"] is None)
        records = {record.row: record for record in map(parse_record, partial)}
        todo = [number for number in changed.numbers if asked.row(number) not in records]
        step(len(changed.numbers) - len(todo))
        for start in range(0, len(todo), BATCH_ITEMS):
            batch = todo[start : start + BATCH_ITEMS]
            fresh = _ask_changed(ask, asked, changed, batch)
            partial.add(map(dump_record, fresh))
            records |= {record.row: record for record in fresh}
            step(len(batch))
        with replacing(path) as temporary:
            write_lines(temporary, (dump_record(records[row]) for row in sorted(records)))
        return {number: records[asked.row(number)] for number in changed.numbers}

    def finish(self, result: AuditResult) -> None:
        """Write ``result.json``; the audit is done."""
        write_json(self.folder / RESULT, result.model_dump(mode="json"))
        (self.folder / IDENTITY).unlink(missing_ok=True)


@contextmanager
def open_audit(folder: Path, identity: Identity, overwrite: bool = False) -> Iterator[AuditFolder]:
    """Hold the folder of an audit until the block ends; the same call goes on from what an interrupted one left.

    Args:
        overwrite: delete the audit that the folder holds first.

    Raises:
        WorkError: another process writes the folder, or it holds a finished audit, the beginning of another one or
            of nobody knows which, or another result.
    """
    with open_work(folder, folder) as work:
        _refuse(folder / RESULT, overwrite)
        # By name: a folder of records may hold those of somebody else.
        records = [folder / RECORDS / f"{name}.jsonl" for name in (ORIGINAL, *PROBES.names())]
        if overwrite:
            for path in (*(folder / name for name in (RESULT, PAGE, IDENTITY)), *records):
                path.unlink(missing_ok=True)
        if work.identity() is None and (left := [path for path in records if path.exists()]):
            raise WorkError(
                f"Nothing says which audit {left[0]} is of; --overwrite deletes it, --out names another folder."
            )
        work.claim(identity)
        yield AuditFolder(folder)


def _refuse(path: Path, overwrite: bool) -> None:
    """Refuse a folder with a result, unless it is that of an audit and may be deleted."""
    if not path.exists():
        return
    found = read_json(path)
    if not isinstance(found, dict) or found.get("task") != TASK:
        raise WorkError(f"{path} is not the result of an audit; --out names another folder.")
    if not overwrite:
        raise WorkError(f"{path.parent} holds a finished audit; --overwrite starts anew, --out names another folder.")


def _ask_changed(ask: Ask, asked: AuditSet, changed: Changed, numbers: Sequence[int]) -> list[RowRecord]:
    items: dict[int, BenchmarkItem] = {}
    failed: list[RowRecord] = []
    for number in numbers:
        try:
            items[number] = changed.item(number)
        except RowError as error:
            failed += score_records(asked.items[number], number, [Failure(error.reason, str(error))] * 2)
    return [*failed, *(ask(items) if items else [])]
