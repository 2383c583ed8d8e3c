"""Long work: one writer, an identity, records that survive a kill, and outputs that are complete or not there.

Whatever runs long writes through ``open_work``. A *work folder* holds ``identity.json``, which says what decides the
result, and what is done so far; where the output is a file or a folder that appears at once, the work folder is
``OUTPUT.partial``, where it is a run folder it is the output itself. A typical use::

    with open_work(target) as work:              # refuses a second writer; a full disk is named
        work.claim(identity)                     # goes on with equal work, refuses other work by what differs
        records = work.records(total)
        for row in records.missing():
            records.add([{"row": row, "score": ...}])
        with replacing(work.target) as temporary:
            write(records.complete(), temporary)  # all of the rows or an error
        work.discard()
"""

import errno
import os
import re
import shlex
import shutil
import socket
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, SoftFileLock, Timeout

from basereward.data.identity import Identity, differences
from basereward.data.io import replacing
from basereward.data.partial import PartialRecords
from basereward.errors import BaseRewardError, WorkError

IDENTITY, RECORDS = "identity.json", "records.partial.jsonl"
# Ends the name of a folder that is not complete.
PARTIAL = ".partial"
_FULL = (errno.ENOSPC, errno.EDQUOT)
# With less free than this a disk counts as full.
_FREE_BYTES = 2**16
_SHOWN = 80


