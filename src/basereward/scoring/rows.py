"""Rows of JSONL and Parquet files as they are, extra columns included, read and written in batches."""

import base64
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, time
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from basereward.errors import DataError, MissingFileError

SUFFIXES = (".jsonl", ".parquet")
_BATCH_ROWS = 250
_Decode = Callable[[Any], Any]


def check_suffix(path: Path) -> None:
    """Refuse a file of another format.

    Raises:
        DataError: the suffix is neither ``.jsonl`` nor ``.parquet``.
    """
    if path.suffix not in SUFFIXES:
        raise DataError(f"Found {path.name!r}, expected a file that ends in {' or '.join(SUFFIXES)}.")


def count_rows(path: Path) -> int:
    """Count the rows of a JSONL or Parquet file without parsing them.

    Raises:
        MissingFileError: no such file.
        DataError: another file format, or no readable Parquet file.
    """
    check_suffix(path)
    if not path.is_file():
        raise MissingFileError(f"There is no file {path}.")
    if path.suffix == ".parquet":
        with _open_parquet(path) as file:
            return file.metadata.num_rows
    with path.open("rb") as lines:
        return sum(bool(line.strip()) for line in lines)


def read_raw(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a JSONL or Parquet file as they are; what Parquet stores as JSON is parsed.

    Raises:
        DataError: a line is not a JSON object; it is named. Or no readable Parquet file.
    """
    if path.suffix == ".parquet":
        with _open_parquet(path) as file:
            decoders = {field.name: decode for field in file.schema_arrow if (decode := _json_decoder(field.type))}
            for batch in file.iter_batches(_BATCH_ROWS):
                for row in batch.to_pylist():
                    yield {**row, **{name: decode(row[name]) for name, decode in decoders.items()}}
        return
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _parse_line(line, path, number)


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
        with _open_parquet(path) as file:
            return file.schema_arrow
    schema = pa.schema([])
    for number, batch in enumerate(batched(read_raw(path))):
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


def write_jsonl(rows: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Write one JSON object a line; bytes become base64, dates ISO 8601."""
    with path.open("wb") as out:
        out.writelines(_line(row) for row in rows)


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
        with _open_parquet(source) as file:
            yield from file.iter_batches(_BATCH_ROWS)
        return
    for rows in batched(read_raw(source)):
        yield pa.RecordBatch.from_pylist(rows, schema)


def _open_parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except pa.ArrowException as error:
        raise DataError(f"{path} is no readable Parquet file: {error}") from error


def _parse_line(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{path}, line {number} is not JSON: {error}.") from error
    if not isinstance(row, dict):
        raise DataError(f"{path}, line {number}: expected a JSON object, found {type(row).__name__}.")
    return row


def _line(row: Mapping[str, Any]) -> bytes:
    try:
        return (json.dumps(row, ensure_ascii=False, default=_plain) + "\n").encode()
    except UnicodeEncodeError:
        # Valid JSON may name half a surrogate pair, which only an escape can write again.
        return (json.dumps(row, default=_plain) + "\n").encode()


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value.isoformat() if isinstance(value, (date, datetime, time)) else str(value)


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
