"""The rows of a place where they lie: single ones read on demand, texts in order, nothing copied.

A file that holds rows in the stored layout is read by columns. The records of any other file pass the reader each time
they are asked for, so that a row is what the door makes of its record, whenever it is read.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from basereward.data.arrangement import ReadOptions
from basereward.data.columns import must_be_read
from basereward.data.content import content_digests, file_state
from basereward.data.files import Raw
from basereward.data.held import leaf_values
from basereward.data.ingest import canonical_tables, is_stored, read_record, rows_tables
from basereward.data.manifest import check_digests
from basereward.data.parquet import batch_records
from basereward.data.places import Place, open_place
from basereward.data.reader import Reader, Recognised, open_reader
from basereward.data.rows import stored_features
from basereward.data.spans import ImagePlaces, Records, can_seek, find_spans
from basereward.data.storage import LAYOUT_VERSION, StoredRows, read_set
from basereward.data.verbatim import open_finders

# Grows whenever the same records and options give other rows.
ROWS_VERSION = 1
_TASK_RECORDS, _BATCH_ROWS = 256, 1000
_MEDIA = ("images", "videos")


class TablePiece(NamedTuple):
    """Some rows in the stored layout, as the first pass over a place meets them.

    Args:
        rows: all columns, images with their bytes.
        counts: rows of each of their records, None if each gives one.
        odd: which of the rows the reader made, where the others are taken as they stand, shape (rows,).
        images: where the images of each column of bytes stand, shape (images, 2), record by record.
    """

    rows: pa.Table
    counts: np.ndarray | None
    odd: np.ndarray
    images: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class RowFacts:
    """What only a pass over all records tells of where the rows of a place are.

    Args:
        counts: rows of each record, shape (records,); empty if each gives one.
        odd: rows that the reader makes, in order, where others are taken as they stand.
        images: of each column of bytes.
        rows: how many.
    """

    counts: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    odd: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    images: Mapping[str, ImagePlaces] = field(default_factory=dict)
    rows: int = 0
    is_stored: bool = False


class PlaceRows:
    """The rows of one place, in order.

    Args:
        place: where they lie.
        options: how its records are read.
        limit: the first rows alone.
        copied: all of them, of a place whose records cannot be read one by one.

    Attributes:
        fingerprint: of the content of the place, the order of its files and all that decides what rows they give.
    """

    def __init__(
        self,
        place: Place,
        options: ReadOptions | None = None,
        limit: int | None = None,
        copied: StoredRows | None = None,
    ) -> None:
        self._options = (options or ReadOptions()).reading()
        self.limit = limit
        # Taken first: what changes while it is hashed is another file than the one that was hashed.
        self._states = [file_state(path) for path in place.files]
        digests = _digests(place)
        # Names of rows without one, their sources and images of their own begin with the place's name and folder.
        files = [path.relative_to(place.folder).as_posix() for path in place.files]
        told = [ROWS_VERSION, LAYOUT_VERSION, place.name, str(place.folder), files, digests, limit]
        told.append(self._options.model_dump_json())
        self.fingerprint = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]
        self._copied = copied and copied.recognised
        if copied:
            place, self._states = place._replace(dataset=copied.rows, files=()), []
        self.place = place
        self.facts = RowFacts()

    @cached_property
    def records(self) -> Records:
        """The records behind the rows; where they lie is found out unless ``settle`` has told."""
        return Records(self.place, find_spans(self.place), self._states)

    @cached_property
    def reader(self) -> Reader:
        """The door through which records come in."""
        return open_reader(self.place.records(), self.place.name, self._options)

    @property
    def recognised(self) -> Recognised:
        """What the place was recognised as."""
        return self._copied or self.reader.recognised

    @property
    def data_bytes(self) -> int:
        """Bytes of the files that hold the place."""
        return sum(path.stat().st_size for path in _files(self.place))

    def settle(self, spans: np.ndarray, facts: RowFacts) -> None:
        """Take what an earlier pass has found of where the rows are."""
        self.facts = facts
        self.records = Records(self.place, spans, self._states, facts.images)
        for name in ("_firsts", "is_stored"):
            self.__dict__.pop(name, None)

    def __len__(self) -> int:
        return self.facts.rows

    def __getstate__(self) -> dict[str, Any]:
        # A reader holds functions, which no other process could take.
        return {name: value for name, value in self.__dict__.items() if name not in ("reader", "_firsts")}

    def row(self, number: int) -> dict[str, Any]:
        """Return a row in the stored layout; images of Parquet files are read when their bytes are asked for."""
        if not 0 <= number < len(self):
            raise IndexError(f"There is no row {number} of {len(self)}.")
        record, nth = number, 0
        if len(self.facts.counts):
            record = int(np.searchsorted(self._firsts, number, side="right")) - 1
            nth = number - int(self._firsts[record])
        found = self.records.record(record)
        if self._is_as_it_is(number):
            return {"read_error": None, **found}
        return list(read_record(self.place, self.reader, found, record))[nth]

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield columns of all rows in order, images and frames without their bytes."""
        if not self.is_stored:
            yield from _batched((self.row(number) for number in range(len(self))), columns)
            return
        done = 0
        for span in range(len(self.records.spans)):
            for table in self._span_tables(span, columns):
                # Rows that the reader makes may say something else than their record.
                for part in _replaced(table, self._odd_between(done, done + len(table)) - done, self, done, columns):
                    yield part.slice(0, max(0, len(self) - done))
                    done += len(part)
                if done >= len(self):
                    return

    @cached_property
    def is_stored(self) -> bool:
        """Whether rows are taken as they stand, apart from odd ones."""
        if self.facts.rows:
            return self.facts.is_stored
        dataset = self.place.dataset
        if dataset is not None:
            return dataset.features == stored_features()
        return self.reader.keeps_canonical and bool(self.place.files) and all(map(is_stored, self.place.files))

    @cached_property
    def tasks(self) -> list[tuple[int, int]]:
        """Runs of spans that are read at once: the first one, and the one behind the last."""
        ends, held = [], 0
        for number, records in enumerate(self.records.spans[:, 4].tolist()):
            held += records
            if held >= _TASK_RECORDS or number + 1 == len(self.records.spans):
                ends.append(number + 1)
                held = 0
        return list(zip([0, *ends], ends, strict=False))

    def units(self, task: tuple[int, int]) -> list[tuple[int, int]]:
        """Return the spans of a task that are read together: row groups one by one, lines all at once."""
        if self.place.dataset is None and self.records.span(task[0]).line:
            return [task]
        return [(span, span + 1) for span in range(*task)]

    def pieces(self, unit: tuple[int, int]) -> Iterator[TablePiece]:
        """Yield the rows of a unit with all that they hold."""
        span = self.records.span(unit[0])
        if span.line:
            records = chain.from_iterable(map(self.records.read_span, range(*unit)))
            yield self._read_piece(records, span.first, {})
        elif span.file < 0:
            table = self.records.slice(span.first, span.records)
            if self.is_stored:
                yield TablePiece(table, None, np.zeros(len(table), dtype=bool), {})
            else:
                yield self._read_piece(batch_records(table), span.first, {})
        else:
            yield from self._group_pieces(unit[0])

    def _group_pieces(self, number: int) -> Iterator[TablePiece]:
        span = self.records.span(number)
        start = span.first
        with open_finders(self.place.files[span.file], span.at, self.records.image_leaves(number)) as finders:
            for batch in self.records.batches(number):
                images = {leaf: _find_all(batch, leaf, finder) for leaf, finder in finders.items()}
                if self.is_stored:
                    odd = must_be_read(batch)
                    rows = pa.concat_tables(canonical_tables(self.place, self.reader, batch, odd, start))
                    yield TablePiece(rows, None, odd, images)
                else:
                    yield self._read_piece(batch_records(batch), start, images)
                start += len(batch)

    def _read_piece(self, records: Iterator[Raw], start: int, images: Mapping[str, np.ndarray]) -> TablePiece:
        made = [list(read_record(self.place, self.reader, one, number)) for number, one in enumerate(records, start)]
        flat = [row for rows in made for row in rows]
        table = pa.concat_tables([stored_features().arrow_schema.empty_table(), *rows_tables(flat)])
        return TablePiece(table, np.array([len(rows) for rows in made]), np.ones(len(flat), dtype=bool), images)

    def _span_tables(self, number: int, columns: Sequence[str]) -> Iterator[pa.Table]:
        span = self.records.span(number)
        if span.file < 0:
            yield self.records.slice(span.first, span.records).select(list(columns))
            return
        for batch in self.records.batches(number, [name for name in columns if name != "read_error"]):
            table = pa.Table.from_batches([batch])
            if "read_error" in columns:
                kind = stored_features().arrow_schema.field("read_error").type
                table = table.append_column("read_error", pa.nulls(len(table), kind))
            yield table.select(list(columns))

    def _is_as_it_is(self, number: int) -> bool:
        return self.is_stored and not len(self._odd_between(number, number + 1))

    def _odd_between(self, start: int, stop: int) -> np.ndarray:
        first, last = np.searchsorted(self.facts.odd, [start, stop])
        return self.facts.odd[first:last]

    @cached_property
    def _firsts(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(self.facts.counts, dtype=np.int64)])


