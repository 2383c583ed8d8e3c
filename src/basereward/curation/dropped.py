"""What a curation leaves out of a folder: the list of it, and, if asked for, the rows themselves."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from basereward.curation.fingerprints.features import row_hashes
from basereward.data.io import replacing, write_lines
from basereward.data.places import iterate_rows
from basereward.data.rows import batch_rows, stored_features
from basereward.data.shards import ImageStore, Row, image_store
from basereward.data.validation import EXAMPLES_KEPT, DropLedger, parse_row
from basereward.errors import DataError, RowError

LIST, ROWS = "dropped.jsonl", "dropped.parquet"


class StepDrop(NamedTuple):
    """Numbers of the rows that a step dropped for one reason, and of those that stay in place of each, if it says."""

    step: str
    reason: str
    rows: np.ndarray
    like: np.ndarray | None = None


def unusable_ledger(numbers: Mapping[str, np.ndarray], rows: datasets.Dataset) -> DropLedger:
    """Return the ledger of rows that no pair can be read from, by reason, with the first ones as examples.

    Args:
        numbers: of the rows of each reason, rising.
        rows: of all inputs together.
    """
    ledger = DropLedger()
    for reason, own in numbers.items():
        for number in own[:EXAMPLES_KEPT].tolist():
            ledger.add(reason, _why(rows[number], number))
        if len(own):
            ledger.counts[reason] = len(own)
    return ledger


def _why(row: Mapping[str, Any], number: int) -> str:
    """Return why a stored row cannot be used."""
    try:
        row_hashes(parse_row(row, number))
    except RowError as error:
        return f"Row {number} (id {row['id']!r}): {error}"
    raise DataError(f"Row {number} (id {row['id']!r}) was unusable and no longer is; give the command again.")


def list_dropped(rows: datasets.Dataset, drops: Sequence[StepDrop], folder: Path, inputs: Mapping[str, range]) -> None:
    """Write id, step and reason of every dropped row to ``dropped.jsonl``, and which row stays in its place.

    Args:
        rows: of all inputs together.
        inputs: the numbers of the rows of each input.
    """
    with replacing(folder / LIST) as temporary:
        write_lines(temporary, _lines(rows.select_columns("id"), drops, inputs))


def _lines(ids: datasets.Dataset, drops: Sequence[StepDrop], inputs: Mapping[str, range]) -> Iterator[dict[str, Any]]:
    starts = [own.start for own in inputs.values()]
    for drop in drops:
        lines = [{"id": name, "step": drop.step, "reason": drop.reason} for name in ids.select(drop.rows)["id"]]
        if drop.like is not None:
            for line, number, name in zip(lines, drop.like.tolist(), ids.select(drop.like)["id"], strict=True):
                place = bisect_right(starts, number) - 1
                line["like"] = {"input": list(inputs)[place], "row": number - starts[place], "id": name}
        yield from lines


def keep_rows(rows: datasets.Dataset, drops: Sequence[StepDrop], folder: Path, images: ImageStore) -> None:
    """Write the dropped rows to ``dropped.parquet`` in the order of the list, unless that file is there.

    They have the columns of a shard and ``step``, ``reason`` and ``read_error``; what could not be read at all is null,
    and an image that cannot be read is left as its path.
    """
    if (folder / ROWS).is_file():
        return
    added = dict.fromkeys(("step", "reason"), datasets.Value("string"))
    schema = datasets.Features({**stored_features(decode=True), **added}).arrow_schema
    with replacing(folder / ROWS) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for batch in batch_rows(_dropped_rows(rows, drops, folder, images)):
            writer.write_table(pa.Table.from_pylist(batch, schema))


def _dropped_rows(
    rows: datasets.Dataset, drops: Sequence[StepDrop], folder: Path, images: ImageStore
) -> Iterator[dict[str, Any]]:
    store = image_store(images, folder)
    for drop in drops:
        for row in iterate_rows(rows.select(drop.rows)):
            yield {**_stored(row, store), "step": drop.step, "reason": drop.reason}


def _stored(row: Row, store: Callable[[Row], Row]) -> Row:
    if row["read_error"]:
        return row
    try:
        return store(row)
    except RowError:
        return row
