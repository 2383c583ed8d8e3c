"""Arrays of long work that come in order, saved piece by piece, so that a kill loses the last moments alone."""

import json
import logging
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np

from basereward.data.io import replacing
from basereward.data.work import PARTIAL, naming_a_full_disk

# How often something is saved, and said.
_SAVE_SECONDS, _SAY_SECONDS = 5.0, 10.0
_log = logging.getLogger(__name__)


class Stored(NamedTuple):
    """Arrays by name, and a JSON object beside them."""

    arrays: Mapping[str, np.ndarray]
    about: Any


class Kept(NamedTuple):
    """What long work took, and what is kept of it.

    Args:
        read_bytes: of the data, that it read.
        kept_bytes: that are read in its place from then on.
        seconds: of wall time that it took; where it was killed, those since it went on.
        was_kept: whether it was done before.
    """

    read_bytes: int
    kept_bytes: int
    seconds: float
    was_kept: bool


def save_arrays(path: Path, stored: Stored) -> None:
    """Write arrays as one compressed ``.npz`` file, whole or not at all.

    Raises:
        WorkError: the disk is full.
    """
    # As bytes: a text in an array would be stored with four bytes for each character.
    about = np.frombuffer(json.dumps(stored.about).encode(), dtype=np.uint8)
    with naming_a_full_disk(path), replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, about=about, **stored.arrays)


def load_arrays(path: Path) -> Stored | None:
    """Read what ``save_arrays`` wrote; None if there is no such file, or it is damaged: it can be made again."""
    try:
        with np.load(path) as found:
            arrays = {name: found[name] for name in found.files}
        return Stored(arrays, json.loads(arrays.pop("about").tobytes()))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, OSError, EOFError, BadZipFile) as error:
        _log.warning("%s is damaged (%s) and made again.", path, error)
        return None


class WorkParts:
    """The parts of unfinished work on a file of the cache, each named by where it begins and ends.

    Args:
        target: what they will make together.
    """

    def __init__(self, target: Path) -> None:
        self.folder = target.with_name(target.name + PARTIAL)

    def read(self) -> Iterator[tuple[int, Stored]]:
        """Yield where each part ends, and what it holds, from the beginning to the first gap."""
        ends = {int(start): int(end) for path in self.folder.glob("*-*.npz") for start, end in [path.stem.split("-")]}
        at = 0
        while at in ends and (found := load_arrays(self.folder / f"{at}-{ends[at]}.npz")):
            at = ends[at]
            yield at, found

    def add(self, start: int, end: int, stored: Stored) -> None:
        """Save a part."""
        save_arrays(self.folder / f"{start}-{end}.npz", stored)

    def discard(self) -> None:
        """Delete all of them."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Pace:
    """When to save, and how far long work says it is.

    Args:
        what: is being done, in words, such as ``Measured images of``.
        total: how many there are, 0 where nobody knows.
    """

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total = what, total
        self._begun = self._saved = self._said = time.monotonic()
        self._first: int | None = None

    def should_save(self) -> bool:
        """Return whether the last time is long ago."""
        now = time.monotonic()
        if now - self._saved < _SAVE_SECONDS:
            return False
        self._saved = now
        return True

    def say(self, done: int) -> None:
        """Log how much is done, from time to time."""
        now = time.monotonic()
        self._first = done if self._first is None else self._first
        if now - self._said < _SAY_SECONDS:
            return
        self._said = now
        rate = (done - self._first) / (now - self._begun)
        left = f", about {(self._total - done) / rate / 60:,.0f} min left" if rate > 0 and self._total else ""
        of = f" of {self._total:,}" if self._total else ""
        _log.info("%s %s%s (%.0f a second%s)", self._what, f"{done:,}", of, rate, left)
