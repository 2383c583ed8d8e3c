"""Records of a file with columns added beside them, as JSON lines or as Parquet with the file's own types."""

import io
import os
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
MEDIA = (
    ".jpg",
    ".jpeg",
    ".png",
    ".webp",
    ".gif",
    ".bmp",
    ".tif",
    ".tiff",
    ".avif",
    ".mp4",
    ".webm",
    ".mkv",
    ".mov",
    ".avi",
)
_BATCH_ROWS = 250
_LONGEST_PATH = 1024


def check_suffix(path: Path) -> None:
    """Refuse a file of another format.

    Raises:
        DataError: the suffix is neither ``.jsonl`` nor ``.parquet``.
    """
    if path.suffix not in SUFFIXES:
        raise DataError(f"Found {path.name!r}, expected a file that ends in {' or '.join(SUFFIXES)}.")


def rebase(value: Any, old: Path, new: Path) -> Any:
    """Return a value of a record with relative paths of images and videos as they are called from another folder.

    A path is text that ends like a picture or a film and names a file below ``old``; everything else stays.
    """
    if isinstance(value, str):
        is_path = value[-5:].lower().endswith(MEDIA) and len(value) < _LONGEST_PATH and not Path(value).is_absolute()
        return Path(os.path.relpath(old / value, new)).as_posix() if is_path and (old / value).is_file() else value
    if isinstance(value, list):
        return [rebase(inner, old, new) for inner in value]
    if isinstance(value, dict):
        return {name: rebase(inner, old, new) for name, inner in value.items()}
    return value


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


def write_parquet(source: Path, added: Iterator[Mapping[str, Any]], types: pa.Schema, path: Path, folder: Path) -> None:
    """Write the rows of a file and the added columns beside them, a batch at a time.

    Args:
        added: for each row the values of ``types``; a missing one is null.
        types: names and types of the added columns.
        folder: where the file will lie, from which its images are called.
    """
    schema = table_schema(source)
    whole = pa.schema([*schema, *types], schema.metadata)
    with pq.ParquetWriter(path, whole) as writer:
        for batch in _record_batches(source, schema):
            own = [next(added) for _ in range(batch.num_rows)]
            columns = [pa.array([values.get(field.name) for values in own], field.type) for field in types]
            kept = [_rebased(column, source.parent, folder) for column in batch.columns]
            writer.write_batch(pa.RecordBatch.from_arrays([*kept, *columns], schema=whole))


def _rebased(column: pa.Array, old: Path, new: Path) -> pa.Array:
    if old.resolve() == new.resolve() or "string" not in str(column.type):
        return column
    values = column.to_pylist()
    changed = rebase(values, old, new)
    # What no path stands in keeps its bits.
    return column if changed == values else pa.array(changed, column.type)


def _record_batches(source: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    if source.suffix == ".parquet":
        yield from read_batches(source, most=_BATCH_ROWS)
        return
    for rows in batched(read_records(source)):
        yield pa.RecordBatch.from_pylist(rows, schema)
