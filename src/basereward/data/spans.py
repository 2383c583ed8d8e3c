"""Records of a place by number: the runs in which they lie, such as row groups, and single ones out of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple

import datasets
import numpy as np
import pyarrow as pa

from basereward.data.content import FileState
from basereward.data.files import Raw
from basereward.data.held import (
    INSIDE,
    NOWHERE,
    HeldShard,
    ImagePlace,
    ShardImage,
    expect_state,
    group_columns,
    one_array,
    read_group,
)
from basereward.data.io import COMPRESSED, LineStart, line_starts, read_lines
from basereward.data.parquet import batch_records, open_parquet, read_batches
from basereward.data.places import Place

# Lines that are passed over to reach one: a megabyte of places tells a million lines apart.
_LINES, _ROWS = 16, 256


class ByteSpan(NamedTuple):
    """Records that stand together: a row group, some lines, or some rows of a data set.

    Args:
        file: number of the file in the place, -1 in a data set.
        at: the row group, or the first byte.
        line: the first line, counted from 1; 0 where there are none.
        first: number of the first record in the place.
        records: how many.
    """

    file: int
    at: int
    line: int
    first: int
    records: int


class ImagePlaces(NamedTuple):
    """Where the bytes of the images of one Parquet column stand, all files of a place one after another.

    Args:
        firsts: number of the first image of each span, shape (spans + 1,).
        starts: first byte of each image in its file, or the first field of ``INSIDE`` or ``NOWHERE``, shape (images,).
        sizes: its bytes, shape (images,).
    """

    firsts: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray

    def of(self, span: int, at: int) -> ImagePlace:
        """Return the place of an image of a span's column."""
        number = int(self.firsts[span]) + at
        return ImagePlace(int(self.starts[number]), int(self.sizes[number]))


def can_seek(place: Place) -> bool:
    """Whether single records of a place can be read without all that stand before them."""
    return place.dataset is not None or all(
        path.suffix in (".parquet", ".jsonl") and path.suffix not in COMPRESSED for path in place.files
    )


def find_spans(place: Place) -> np.ndarray:
    """Return the spans of a place, each a row of the fields of ``ByteSpan``, shape (spans, 5).

    Raises:
        DataError: a file is broken.
    """
    found: list[tuple[int, ...]] = []
    if place.dataset is not None:
        total = len(place.dataset)
        found = [(-1, start, 0, start, min(_ROWS, total - start)) for start in range(0, total, _ROWS)]
    first = 0
    for number, path in enumerate(place.files):
        runs = _row_groups(number, path) if path.suffix == ".parquet" else _line_runs(number, path)
        for file, at, line, records in runs:
            if records:
                found.append((file, at, line, first, records))
            first += records
    return np.array(found, dtype=np.int64).reshape(-1, 5)


def _row_groups(number: int, path: Any) -> Iterator[tuple[int, int, int, int]]:
    with open_parquet(path) as file:
        for group in range(file.metadata.num_row_groups):
            yield number, group, 0, file.metadata.row_group(group).num_rows


def _line_runs(number: int, path: Any) -> Iterator[tuple[int, int, int, int]]:
    starts = line_starts(path)
    while block := list(islice(starts, _LINES)):
        yield number, block[0].byte, block[0].line, len(block)


