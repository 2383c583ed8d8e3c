"""Resident memory of this process and its children together, watched while something runs."""

import os
import threading
from pathlib import Path
from types import TracebackType

SECONDS = 0.1


class ResidentPeak:
    """A context that knows the largest resident memory seen within it, in bytes; ``peak`` is 0 without ``/proc``.

    Pages of mapped files count in every process that has read them.
    """

    def __init__(self) -> None:
        self.peak = 0
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "ResidentPeak":
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._watcher.join()
        self._look()

    def _watch(self) -> None:
        while not self._ended.wait(SECONDS):
            self._look()

    def _look(self) -> None:
        self.peak = max(self.peak, resident_bytes())


def resident_bytes() -> int:
    """Return the resident memory of this process and its children now."""
    children = [pid for file in Path("/proc/self/task").glob("*/children") for pid in _read(file).split()]
    pages = (_read(Path("/proc") / pid / "statm").split() for pid in ("self", *children))
    return os.sysconf("SC_PAGE_SIZE") * sum(int(found[1]) for found in pages if found)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:  # the thread or process has just ended
        return ""
