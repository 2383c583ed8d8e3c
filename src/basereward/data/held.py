"""Parquet files read here and there: open files and decoded row groups, of which a process holds a bounded part.

Training asks for pairs in random order, so nearly every pair lies in a row group that is not held. The texts of a group
of some hundred rows are decoded in a millisecond; its images are tens of megabytes, which is why an image whose bytes
stand in the file as they are is read by itself.
"""

import os
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from basereward.data.bounded import BoundedCache
from basereward.data.content import FileState, file_state
from basereward.data.images import LazyImage
from basereward.data.parquet import file_leaves
from basereward.errors import DataError

# Of decoded row groups in one process.
_GROUP_BYTES = 128 * 2**20
_OPEN_FILES = 64


class HeldShard(NamedTuple):
    """A Parquet file as it was when it was first looked at."""

    path: Path
    state: FileState


class ImagePlace(NamedTuple):
    """Where the encoded bytes of an image stand as they are: the first one, and how many; or one of the two below."""

    start: int
    size: int = 0


# The bytes stand in the row group in another form, such as compressed; or there are none.
INSIDE, NOWHERE = ImagePlace(-1), ImagePlace(-2)


class ShardImage(LazyImage):
    """An image inside a Parquet file.

    Args:
        shard: the file.
        path: what the file calls the image.
        leaf: the column of its bytes, as Parquet names it.
        group: the row group.
        at: place among all images of the group's column.
        place: of its bytes in the file.
    """

    def __init__(self, shard: HeldShard, path: str | None, leaf: str, group: int, at: int, place: ImagePlace) -> None:
        super().__init__(path)
        self.shard, self.leaf, self.group, self.at, self.place = shard, leaf, group, at, place

    def read(self) -> bytes | None:
        """Return the encoded bytes.

        Raises:
            DataError: the file has changed since it was first looked at, or is broken.
        """
        if self.place.start >= 0:
            return read_bytes(self.shard, self.place)
        column = self.leaf.partition(".")[0]
        return leaf_values(read_group(self.shard, self.group, (self.leaf,)).column(column), self.leaf)[self.at].as_py()


class GroupColumns(NamedTuple):
    """The columns of a Parquet file, as it names them: bytes of images, which are read by themselves, and all others.

    Bytes without anything beside them, which would tell how many there are, are among the others.
    """

    texts: tuple[str, ...]
    images: tuple[str, ...]


def group_columns(shard: HeldShard) -> GroupColumns:
    """Return the columns of a Parquet file.

    Raises:
        DataError: the file has changed since it was first looked at, or is broken.
    """

    def find() -> GroupColumns:
        leaves = file_leaves(_file(shard))
        beside = {_parent(leaf.path) for leaf in leaves if not leaf.is_bytes}
        images = [
            leaf.path for leaf in leaves if leaf.is_bytes and _is_image(leaf.path) and _parent(leaf.path) in beside
        ]
        return GroupColumns(tuple(leaf.path for leaf in leaves if leaf.path not in images), tuple(images))

    return _own("columns", _OPEN_FILES, lambda *_: 1).get_or_make(shard, find)


def _is_image(path: str) -> bool:
    return path.endswith(".bytes")


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def leaf_values(column: pa.ChunkedArray | pa.Array, leaf: str) -> pa.Array:
    """Return the values of a nested column one after another, as many as its innermost lists hold.

    Args:
        column: of Arrow.
        leaf: which of its leaves, as Parquet names it: ``images.list.element.bytes``.
    """
    values = one_array(column)
    names = iter(leaf.split(".")[1:])
    while not pa.types.is_binary(values.type) and not pa.types.is_large_binary(values.type):
        if pa.types.is_struct(values.type):
            fields = {field.name for field in values.type}
            # What stands between the names of fields are Parquet's own words for lists.
            values = values.field(next(name for name in names if name in fields))
        else:
            # Not flattened where a row is null: that would copy the images.
            offsets = values.offsets
            values = values.values[offsets[0].as_py() : offsets[-1].as_py()]
    return values


def one_array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Return a column as one array, without a copy where it is one already."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def read_group(shard: HeldShard, group: int, columns: Sequence[str]) -> pa.Table:
    """Return columns of a row group, from what is held if it is.

    Raises:
        DataError: the file has changed since it was first looked at, or is broken.
    """

    def read() -> pa.Table:
        file = _file(shard)
        # An open file may be written into.
        expect_state(shard)
        try:
            # Threads do not outlive a fork.
            return file.read_row_group(group, columns=list(columns), use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{shard.path} is no readable Parquet file ({error}); restore it.") from error

    held = _own("groups", _GROUP_BYTES, lambda _, table: table.nbytes)
    return held.get_or_make((shard, group, tuple(columns)), read)


def read_bytes(shard: HeldShard, place: ImagePlace) -> bytes:
    """Return the bytes at a place of a file.

    Raises:
        DataError: the file has changed since it was first looked at, or ends before.
    """
    held = _own("descriptors", _OPEN_FILES, lambda *_: 1)
    descriptor = held.get_or_make(shard, lambda: _Descriptor(shard))
    found = descriptor.read(place.size, place.start)
    # Behind the reading: an open file may be written into.
    expect_state(shard, descriptor.number)
    if len(found) != place.size:
        raise DataError(f"{shard.path} gave {len(found)} of {place.size} bytes of an image; restore it.")
    return found


class _Descriptor:
    def __init__(self, shard: HeldShard) -> None:
        # Windows would read text otherwise.
        self.number = os.open(shard.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self._moves = Lock()

    def read(self, size: int, start: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self.number, size, start)
        # Windows has one position for all threads.
        with self._moves:
            os.lseek(self.number, start, os.SEEK_SET)
            return os.read(self.number, size)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


def _file(shard: HeldShard) -> pq.ParquetFile:
    def open_file() -> pq.ParquetFile:
        expect_state(shard)
        return pq.ParquetFile(shard.path, pre_buffer=False)

    return _own("files", _OPEN_FILES, lambda *_: 1).get_or_make(shard, open_file)


def expect_state(shard: HeldShard, file: Path | int | None = None) -> None:
    """Check that a file, or an open descriptor of it, is as it was.

    Raises:
        DataError: it has changed.
    """
    file = shard.path if file is None else file
    if file_state(file) != shard.state:
        raise DataError(f"{shard.path} changed since the work began; restore it, or start anew.")


# By process: a child of a fork would share open files with its parent, and what they read.
_of_process: dict[tuple[int, str], BoundedCache[Any]] = {}


def _own(kind: str, most: int, size_of: Callable[[Hashable, Any], int]) -> BoundedCache[Any]:
    key = (os.getpid(), kind)
    if key not in _of_process:
        _of_process[key] = BoundedCache(most, size_of)
    return _of_process[key]
