"""Archives of a folder, read as if they were extracted.

Zip and tar archives, and split zips (``images.zip_aa``, ``images.zip_ab``, ...), which are read as the one file that
their parts make in order. Compressed tars cannot be read at a place and are not looked into.
"""

import io
import os
import posixpath
import re
import tarfile
import threading
import zipfile
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

from basereward.errors import DataError, RowError

_SPLIT = re.compile(r"(.+\.zip)(?:_[a-z]{2}|\.\d{3})")


def open_archives(folder: Path) -> "Archives":
    """Return the archives directly in a folder, opened once in each process.

    Raises:
        DataError: one is damaged or incomplete.
    """
    # Open files of a parent process share their position with it: each process opens its own.
    return _open_archives(folder, os.getpid())


@lru_cache(maxsize=8)
def _open_archives(folder: Path, process: int) -> "Archives":
    groups: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*")):
        split = _SPLIT.fullmatch(path.name)
        # The name first: beside a file of pairs there may be a million images.
        if (split or path.suffix in (".zip", ".tar")) and path.is_file():
            groups.setdefault(split[1] if split else path.name, []).append(path)
    return Archives([_Tar(parts[0]) if name.endswith(".tar") else _Zip(name, parts) for name, parts in groups.items()])


class Archives:
    """The archives of one folder; every file is named by the path that it would be extracted to.

    That is its path in the archive, here or in a folder named after the archive.
    """

    def __init__(self, archives: "Sequence[_Zip | _Tar]") -> None:
        self.names = [archive.name for archive in archives]
        self._lock = threading.Lock()
        self._members: dict[str, tuple[_Zip | _Tar, Any]] = {}
        for archive in archives:
            stem = archive.name.partition(".")[0]
            for name, member in archive.members():
                name = posixpath.normpath(name)
                self._members.setdefault(name, (archive, member))
                self._members.setdefault(f"{stem}/{name}", (archive, member))
        self._sorted: list[str] | None = None

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def within(self, folder: str) -> list[str]:
        """Return the files directly inside a folder, sorted."""
        if self._sorted is None:
            self._sorted = sorted(self._members)
        start = bisect_left(self._sorted, f"{folder}/")
        end = bisect_left(self._sorted, f"{folder}0")  # '0' is the character after '/'
        return [name for name in self._sorted[start:end] if "/" not in name[len(folder) + 1 :]]

    def read(self, name: str) -> bytes:
        """Return the bytes of a file.

        Raises:
            RowError: ``image_unreadable`` if they are damaged.
        """
        archive, member = self._members[name]
        with self._lock:
            return archive.read(member)


class _Zip:
    def __init__(self, name: str, parts: Sequence[Path]) -> None:
        self.name = name
        try:
            self._file = zipfile.ZipFile(io.BufferedReader(_JoinedFile(parts)) if len(parts) > 1 else parts[0])
        except (zipfile.BadZipFile, OSError) as error:
            listed = ", ".join(part.name for part in parts)
            raise DataError(
                f"{parts[0].parent}: {listed} make no zip archive ({error}); download all of it."
            ) from error

    def members(self) -> Iterator[tuple[str, zipfile.ZipInfo]]:
        return ((info.filename, info) for info in self._file.infolist() if not info.is_dir())

    def read(self, member: zipfile.ZipInfo) -> bytes:
        try:
            return self._file.read(member)
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError) as error:
            raise RowError("image_unreadable", f"{member.filename} in {self.name} is damaged: {error}.") from error


class _Tar:
    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._file = path.open("rb")

    def members(self) -> Iterator[tuple[str, tuple[int, int]]]:
        try:
            with tarfile.open(fileobj=self._file, mode="r:") as archive:
                for info in archive:
                    if info.isfile():
                        yield info.name, (info.offset_data, info.size)
        except tarfile.TarError as error:
            raise DataError(f"{self._file.name} is no tar archive ({error}); download it again.") from error

    def read(self, member: tuple[int, int]) -> bytes:
        offset, size = member
        self._file.seek(offset)
        data = self._file.read(size)
        if len(data) < size:
            raise RowError("image_unreadable", f"{self.name} ends at {offset + len(data)} bytes; it is cut short.")
        return data


class _JoinedFile(io.RawIOBase):
    """Several files read as one, in order."""

    def __init__(self, parts: Sequence[Path]) -> None:
        self._files = [part.open("rb") for part in parts]
        self._starts = [0, *accumulate(part.stat().st_size for part in parts)]
        self._place = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._starts[-1]}[whence]
        self._place = base + offset
        return self._place

    def readinto(self, buffer: Any) -> int:
        if self._place >= self._starts[-1]:
            return 0
        number = bisect_right(self._starts, self._place) - 1
        self._files[number].seek(self._place - self._starts[number])
        count = self._files[number].readinto(memoryview(buffer)) or 0
        self._place += count
        return count
