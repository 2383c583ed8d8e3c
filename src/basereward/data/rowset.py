"""Rows in the stored layout, in order, wherever they are: single ones on demand, and columns of all."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from basereward.data.parquet import batch_records

_BATCH_ROWS = 1000


class Rows(Protocol):
    """Rows in the stored layout, in order."""

    def __len__(self) -> int: ...

    def row(self, number: int) -> dict[str, Any]:
        """Return a row; images of files that hold rows are read when their bytes are asked for."""
        ...

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield columns of all rows in order; those of images may be without bytes."""
        ...


class DatasetRows:
    """The rows of a data set of ``read_rows``."""

    def __init__(self, dataset: datasets.Dataset) -> None:
        # The arrow format never decodes images, whatever the features of the data set say.
        self._rows = dataset.with_format("arrow")

    def __len__(self) -> int:
        return len(self._rows)

    def row(self, number: int) -> dict[str, Any]:
        """Return a row."""
        [row] = batch_records(self._rows[number : number + 1])
        return row

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield columns of all rows in order."""
        yield from self._rows.select_columns(list(columns)).iter(batch_size=_BATCH_ROWS)


class JoinedRows:
    """The rows of several, one after another."""

    def __init__(self, parts: Sequence[Rows]) -> None:
        self._parts = list(parts)
        self._firsts = np.cumsum([0, *map(len, parts)])

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def row(self, number: int) -> dict[str, Any]:
        """Return a row."""
        part = int(np.searchsorted(self._firsts, number, side="right")) - 1
        return self._parts[part].row(number - int(self._firsts[part]))

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield columns of all rows in order."""
        for part in self._parts:
            yield from part.tables(columns)


def count_sources(rows: Rows) -> dict[str, int]:
    """Return how many rows each source has, sorted by name."""
    counts: Counter[str] = Counter()
    for table in rows.tables(["source"]):
        counts.update(count_values(table.column("source")))
    return dict(sorted(counts.items()))


def count_values(column: pa.ChunkedArray) -> dict[Any, int]:
    """Return how often each value of a column stands there."""
    return {one["values"]: one["counts"] for one in pc.value_counts(column).to_pylist()}
