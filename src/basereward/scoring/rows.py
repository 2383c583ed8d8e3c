"""Records of a file with columns added beside them, as JSON lines or as Parquet with the file's own types."""

import io
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from basereward.data.io import read_records
from basereward.data.parquet import open_parquet, read_batches
from basereward.errors import DataError

SUFFIXES = (".jsonl", ".parquet")
_BATCH_ROWS = 250


def check_suffix(path: Path) -> None:
    """Refuse a file of another format.

    Raises:
        DataError: the suffix is neither ``.jsonl`` nor ``.parquet``.
    """
    if path.suffix not in SUFFIXES:
        raise DataError(f"Found {path.name!r}, expected a file that ends in {' or '.join(SUFFIXES)}.")


def batched(rows: Iterator[dict[str, Any]], size: int = _BATCH_ROWS) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows in lists of ``size``, the last one shorter."""
    while batch := list(islice(rows, size)):
        yield batch


def table_schema(path: Path) -> pa.Schema:
    """Return the types of a file's rows: those of Parquet, or what all rows of a JSONL file have in common.

    Raises:
        DataError: the rows fit no one table.
    """
    if path.suffix == ".parquet":
        with open_parquet(path) as file:
            return file.schema_arrow
    schema = pa.schema([])
    for number, batch in enumerate(batched(read_records(path))):
        names = dict.fromkeys(name for row in batch for name in row)
        try:
            own = pa.table({name: [row.get(name) for row in batch] for name in names}).schema
            schema = pa.unify_schemas([schema, own], promote_options="permissive")
            pq.ParquetWriter(io.BytesIO(), schema).close()
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            first = number * _BATCH_ROWS
            raise DataError(
                f"Rows {first} to {first + len(batch) - 1} of {path} do not fit one Parquet table with those before "
                f"({error}); write .jsonl instead."
            ) from error
    return schema


def write_parquet(source: Path, added: Iterator[Mapping[str, Any]], types: pa.Schema, path: Path) -> None:
    """Write the rows of a file and the added columns beside them, a batch at a time.

    Args:
        added: for each row the values of ``types``; a missing one is null.
        types: names and types of the added columns.
    """
    schema = table_schema(source)
    whole = pa.schema([*schema, *types], schema.metadata)
    with pq.ParquetWriter(path, whole) as writer:
        for batch in _record_batches(source, schema):
            own = [next(added) for _ in range(batch.num_rows)]
            columns = [pa.array([values.get(field.name) for values in own], field.type) for field in types]
            writer.write_batch(pa.RecordBatch.from_arrays([*batch.columns, *columns], schema=whole))


def _record_batches(source: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    if source.suffix == ".parquet":
        yield from read_batches(source, most=_BATCH_ROWS)
        return
    for rows in batched(read_records(source)):
        yield pa.RecordBatch.from_pylist(rows, schema)
