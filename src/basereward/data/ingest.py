"""The records of a place as Arrow tables in the stored layout; what is canonical already is taken by columns."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from basereward.data.columns import must_be_read
from basereward.data.files import Raw
from basereward.data.media import locate_image
from basereward.data.parquet import batch_records, open_parquet, read_batches
from basereward.data.places import Place
from basereward.data.reader import Reader
from basereward.data.rows import STORED_KEYS, batch_rows, pack_row, pair_features, refused_row, stored_features
from basereward.errors import RowError

_TABLE_ROWS, _TABLE_BYTES = 1000, 64 * 2**20


def stored_tables(place: Place, reader: Reader) -> Iterator[pa.Table]:
    """Yield all records of a place as tables of ``stored_features``, of some megabytes each.

    A record that cannot be read is a row with ``read_error``.
    """
    if reader.keeps_canonical and place.files and all(map(is_stored, place.files)):
        yield from _gather(_copy_tables(place, reader))
        return
    yield from rows_tables(
        row for number, record in enumerate(place.records()) for row in read_record(place, reader, record, number)
    )


def rows_tables(rows: Iterable[dict[str, Any]]) -> Iterator[pa.Table]:
    """Yield stored rows as tables of bounded size; what Arrow cannot hold becomes a row with ``read_error``."""
    schema = stored_features().arrow_schema
    for batch in batch_rows(rows):
        yield _table(batch, schema)


def read_record(place: Place, reader: Reader, record: Raw, number: int) -> Iterator[dict[str, Any]]:
    """Yield the stored rows of a record; one that cannot be read is a row with ``read_error``.

    Args:
        number: of the record in the place.
    """
    name = f"{place.name}-{number}"
    try:
        pairs = reader.read(record, name)
    except RowError as error:
        yield refused_row(record, name, place.name, error)
        return
    for pair in pairs:
        images = [locate_image(image, place.folder) for image in pair["images"]]
        packed = pack_row({**pair, "images": images}, place.folder)
        packed["source"] = packed["source"] or place.name
        yield packed


def is_stored(path: Path) -> bool:
    """Whether a file has exactly the columns that ``write_rows`` and conversions write."""
    if path.suffix != ".parquet":
        return False
    with open_parquet(path) as file:
        return file.schema_arrow.remove_metadata().equals(pair_features().arrow_schema.remove_metadata())


def _copy_tables(place: Place, reader: Reader) -> Iterator[pa.Table]:
    start = 0
    for path in place.files:
        for batch in read_batches(path):
            yield from canonical_tables(place, reader, batch, must_be_read(batch), start)
            start += len(batch)


def canonical_tables(
    place: Place, reader: Reader, batch: pa.RecordBatch, mask: np.ndarray, start: int
) -> Iterator[pa.Table]:
    """Yield canonical rows as they stand in a file, and the others through the reader, all in order.

    Args:
        batch: in the layout of ``pair_features``.
        mask: ``must_be_read`` of the batch.
        start: number of its first record in the place.
    """
    schema = stored_features().arrow_schema
    # Runs of rows that are, and that are not, taken as they are.
    edges = [0, *(np.flatnonzero(np.diff(mask)) + 1).tolist(), len(mask)]
    for first, last in pairwise(edges):
        run = batch.slice(first, last - first)
        if len(run) and mask[first]:
            yield from rows_tables(_read_batch(place, reader, run, start + first))
        elif len(run):
            fine = pa.nulls(len(run), schema.field("read_error").type)
            yield pa.Table.from_arrays([*run.columns, fine], schema=schema)


def _read_batch(place: Place, reader: Reader, batch: pa.RecordBatch, start: int) -> Iterator[dict[str, Any]]:
    for number, record in enumerate(batch_records(batch), start):
        yield from read_record(place, reader, record, number)


def _gather(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield small tables joined: each is a batch of the cached file, all of which are listed when it is opened."""
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        if sum(map(len, held)) >= _TABLE_ROWS or sum(one.nbytes for one in held) >= _TABLE_BYTES:
            yield pa.concat_tables(held).combine_chunks()
            held = []
    if held:
        yield pa.concat_tables(held).combine_chunks()


def _table(batch: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    try:
        return pa.Table.from_pylist(batch, schema)
    except (UnicodeError, pa.ArrowException) as error:
        if half := len(batch) // 2:
            return pa.concat_tables([_table(batch[:half], schema), _table(batch[half:], schema)])
        # Valid JSON may hold half a surrogate pair, which no Arrow text column takes.
        names = {key: str(batch[0][key]).encode("utf-8", "replace").decode() for key in ("id", "source")}
        found = {"reason": "malformed", "message": f"A value cannot be stored ({str(error)[:200]})."}
        return pa.Table.from_pylist([{**dict.fromkeys(STORED_KEYS), **names, "read_error": found}], schema)
