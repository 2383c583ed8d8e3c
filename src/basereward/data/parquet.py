"""Parquet files in batches of bounded memory, and Arrow batches as Python records.

What ``datasets`` stores as JSON text is parsed, maps become dictionaries.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from basereward.errors import DataError

_BATCH_ROWS, _IMAGE_ROWS, _BATCH_BYTES = 1000, 32, 4 * 2**20
_BUFFER_BYTES = 2**20
# Texts of a row that training asks for are decoded with those of its whole group.
GROUP_ROWS = 256

_Decode = Callable[[Any], Any]


@contextmanager
def open_parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file so that its column chunks are read through a small buffer, not at once.

    Raises:
        DataError: it is none, or is broken where it is read.
    """
    try:
        # A row group of embedded images may be the whole file: read ahead, all of it would be held.
        with pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
            yield file
    # A page that cannot be decompressed is an OSError in Arrow.
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path} is no readable Parquet file ({' '.join(str(error).split())}); restore it, or make it again."
        ) from error


def read_batches(
    path: Path,
    columns: Sequence[str] | None = None,
    most: int = _BATCH_ROWS,
    groups: Sequence[int] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Yield a Parquet file in batches of some megabytes, of ``most`` rows at most.

    Args:
        columns: these alone, of those that it has, or leaves of them as Parquet names them.
        groups: row groups, all by default.

    Raises:
        DataError: as ``open_parquet``.
    """
    with open_parquet(path) as file:
        known = {*file.schema_arrow.names, *(file.schema.column(number).path for number in range(len(file.schema)))}
        names = None if columns is None else [name for name in columns if name in known]
        rows = min(most, _batch_rows(file, groups))
        # Threads would decode columns at once, and hold a page of each.
        for batch in file.iter_batches(batch_size=rows, row_groups=groups, columns=names, use_threads=False):
            # A damaged page may still decompress, to texts that are none and to lists that end nowhere.
            batch.validate(full=True)
            yield batch


def read_rows(path: Path, first: int, rows: int) -> Iterator[pa.RecordBatch]:
    """Yield some rows of a Parquet file in batches of some megabytes; row groups without any of them are not read.

    Raises:
        DataError: as ``open_parquet``.
    """
    with open_parquet(path) as file:
        sizes = [file.metadata.row_group(number).num_rows for number in range(file.metadata.num_row_groups)]
        begins = [sum(sizes[:number]) for number in range(len(sizes))]
        inside = [n for n, begin in enumerate(begins) if begin < first + rows and first < begin + sizes[n]]
        at = begins[inside[0]] if inside else 0
        for batch in file.iter_batches(batch_size=_batch_rows(file), row_groups=inside, use_threads=False):
            part = batch.slice(max(0, first - at), max(0, first + rows - max(at, first)))
            at += batch.num_rows
            if part.num_rows:
                yield part


def _batch_rows(file: pq.ParquetFile, read: Sequence[int] | None = None) -> int:
    numbers = range(file.metadata.num_row_groups) if read is None else read
    groups = [file.metadata.row_group(number) for number in numbers]
    row_bytes = sum(group.total_byte_size for group in groups) // max(1, sum(group.num_rows for group in groups)) + 1
    # An image that many rows share stands in the file once and in a batch with each of them.
    return min(_IMAGE_ROWS if _has_bytes(file, groups) else _BATCH_ROWS, max(1, _BATCH_BYTES // row_bytes))


def _has_bytes(file: pq.ParquetFile, groups: Sequence[pq.RowGroupMetaData]) -> bool:
    """Whether a column that is no text, such as that of images, has values."""
    columns = [file.schema.column(number) for number in range(len(file.schema))]
    places = [place for place, one in enumerate(columns) if holds_bytes(one)]
    found = [group.column(place).statistics for group in groups for place in places]
    return any(statistics is None or statistics.num_values for statistics in found)


def write_parquet(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Open a Parquet file for writing: texts compressed, bytes of images as they are, so that each can be found there.

    Encoded images become no smaller by compression, and a reader that wants one of a group would decode all of them.
    """
    leaves = pq.ParquetFile(_empty(schema)).schema
    columns = [leaves.column(number) for number in range(len(leaves))]
    codecs = {one.path: "NONE" if holds_bytes(one) else "snappy" for one in columns}
    return pq.ParquetWriter(path, schema, compression=codecs)


def _empty(schema: pa.Schema) -> pa.BufferReader:
    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink)
    return pa.BufferReader(sink.getvalue())


def holds_bytes(column: pq.ColumnSchema) -> bool:
    """Whether a column holds bytes that are no text, such as those of images."""
    return column.physical_type == "BYTE_ARRAY" and column.logical_type.type == "NONE"


def batch_records(batch: pa.RecordBatch | pa.Table) -> Iterator[dict[str, Any]]:
    """Yield the rows of a batch, images undecoded."""
    decoders = {field.name: decode for field in batch.schema if (decode := _json_decoder(field.type))}
    # A map with a key twice has no dictionary: pyarrow then raises instead of losing one.
    for record in batch.to_pylist(maps_as_pydicts="strict"):
        yield _decode_fields(record, decoders) if decoders else record


def _json_decoder(kind: pa.DataType) -> _Decode | None:
    """Return what parses the JSON inside values of a type (``datasets`` stores mixed content so), if there is any."""
    if getattr(kind, "extension_name", "") == "arrow.json":
        return lambda value: None if value is None else json.loads(value)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = _json_decoder(kind.value_type)
        return inner and (lambda value: value and [inner(item) for item in value])
    if pa.types.is_struct(kind):
        fields = {field.name: decode for field in kind if (decode := _json_decoder(field.type))}
        return (lambda value: value and _decode_fields(value, fields)) if fields else None
    return None


def _decode_fields(value: Mapping[str, Any], fields: Mapping[str, _Decode]) -> dict[str, Any]:
    return {**value, **{name: decode(value[name]) for name, decode in fields.items()}}
