"""Folders of Parquet shards: rows streamed into files of bounded size, and folders that appear when complete."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import Any, Literal

import datasets
import pyarrow as pa

from basereward.data.images import place_image
from basereward.data.io import replacing
from basereward.data.manifest import Manifest, Shard, describe_shard, write_manifest
from basereward.data.parquet import GROUP_ROWS, write_parquet
from basereward.data.rows import batch_rows, embed_images, map_images, row_images
from basereward.data.work import PARTIAL, Work, open_work
from basereward.errors import DataError, RowError

# How images are stored: their bytes inside the shards, or paths relative to the folder.
ImageStore = Literal["bytes", "paths"]
SHARD_ROWS = 50_000
SHARD_BYTES = 256 * 2**20
Row = dict[str, Any]


def image_store(form: ImageStore, folder: Path) -> Callable[[Row], Row]:
    """Return how a row is stored in ``folder``; with ``paths``, bare bytes are written to ``images/`` there.

    The function raises ``RowError`` for an image that cannot be read.
    """
    if form == "bytes":
        return embed_images
    return lambda row: {
        **row,
        **map_images(row, lambda image: {"bytes": None, "path": place_image(image, folder)}),
    }


def row_bytes(row: Mapping[str, Any]) -> int:
    """Return the bytes that a stored row takes: its texts and its embedded images.

    Raises:
        RowError: ``malformed`` for a text that no UTF-8 file can hold, such as half a surrogate pair.
    """
    texts = [value for key, value in row.items() if key not in ("images", "videos")]
    try:
        held = len(json.dumps(texts, ensure_ascii=False).encode())
    except UnicodeEncodeError as error:
        raise RowError("malformed", f"A text cannot be stored as UTF-8 ({error.reason}).") from error
    return held + sum(len(image["bytes"] or b"") for image in row_images(row))


def write_shards(
    records: Iterable[Sequence[Row]], folder: Path, features: datasets.Features, first: int = 0
) -> Iterator[Shard]:
    """Write rows to ``shard-00000.parquet`` and so on, and yield each shard when its file is complete.

    Rows that stand together in one record stay in one shard, and no record is taken before the shard in front of it
    was yielded: whoever counts records knows exactly which of them the shards hold. A shard ends after the record
    that reaches ``SHARD_ROWS`` or ``SHARD_BYTES``.

    Args:
        records: stored rows, as many a record as it gives.
        folder: where the files are written, each under a temporary name first.
        features: the Arrow types of a row.
        first: number of the first shard.
    """
    remaining = iter(records)
    for number in count(first):
        start = next((rows for rows in remaining if rows), None)
        if start is None:
            return
        path = folder / f"shard-{number:05d}.parquet"
        with replacing(path) as temporary:
            rows = _write_shard(chain([start], remaining), temporary, features.arrow_schema)
        yield describe_shard(path, rows)


def partial_folder(out: Path) -> Path:
    """Return where ``out`` is written until it is complete: a sibling, so that relative paths are the same."""
    return out.with_name(out.name + PARTIAL)


def check_free(out: Path) -> None:
    """Check that nothing stands where a folder is to be written.

    Raises:
        DataError: a file or a folder that is not empty.
    """
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise DataError(f"{out} holds something else; give another folder with --out, or delete it.")


@contextmanager
def appearing(out: str | Path) -> Iterator[Path]:
    """Yield an empty folder that gets the name of ``out`` when the block ends without an error, and is deleted else.

    Raises:
        DataError: ``out`` holds something else.
        WorkError: another process writes ``out``, or the disk is full.
    """
    with open_work(out) as work:
        # Under the lock: another call may have ended since whoever calls looked.
        check_free(work.target)
        work.discard()
        work.folder.mkdir()
        try:
            yield work.folder
            work.publish()
        finally:
            work.discard()


def publish(manifest: Manifest, work: Work) -> None:
    """Write the manifest into the work folder, remove the shards that it does not list, and give it its name."""
    listed = {shard.file for shard in manifest.shards}
    for stray in work.folder.glob("shard-*.parquet"):
        if stray.name not in listed:
            stray.unlink()
    write_manifest(manifest, work.folder)
    work.publish()


def _write_shard(records: Iterable[Sequence[Row]], path: Path, schema: pa.Schema) -> int:
    written = 0
    with write_parquet(path, schema) as writer:
        for batch in batch_rows(_rows_of_shard(records), GROUP_ROWS):
            writer.write_table(pa.Table.from_pylist(batch, schema))
            written += len(batch)
    return written


def _rows_of_shard(records: Iterable[Sequence[Row]]) -> Iterator[Row]:
    rows = held = 0
    for record in records:
        yield from record
        rows += len(record)
        held += sum(map(row_bytes, record))
        if rows >= SHARD_ROWS or held >= SHARD_BYTES:
            return
