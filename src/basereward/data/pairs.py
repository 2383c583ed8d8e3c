"""Pairs ready for training: files read, joined, measured and validated, and a map-style view of what is left."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import datasets
import numpy as np
import pyarrow.compute as pc

from basereward.data.arrangement import ReadOptions
from basereward.data.cache import user_cache
from basereward.data.reader import Recognised
from basereward.data.schema import PreferencePair
from basereward.data.sidecar import SIDECAR_VERSION, Check, Sidecar, measure, remeasure
from basereward.data.storage import concatenate, read_set
from basereward.data.validation import DropLedger, parse_row, validate
from basereward.errors import DataError, MissingFileError


class PairDataset(Sequence[PreferencePair]):
    """The usable rows of a dataset as pairs, parsed when asked for; it pickles into data loader workers."""

    def __init__(self, rows: datasets.Dataset, kept: Sequence[int] | np.ndarray) -> None:
        self._rows = rows
        self._kept = np.asarray(kept, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._kept)

    @overload
    def __getitem__(self, index: int) -> PreferencePair: ...
    @overload
    def __getitem__(self, index: slice) -> "PairDataset": ...
    def __getitem__(self, index: int | slice) -> "PreferencePair | PairDataset":
        if isinstance(index, slice):
            return PairDataset(self._rows, self._kept[index])
        row = int(self._kept[index])
        return parse_row(self._rows[row], row)

    def select(self, indices: Sequence[int]) -> "PairDataset":
        """Return the pairs at these places, in the order given."""
        return PairDataset(self._rows, self._kept[np.asarray(indices, dtype=np.int64)])

    @property
    def rows(self) -> list[int]:
        """The places of the pairs in what was read, counted from 0."""
        return self._kept.tolist()

    @property
    def stored(self) -> datasets.Dataset:
        """The pairs as they are stored, in the layout of ``read_rows``."""
        return self._rows.select(self._kept)

    def sources(self) -> dict[str, int]:
        """Return how many pairs each source has, sorted by name."""
        return count_sources(self.stored)


@dataclass(frozen=True)
class LoadedPairs:
    """Usable pairs, their sidecar row by row, the ledger of the dropped, and what each place held by source and was."""

    pairs: PairDataset
    sidecar: Sidecar
    ledger: DropLedger
    read: dict[str, dict[str, int]]
    recognised: dict[str, Recognised]


def pair_row(pair: PreferencePair) -> dict[str, Any]:
    """Return the canonical record of a pair, as ``write_rows`` takes it."""
    spoken = {name: [message.to_dict() for message in getattr(pair, name)] for name in ("prompt", "chosen", "rejected")}
    videos = [{"frames": list(video.frames), "fps": video.fps} for video in pair.videos]
    seen = {"images": list(pair.images), "videos": videos}
    rated = {"scores": list(pair.scores), "margin": pair.margin}
    return {**pair.extra, "id": pair.id, "source": pair.source, **seen, **spoken, **rated}


def count_sources(rows: datasets.Dataset) -> dict[str, int]:
    """Return how many rows each source has, sorted by name."""
    if not len(rows):
        return {}
    counts = pc.value_counts(rows.select_columns("source").with_format("arrow")[:]["source"]).to_pylist()
    return dict(sorted((count["values"], count["counts"]) for count in counts))


def load_pairs(
    paths: Sequence[str | Path],
    split: str = "train",
    limit: int | None = None,
    strict: bool = False,
    check: Check = "full",
    workers: int = 0,
    on_progress: Callable[[int], None] = lambda rows: None,
    options: ReadOptions | None = None,
) -> LoadedPairs:
    """Read files, join them, and keep what is usable.

    Measurements are cached with the rows: images that were fine are not opened again, broken ones are.

    Args:
        paths: files, folders or hub ids, as ``read_rows`` takes them.
        split: as in ``read_rows``.
        limit: read only the first rows of each path.
        strict: raise at the first bad row instead of dropping and counting it.
        check: whether images are decoded or only their headers read.
        workers: processes that measure images.
        on_progress: called with the number of rows measured so far.
        options: how records are read that do not say it by themselves.

    Raises:
        MissingFileError: one of the paths does not exist.
        DataError: an unreadable file, a bad row when ``strict``, or no usable row at all.
    """
    sets = [read_set(path, split, limit, options) for path in paths]
    parts = [one.rows for one in sets]
    rows = concatenate(parts)
    sidecar = _cached_sidecar(rows, check, workers, on_progress)
    kept, ledger = validate(rows, sidecar, strict)
    if not kept:
        forms = ", ".join(dict.fromkeys(one.recognised.format for one in sets))
        raise DataError(
            f"None of {len(rows)} rows in {', '.join(map(str, paths))}, read as {forms}, is usable ({ledger.tell()})."
        )
    read = {str(path): count_sources(part) for path, part in zip(paths, parts, strict=True)}
    recognised = {str(path): one.recognised for path, one in zip(paths, sets, strict=True)}
    return LoadedPairs(PairDataset(rows, kept), sidecar.select(kept), ledger, read, recognised)


def _cached_sidecar(rows: datasets.Dataset, check: Check, workers: int, on_progress: Callable[[int], None]) -> Sidecar:
    path = user_cache() / "sidecars" / f"{rows._fingerprint}-{check}-{SIDECAR_VERSION}.npz"
    try:
        stored = Sidecar.load(path, rows._fingerprint)
    except MissingFileError:
        sidecar = measure(rows, check, workers, on_progress)
    else:
        # Rows that were fine are not opened again; one that was broken may have been repaired.
        sidecar = remeasure(stored, rows)
        if sidecar.problems == stored.problems:
            return sidecar
    sidecar.save(path)
    return sidecar