class Records:
    """The records of a place by number.

    Args:
        place: of which ``can_seek`` is true.
        spans: as ``find_spans`` gives them.
        states: of the files when their content was told.
        places: of the images of each Parquet column of bytes, once they are known.
    """

    def __init__(
        self,
        place: Place,
        spans: np.ndarray,
        states: Sequence[FileState],
        places: Mapping[str, ImagePlaces] | None = None,
    ) -> None:
        self.place = place
        self.spans = spans
        self.places = dict(places or {})
        self._shards = [HeldShard(path, state) for path, state in zip(place.files, states, strict=True)]

    def __len__(self) -> int:
        return int(self.spans[:, 4].sum())

    @cached_property
    def _dataset(self) -> datasets.Dataset:
        assert self.place.dataset is not None
        # The arrow format never decodes images, whatever the features of the data set say.
        return self.place.dataset.with_format("arrow")

    def expect_unchanged(self) -> None:
        """Check that the files are as they were when their content was told.

        Raises:
            DataError: one has changed.
        """
        for shard in self._shards:
            expect_state(shard)

    def span(self, number: int) -> ByteSpan:
        """Return a span."""
        return ByteSpan(*self.spans[number].tolist())

    def read_span(self, number: int) -> Iterator[Raw]:
        """Yield the records of a span in order, images with their bytes."""
        span = self.span(number)
        if span.file < 0:
            yield from batch_records(self.slice(span.first, span.records))
        elif span.line:
            path = self.place.files[span.file]
            yield from islice(read_lines(path, LineStart(span.at, span.line)), span.records)
        else:
            for batch in self.batches(number):
                yield from batch_records(batch)

    def batches(self, number: int, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield a row group in batches of some megabytes.

        Args:
            columns: these alone, without bytes of images; by default all, with them.
        """
        span = self.span(number)
        leaves = None
        if columns is not None:
            texts = group_columns(self._shards[span.file]).texts
            leaves = [leaf for leaf in texts if leaf.partition(".")[0] in columns]
        yield from read_batches(self.place.files[span.file], leaves, groups=[span.at])

    def slice(self, start: int, count: int) -> pa.Table:
        """Return rows of the data set."""
        return self._dataset[start : start + count]

    def record(self, number: int) -> Raw:
        """Return a record; images of Parquet files are read when their bytes are asked for."""
        place = int(np.searchsorted(self.spans[:, 3], number, side="right")) - 1
        span = self.span(place)
        if span.file < 0:
            [record] = batch_records(self.slice(number, 1))
            return record
        if span.line:
            expect_state(self._shards[span.file])
            start = LineStart(span.at, span.line)
            return next(read_lines(self.place.files[span.file], start, number - span.first))
        return self._parquet_record(place, span, number - span.first)

    def image_leaves(self, number: int) -> tuple[str, ...]:
        """Return the columns of images of a span whose bytes are read by themselves, as Parquet names them."""
        file = self.span(number).file
        is_parquet = file >= 0 and self.place.files[file].suffix == ".parquet"
        return group_columns(self._shards[file]).images if is_parquet else ()

    def _parquet_record(self, place: int, span: ByteSpan, row: int) -> Raw:
        shard = self._shards[span.file]
        texts, images = group_columns(shard)
        table = read_group(shard, span.at, texts)
        leaves = {leaf.partition(".")[0]: leaf for leaf in images}
        plain = [name for name in table.column_names if name not in leaves]
        [record] = batch_records(table.slice(row, 1).select(plain))
        for name, leaf in leaves.items():
            places = self.places.get(leaf)

            def image(path: str | None, at: int, leaf: str = leaf, places: ImagePlaces | None = places) -> Any:
                found = places.of(place, at) if places else INSIDE
                if found.start == NOWHERE.start:
                    return {"bytes": None, "path": path}
                return ShardImage(shard, path, leaf, span.at, at, found)

            record[name] = _value(one_array(table.column(name)), row, leaf.split(".")[1:], image)
        return record


def _value(array: pa.Array, at: int, names: Sequence[str], image: Callable[[str | None, int], Any]) -> Any:
    """Return a nested value with ``image(path, place)`` for each struct that has no bytes because these were not read.

    Args:
        names: the leaf that was not read, from here on; words of Parquet's own for lists among them.
    """
    if not array[at].is_valid:
        return None
    if not pa.types.is_struct(array.type):
        first, last = array.offsets[at].as_py(), array.offsets[at + 1].as_py()
        return [_value(array.values, item, names, image) for item in range(first, last)]
    fields = [field.name for field in array.type]
    inner = next((name for name in names if name in fields), None)
    if inner is None:
        return image(array.field("path")[at].as_py() if "path" in fields else None, at)
    rest = names[names.index(inner) + 1 :]
    return {
        name: _value(array.field(name), at, rest, image) if name == inner else array.field(name)[at].as_py()
        for name in fields
    }