class Work:
    """Work on one output that this process alone may write; ``open_work`` makes it.

    Args:
        target: the output: a file, a folder that appears at once, or a run folder.
        folder: where the work stands until it is complete; ``target`` itself for a run folder.
    """

    def __init__(self, target: Path, folder: Path) -> None:
        self.target = target
        self.folder = folder

    def identity(self) -> Identity | None:
        """Return whose work stands in the folder, None if there is none.

        Raises:
            WorkError: the file cannot be read as an identity.
        """
        path = self.folder / IDENTITY
        if not path.is_file():
            return None
        try:
            return Identity.model_validate_json(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise WorkError(f"{path} is no identity of this version; delete {self.folder} to start anew.") from error

    def claim(self, identity: Identity, may_change: Collection[str] = ()) -> bool:
        """Say whose work this is; return whether earlier work is there to go on from.

        An identity beside which nothing stands yet binds nobody.

        Args:
            may_change: facts that do not decide the result, as ``differences`` takes them; the new ones are kept.

        Raises:
            WorkError: the folder holds work of another identity; it names what differs.
        """
        found = self.identity()
        has_begun = found is not None and any(path.name != IDENTITY for path in self.folder.iterdir())
        if found and has_begun and (unlike := differences(found.facts(), identity.facts(), may_change)):
            if found.task != identity.task:
                # Everything else differs too, and says nothing.
                unlike = [f"task {found.task!r}, not {identity.task!r}"]
            raise WorkError(
                f"{self.folder} holds work with {'; '.join(unlike)}. Give the same, choose another output, or delete "
                "it to start anew."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self.folder / IDENTITY) as temporary:
            temporary.write_text(identity.model_dump_json(indent=1) + "\n", encoding="utf-8")
        return has_begun

    def records(
        self, total: int | None = None, key: str = "row", is_done: Callable[[Mapping[str, Any]], bool] = lambda _: True
    ) -> PartialRecords:
        """Return the records of this work, those of earlier calls included; see ``PartialRecords``."""
        return PartialRecords(self.folder / RECORDS, total, key, is_done)

    def publish(self) -> None:
        """Give ``TARGET.partial`` the name of the target, without what only unfinished work needs.

        A kill in between leaves a folder that is still unfinished and belongs to nobody: it is made anew.
        """
        for name in (RECORDS, IDENTITY):
            (self.folder / name).unlink(missing_ok=True)
        if self.target.is_dir():
            self.target.rmdir()  # empty, or it would have been refused
        self.folder.rename(self.target)

    def discard(self) -> None:
        """Delete ``TARGET.partial``, once the target is written or nothing in it is wanted."""
        if self.folder != self.target:
            shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def open_work(target: str | Path, folder: str | Path | None = None) -> Iterator[Work]:
    """Hold an output until the block ends, whatever ends it; a process that dies holds nothing.

    Temporary files that killed calls left behind are deleted.

    Args:
        target: the output.
        folder: the work folder; ``TARGET.partial`` by default. Give ``target`` itself for a run folder.

    Raises:
        WorkError: another process works on the output; it is named. Or the disk is full.
    """
    # Resolved, so that two names of one place are one lock.
    output = Path(target).resolve()
    place = output.with_name(output.name + PARTIAL) if folder is None else Path(folder).resolve()
    if place != output and place.is_file():
        raise WorkError(f"{place} is a file, where the unfinished work on {output.name} would stand; delete it.")
    output.parent.mkdir(parents=True, exist_ok=True)
    with naming_a_full_disk(place), _held(output):
        # Only what ``replacing`` names after this output: ``.NAME.jsonl.7.tmp`` is of a neighbour that may be alive.
        own = re.compile(rf"\.{re.escape(output.name)}\.\d+\.tmp")
        strays = [path for path in output.parent.glob(".*.tmp") if own.fullmatch(path.name)]
        for stray in [*strays, *place.glob(".*.tmp")]:
            stray.unlink()
        yield Work(output, place)


@contextmanager
def naming_a_full_disk(place: Path) -> Iterator[None]:
    """Turn whatever a full disk, or a limit to the size of a file, makes of a write into an error that says where.

    Raises:
        WorkError: the disk of ``place`` is full, or a file there became too large.
    """
    try:
        yield
    except BaseRewardError:
        raise
    except Exception as error:
        # torch says only that a write failed.
        is_full = _says(error, *_FULL) or (isinstance(error, RuntimeError) and _free_bytes(place) < _FREE_BYTES)
        cause = (str(error).splitlines() or [repr(error)])[0]
        if not is_full and _says(error, errno.EFBIG):
            raise WorkError(
                f"A file of {place} becomes larger than its file system or a limit of this process (ulimit -f) allows "
                f"({cause}). Raise the limit, or choose another place."
            ) from error
        if not is_full:
            raise
        raise WorkError(
            f"The disk is full while {place} is written ({cause}). Free some space and give the command again; what "
            "was complete is kept."
        ) from error


@contextmanager
def _held(output: Path) -> Iterator[None]:
    """Hold the lock of an output; the lock file says who does, and goes away with the lock."""
    path = output.with_name(f".{output.name}.lock")
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise WorkError(
            f"{output} is being written by {_holder(path)}. Wait for it, stop it, or choose another output."
        ) from None
    try:
        # Where the file system knows no locks, the file's own content is the lock.
        if not isinstance(lock, SoftFileLock):
            path.write_text(_myself(), encoding="utf-8")
        yield
    finally:
        if not isinstance(lock, SoftFileLock):
            # While it is held: whoever opened it before finds out that it has no name any more, and opens it anew.
            path.unlink(missing_ok=True)
        lock.release()


def _holder(path: Path) -> str:
    try:
        return " ".join(path.read_text(encoding="utf-8").split()) or "another process"
    except OSError:
        return "another process"


def _myself() -> str:
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])[:_SHOWN]
    return f"process {os.getpid()} on {socket.gethostname()} since {datetime.now():%Y-%m-%d %H:%M:%S} ({command})"


def _says(error: BaseException | None, *numbers: int) -> bool:
    """Whether an error, or one that it was raised from, is one of the system's; some libraries only quote it."""
    while error is not None:
        if getattr(error, "errno", None) in numbers or any(os.strerror(one) in str(error) for one in numbers):
            return True
        error = error.__cause__ or error.__context__
    return False


def _free_bytes(place: Path) -> int:
    there = next(path for path in (place, *place.parents) if path.exists())
    return shutil.disk_usage(there).free
