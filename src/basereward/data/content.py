"""What files hold, told by content: a file is read again only if its state says that it may have changed.

Size and times alone do not tell content: a file can be written anew at the same size with its time set back. The time
of change of the inode cannot be set, and the rest of the gap is closed as git closes it: a state that was taken within
moments of a change is not trusted, because another change may have left the same time.
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from basereward.data.cache import user_cache
from basereward.data.digests import file_digest
from basereward.data.io import read_json, write_json
from basereward.errors import DataError, MissingFileError

# The coarsest clock of a file system in use is that of FAT.
_TICK = 2 * 10**9
# Hashing lets other threads run; more of them would only make a disk seek.
_THREADS = 4
# A gigabyte takes a second or so.
_SAID_BYTES = 10**9
_log = logging.getLogger(__name__)


class FileState(NamedTuple):
    """What a file system says of a file: bytes, times of change of content and inode in ns, and the inode."""

    size: int
    modified: int
    changed: int
    inode: int


class _Known(NamedTuple):
    """A digest, the state of the file that had it, and when reading it began in ns."""

    state: FileState
    sha256: str
    begun: int


_KNOWN = TypeAdapter(dict[str, _Known])


def file_state(path: Path | int) -> FileState:
    """Return the state of a file, given by path or as an open descriptor.

    Raises:
        MissingFileError: there is none.
    """
    try:
        stat = os.fstat(path) if isinstance(path, int) else path.stat()
    except FileNotFoundError as error:
        raise MissingFileError(f"There is no file {path}; restore it.") from error
    return FileState(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


def content_digests(files: Sequence[Path]) -> list[str]:
    """Return the SHA-256 of each file; one whose state is that of an earlier call is not read.

    Raises:
        MissingFileError: one is not there.
        DataError: one changes while it is read.
    """
    names = [str(path.absolute()) for path in files]
    cache = user_cache() / "digests" / f"{hashlib.sha256(json.dumps(names).encode()).hexdigest()[:24]}.json"
    known = _read_known(cache)
    stale = [path for path, name in zip(files, names, strict=True) if not _is_trusted(known.get(name), path)]
    if stale:
        total = sum(file_state(path).size for path in stale)
        if total > _SAID_BYTES:
            _log.info("Reading %d files (%.1f GB) to know their content", len(stale), total / 1e9)
        with ThreadPoolExecutor(_THREADS) as pool:
            known |= dict(zip((str(path.absolute()) for path in stale), pool.map(_look, stale), strict=True))
        write_json(cache, _KNOWN.dump_python({name: known[name] for name in names}, mode="json"))
    return [known[name].sha256 for name in names]


def _read_known(cache: Path) -> dict[str, _Known]:
    try:
        return _KNOWN.validate_python(read_json(cache))
    except (DataError, ValidationError, MissingFileError):
        return {}


def _is_trusted(known: _Known | None, path: Path) -> bool:
    return known is not None and known.state == file_state(path) and known.state.changed + _TICK < known.begun


def _look(path: Path) -> _Known:
    begun, state = time.time_ns(), file_state(path)
    digest = file_digest(path)
    if file_state(path) != state:
        raise DataError(f"{path} changed while it was read; give the command again once nothing writes it.")
    return _Known(state, digest, begun)