def open_rows(
    path: str | Path, split: str = "train", limit: int | None = None, options: ReadOptions | None = None
) -> PlaceRows:
    """Open the rows of a place.

    Args:
        path: as ``open_place``; relative image paths are resolved against the file's folder.
        split: as ``open_place``.
        limit: the first rows alone.
        options: what the records do not say by themselves.

    Raises:
        MissingFileError: there is nothing at ``path``.
        DataError: something else, or a shard that is not the one of its manifest.
    """
    place = open_place(path, split)
    # A list in one text can only be read from its beginning; rows as they were read before need no reader.
    is_stored = place.dataset is not None and place.dataset.features == stored_features()
    copied = read_set(path, split, limit, options) if is_stored or not can_seek(place) else None
    return PlaceRows(place, options, limit, copied)


def _digests(place: Place) -> list[str]:
    """Return what tells the content of a place, file by file."""
    if place.manifest:
        check_digests(place.manifest.shards, place.folder, digests := content_digests(place.files))
        return digests
    if place.files:
        return content_digests(place.files)
    return [place.key, *content_digests(_files(place))]


def _files(place: Place) -> list[Path]:
    return [*place.files, *(Path(one["filename"]) for one in (place.dataset.cache_files if place.dataset else ()))]


def _find_all(batch: pa.RecordBatch, leaf: str, finder: Any) -> np.ndarray:
    values = leaf_values(batch.column(leaf.partition(".")[0]), leaf)
    found = [finder.find(None if value is None else value) for value in values.to_pylist()]
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def _replaced(
    table: pa.Table, odd: np.ndarray, rows: PlaceRows, start: int, columns: Sequence[str]
) -> Iterator[pa.Table]:
    """Yield a table in runs, with the rows that the reader makes in place of those that stand there."""
    at = 0
    for number in odd.tolist():
        if number > at:
            yield table.slice(at, number - at)
        if start + number < len(rows):
            yield from _batched(iter([rows.row(start + number)]), columns)
        at = number + 1
    if at < len(table):
        yield table.slice(at)


def _batched(rows: Iterator[Mapping[str, Any]], columns: Sequence[str]) -> Iterator[pa.Table]:
    schema = pa.schema([_without_bytes(stored_features().arrow_schema.field(name)) for name in columns])
    held: list[dict[str, Any]] = []
    for row in rows:
        held.append({name: _plain(row[name]) if name in _MEDIA else row[name] for name in columns})
        if len(held) == _BATCH_ROWS:
            yield pa.Table.from_pylist(held, schema)
            held = []
    if held:
        yield pa.Table.from_pylist(held, schema)


def _plain(value: Any) -> Any:
    """Return images and videos with paths alone."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        if "frames" in value:
            return {"frames": _plain(value["frames"]), "fps": value["fps"]}
        return {"path": value["path"]}
    return value


def _without_bytes(one: pa.Field) -> pa.Field:
    def trim(kind: pa.DataType) -> pa.DataType:
        if pa.types.is_list(kind):
            return pa.list_(trim(kind.value_type))
        if pa.types.is_struct(kind):
            return pa.struct([pa.field(inner.name, trim(inner.type)) for inner in kind if inner.name != "bytes"])
        return kind

    return pa.field(one.name, trim(one.type))
