"""Canonical rows on disk: whatever a place holds, read once through the door into one memory-mapped Arrow layout.

The Arrow file is named by what tells the content of the place and by the options that it was read with. Extra columns
of a row are kept together as one JSON object in the column ``extra_json``, so that files with different extras
concatenate; ``unpack_row`` gives them back under their names. JSONL files are written with the extras as plain keys,
Parquet files with ``extra_json``. A record that cannot be read stays in its place with the column ``read_error`` set,
so that validation can count it.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import pyarrow as pa

from basereward.data.arrangement import ReadOptions
from basereward.data.cache import user_cache
from basereward.data.images import place_image
from basereward.data.ingest import stored_tables
from basereward.data.io import read_json, replacing, write_json, write_lines
from basereward.data.manifest import check_shards
from basereward.data.parquet import GROUP_ROWS, write_parquet
from basereward.data.places import open_place
from basereward.data.reader import Recognised, open_reader
from basereward.data.rows import (
    batch_rows,
    embed_images,
    map_images,
    pack_row,
    pair_features,
    read_extra,
    stored_features,
)
from basereward.data.schema import PAIR_KEYS
from basereward.errors import DataError, RowError

LAYOUT_VERSION = 2
_log = logging.getLogger(__name__)


class StoredRows(NamedTuple):
    """Rows in the stored layout, and what their place was recognised as."""

    rows: datasets.Dataset
    recognised: Recognised


def read_rows(
    path: str | Path, split: str = "train", limit: int | None = None, options: ReadOptions | None = None
) -> datasets.Dataset:
    """Return the rows of ``read_set`` alone."""
    return read_set(path, split, limit, options).rows


def read_set(
    path: str | Path, split: str = "train", limit: int | None = None, options: ReadOptions | None = None
) -> StoredRows:
    """Read the records of a place into a memory-mapped dataset with ``stored_features``.

    Args:
        path: as ``open_place``; relative image paths are resolved against the file's folder.
        split: as ``open_place``.
        limit: read only the first rows.
        options: what the records do not say by themselves.

    Raises:
        MissingFileError: there is nothing at ``path``.
        DataError: a broken file, a misspelt column, no records, or none that any format fits.
    """
    place = open_place(path, split)
    options = options or ReadOptions()
    if place.dataset is not None and place.dataset.features == stored_features():
        rows = place.dataset.select(range(len(place.dataset) if limit is None else min(limit, len(place.dataset))))
        return StoredRows(rows, Recognised(place=place.name, format="stored", title="rows as they were read before"))
    facts = [LAYOUT_VERSION, limit, options.model_dump_json(), place.key]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
    target = user_cache() / "rows" / f"{key}.arrow"
    about = target.with_suffix(".json")
    if not (target.exists() and about.exists()):
        _log.info("Reading %s into %s", place.name, target)
        if place.manifest:
            # The only moment at which all of it is read anyway.
            check_shards(place.manifest.shards, place.folder, verify=True)
        reader = open_reader(place.records(), place.name, options)
        _write_cache(stored_tables(place, reader), target, limit)
        write_json(about, reader.recognised.model_dump(mode="json"))
    recognised = Recognised.model_validate(read_json(about))
    recognised.say()
    return StoredRows(
        datasets.Dataset(datasets.table.MemoryMappedTable.from_file(str(target)), fingerprint=key), recognised
    )


def concatenate(parts: Sequence[datasets.Dataset]) -> datasets.Dataset:
    """Join datasets of ``read_rows``, in order.

    Raises:
        DataError: no dataset, or one with other columns.
    """
    if not parts:
        raise DataError("No dataset to concatenate; give at least one.")
    for part in parts:
        if part.features != stored_features():
            raise DataError(f"Found columns {', '.join(part.column_names)}; expected a dataset of read_rows.")
    return datasets.concatenate_datasets(list(parts))


def unpack_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored row as a canonical record, its extra columns under their own names.

    Raises:
        RowError: the row could not be read; the reason and message stand in its ``read_error``. Or ``malformed`` for
            extra columns that are no JSON object.
    """
    if row.get("read_error"):
        raise RowError(**row["read_error"])
    record = {key: value for key, value in row.items() if key not in ("extra_json", "read_error")}
    return {**record, **read_extra(row.get("extra_json"))}


def write_rows(rows: Iterable[Mapping[str, Any]], path: str | Path) -> int:
    """Write pairs to ``.jsonl`` or ``.parquet``, whole or not at all, and return how many.

    JSONL refers to image files by relative path and puts bare bytes into ``images/`` beside it; Parquet embeds them.

    Raises:
        DataError: another suffix, a malformed row or an unreadable image.
    """
    path = Path(path).absolute()
    writers = {".jsonl": _write_jsonl, ".parquet": _write_parquet}
    if path.suffix not in writers:
        raise DataError(f"Cannot write {path}: found the suffix {path.suffix!r}, expected .jsonl or .parquet.")
    with replacing(path) as temporary:
        return writers[path.suffix](_checked_rows(rows), temporary)


def _write_cache(tables: Iterable[pa.Table], target: Path, limit: int | None) -> None:
    left = limit
    with (
        replacing(target) as temporary,
        pa.OSFile(str(temporary), "wb") as file,
        pa.ipc.new_stream(file, stored_features().arrow_schema) as writer,
    ):
        for table in tables:
            writer.write_table(table if left is None else table.slice(0, left))
            left = None if left is None else left - len(table)
            if left is not None and left <= 0:
                break


def _checked_rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(rows):
        packed = pack_row(row, Path.cwd())
        if problem := packed.pop("read_error"):
            raise DataError(
                f"Row {number} ({packed['id']!r}) cannot be written: {problem['reason']}: {problem['message']}"
            )
        yield packed


def _write_parquet(rows: Iterable[dict[str, Any]], target: Path) -> int:
    # Written as images that `datasets` and TRL open by themselves.
    schema, count = pair_features(decode=True).arrow_schema, 0
    with write_parquet(target, schema) as writer:
        for batch in batch_rows(map(embed_images, rows), GROUP_ROWS):
            count += len(batch)
            writer.write_table(pa.Table.from_pylist(batch, schema))
    return count


def _write_jsonl(rows: Iterable[dict[str, Any]], target: Path) -> int:
    def written(row: dict[str, Any]) -> dict[str, Any]:
        record = unpack_row({**row, **map_images(row, lambda image: place_image(image, target.parent))})
        unset = [key for key in PAIR_KEYS if key != "images" and record[key] in (None, [])]
        return {key: value for key, value in record.items() if key not in unset}

    return write_lines(target, map(written, rows))
