"""Images and frames of a data set: in its folder, or still inside the archives that lie there.

Large sets come as archives beside their annotations. They are read without being extracted: an index is built once for
each folder, and a file's bytes are read when something asks for them.
"""

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from basereward.data.archives import open_archives
from basereward.data.files import DataFiles
from basereward.errors import RowError

T = TypeVar("T")
_OUTSIDE = ("/", "..")
_LONGEST_NAME = 255


class ArchivedFile(Mapping[str, Any]):
    """``{"bytes", "path"}`` of a file inside an archive; the bytes are read each time they are asked for.

    It holds names alone, so that it can go to another process.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name

    def __getitem__(self, key: str) -> Any:
        if key == "bytes":
            return open_archives(self.folder).read(self.name)
        if key == "path":
            return self.name
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(("bytes", "path"))

    def __len__(self) -> int:
        return 2

    def __repr__(self) -> str:
        return f"ArchivedFile({self.name!r} in {self.folder})"


Stored = str | ArchivedFile


def find_file(files: DataFiles, *names: str) -> Stored | None:
    """Return where the first of the names is: a path in the folder, a file in an archive there, or None.

    Raises:
        DataError: an archive is damaged.
    """
    inside = [name for name in map(posixpath.normpath, names) if not name.startswith(_OUTSIDE)]
    for name in inside:
        path = files.folder / name
        if path.is_file():
            return str(path)
    archives = open_archives(files.folder)
    return next((ArchivedFile(files.folder, name) for name in inside if name in archives), None)


def locate_image(image: Any, folder: Path) -> Any:
    """Return an image of a record as it is, or as the file of an archive in ``folder`` if only that has its path."""
    # What is longer is an image in base64.
    if not isinstance(image, str) or len(image) > _LONGEST_NAME or image.startswith("data:"):
        return image
    name = posixpath.normpath(image)
    if name.startswith(_OUTSIDE) or (folder / name).is_file() or name not in open_archives(folder):
        return image
    return ArchivedFile(folder, name)


def find_image(files: DataFiles, *names: str) -> Stored:
    """Return where the first of the names is, as an image of a canonical record.

    Raises:
        RowError: ``image_missing`` if it is neither in the folder nor in an archive there.
    """
    found = find_file(files, *names)
    if found is None:
        raise _missing(files, names[0])
    return found


def find_frames(files: DataFiles, name: str, count: int) -> list[Stored]:
    """Return ``count`` frames at equal distances of a video that is a folder of images, in the order of their names.

    Raises:
        RowError: ``image_missing`` if there is no such folder, or nothing in it.
    """
    name = posixpath.normpath(name)
    if name.startswith(_OUTSIDE) or name == ".":
        raise _missing(files, name)
    place = files.folder / name
    found: list[Stored] = [str(path) for path in sorted(place.iterdir()) if path.is_file()] if place.is_dir() else []
    found = found or [ArchivedFile(files.folder, member) for member in open_archives(files.folder).within(name)]
    if not found:
        raise _missing(files, name)
    return at_equal_distances(found, count)


def at_equal_distances(items: Sequence[T], count: int) -> list[T]:
    """Return ``count`` items from the first to the last; all of them if there are no more."""
    places = np.linspace(0, len(items) - 1, min(count, len(items))).astype(int)
    return [items[place] for place in places]


def _missing(files: DataFiles, name: str) -> RowError:
    archives = ", ".join(open_archives(files.folder).names) or "no archive"
    return RowError("image_missing", f"There is no {name} in {files.folder} (looked into the folder and {archives}).")
