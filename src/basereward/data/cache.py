"""The one folder in which this machine keeps what can be made again: rows read into Arrow, sizes, features, scores."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

CACHE_VARIABLE = "BASEREWARD_CACHE"
_POLL_SECONDS = 0.2
_log = logging.getLogger(__name__)


def user_cache() -> Path:
    """Return ``$BASEREWARD_CACHE``, by default ``basereward`` in the cache folder of the user."""
    if given := os.environ.get(CACHE_VARIABLE):
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "basereward"


@contextmanager
def making(path: Path) -> Iterator[None]:
    """Let one process at a time make a file of the cache; whoever comes second waits, and then finds it there.

    The lock ends with its process, however that ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _log.info("Another process makes %s; waiting for it.", path)
        lock.acquire(poll_interval=_POLL_SECONDS)
    try:
        yield
    finally:
        lock.release()
