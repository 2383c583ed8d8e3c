"""Pairs ready for training: files read, joined, measured and validated, and a map-style view of what is left."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa

from basereward.data.arrangement import ReadOptions
from basereward.data.cache import user_cache
from basereward.data.digests import ends_hash
from basereward.data.images import LazyImage
from basereward.data.parts import Kept
from basereward.data.place_rows import open_rows
from basereward.data.reader import Recognised
from basereward.data.rows import row_images
from basereward.data.rowset import JoinedRows, Rows, count_sources
from basereward.data.schema import PreferencePair
from basereward.data.sidecar import Check, Sidecar, join_sidecars
from basereward.data.survey import survey
from basereward.data.validation import DropLedger, drop_bad, parse_row
from basereward.errors import DataError


class PairDataset(Sequence[PreferencePair]):
    """The usable rows of a dataset as pairs, read when asked for; it pickles into data loader workers.

    Args:
        rows: those that are used and others.
        kept: numbers of those that are used.
        shown: ``ends_hash`` of the images of each of these, if it is known; where a file of its own is another one
            when a pair is read, that is an error.
        fingerprint: of the content of these, in order; None where nobody knows it.
    """

    def __init__(
        self,
        rows: Rows,
        kept: Sequence[int] | np.ndarray,
        shown: np.ndarray | None = None,
        fingerprint: str | None = None,
    ) -> None:
        self._rows = rows
        self._kept = np.asarray(kept, dtype=np.int64)
        self.shown = shown
        self.fingerprint = fingerprint

    def __len__(self) -> int:
        return len(self._kept)

    @overload
    def __getitem__(self, index: int) -> PreferencePair: ...
    @overload
    def __getitem__(self, index: slice) -> "PairDataset": ...
    def __getitem__(self, index: int | slice) -> "PreferencePair | PairDataset":
        if isinstance(index, slice):
            return self.select(range(len(self))[index])
        row = self.row(index)
        if self.shown is not None:
            _expect_shown(row, int(self.shown[index]))
        return parse_row(row, int(self._kept[index]))

    def row(self, index: int) -> dict[str, Any]:
        """Return a pair as it is stored."""
        return self._rows.row(int(self._kept[index]))

    def select(self, indices: Sequence[int] | np.ndarray) -> "PairDataset":
        """Return the pairs at these places, in the order given."""
        places = np.asarray(indices, dtype=np.int64)
        shown = None if self.shown is None else self.shown[places]
        told = self.fingerprint and _selected(self.fingerprint, places, len(self))
        return PairDataset(self._rows, self._kept[places], shown, told)

    @property
    def rows(self) -> list[int]:
        """The places of the pairs in what was read, counted from 0."""
        return self._kept.tolist()

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield columns of the pairs as they are stored, in order; those of images may be without bytes."""
        if (np.diff(self._kept) < 0).any():
            order = np.argsort(self._kept, kind="stable")
            table = pa.concat_tables(self.select(order).tables(columns))
            yield table.take(np.argsort(order))
            return
        start = 0
        for table in self._rows.tables(columns):
            first, last = np.searchsorted(self._kept, [start, start + len(table)])
            own = self._kept[first:last] - start
            start += len(table)
            if len(own):
                yield table if len(own) == len(table) else table.take(own)

    def sources(self) -> dict[str, int]:
        """Return how many pairs each source has, sorted by name."""
        return count_sources(self)


def _expect_shown(row: Mapping[str, Any], shown: int) -> None:
    """Check that images in files of their own, which no fingerprint of a place tells, are those that were measured.

    Raises:
        DataError: one has changed.
    """
    images = row_images(row)
    # Those inside of files that hold rows are checked where they are read.
    outside = [one["path"] for one in images if not isinstance(one, LazyImage) and one["bytes"] is None]
    if outside and ends_hash(images) != shown:
        raise DataError(
            f"Pair {row['id']} shows {', '.join(path[:200] for path in outside)}, of which one changed or went since "
            f"it was measured. Restore it, or delete {user_cache() / 'surveys'}, so that all images are looked at "
            "again."
        )


def _selected(fingerprint: str, places: np.ndarray, total: int) -> str:
    """Return the fingerprint of some of so many things with a fingerprint; all of them, in order, have the same."""
    if np.array_equal(places, np.arange(total)):
        return fingerprint
    return hashlib.sha256(fingerprint.encode() + places.tobytes()).hexdigest()[:32]


@dataclass(frozen=True)
class LoadedPairs:
    """Usable pairs, their sidecar row by row, the ledger of the dropped, and what each place held by source and was.

    ``costs`` are those of the pass over each place.
    """

    pairs: PairDataset
    sidecar: Sidecar
    ledger: DropLedger
    read: dict[str, dict[str, int]]
    recognised: dict[str, Recognised]
    costs: tuple[Kept, ...] = ()


def pair_row(pair: PreferencePair) -> dict[str, Any]:
    """Return the canonical record of a pair, as ``write_rows`` takes it."""
    spoken = {name: [message.to_dict() for message in getattr(pair, name)] for name in ("prompt", "chosen", "rejected")}
    videos = [{"frames": list(video.frames), "fps": video.fps} for video in pair.videos]
    seen = {"images": list(pair.images), "videos": videos}
    rated = {"scores": list(pair.scores), "margin": pair.margin}
    return {**pair.extra, "id": pair.id, "source": pair.source, **seen, **spoken, **rated}


def load_pairs(
    paths: Sequence[str | Path],
    split: str = "train",
    limit: int | None = None,
    strict: bool = False,
    check: Check = "full",
    workers: int = 0,
    on_progress: Callable[[int], None] = lambda rows: None,
    options: ReadOptions | None = None,
    repairs: bool = True,
) -> LoadedPairs:
    """Read files, join them, and keep what is usable.

    What is found is kept by the content of the files: later calls read no rows, and images that were missing or broken.

    Args:
        paths: files, folders or hub ids, as ``read_rows`` takes them.
        split: as in ``read_rows``.
        limit: read only the first rows of each path.
        strict: raise at the first bad row instead of dropping and counting it.
        check: whether images are decoded or only their headers read.
        workers: processes that look at rows and images.
        on_progress: called with the number of rows looked at so far.
        options: how records are read that do not say it by themselves.
        repairs: as in ``survey``.

    Raises:
        MissingFileError: one of the paths does not exist.
        DataError: an unreadable file, a bad row when ``strict``, or no usable row at all.
    """
    sets = [open_rows(path, split, limit, options) for path in paths]
    if not sets:
        raise DataError("There is no place to read pairs from; give at least one.")
    done, surveys = 0, []
    for rows in sets:
        found = survey(rows, check, workers, partial(_tell_after, done, on_progress), repairs)
        done += len(rows)
        surveys.append(found)
    firsts = np.cumsum([0, *map(len, sets)]).tolist()
    bad = {
        first + number: problem
        for first, found in zip(firsts, surveys, strict=False)
        for number, problem in found.problems.items()
    }
    kept, ledger = drop_bad(done, bad, strict)
    if not len(kept):
        forms = ", ".join(dict.fromkeys(found.recognised.format for found in surveys))
        raise DataError(
            f"None of {done} rows in {', '.join(map(str, paths))}, read as {forms}, is usable ({ledger.tell()})."
        )
    # Which files, and in which order: the same rows in another one are other data.
    fingerprint = hashlib.sha256("".join(rows.fingerprint for rows in sets).encode()).hexdigest()[:32]
    sidecar = join_sidecars([found.sidecar for found in surveys], fingerprint).select(kept)
    pairs = PairDataset(JoinedRows(sets), kept, sidecar.shown, sidecar.fingerprint)
    read = {str(path): found.sources for path, found in zip(paths, surveys, strict=True)}
    recognised = {str(path): found.recognised for path, found in zip(paths, surveys, strict=True)}
    return LoadedPairs(pairs, sidecar, ledger, read, recognised, tuple(found.cost for found in surveys))


def _tell_after(done: int, on_progress: Callable[[int], None], count: int) -> None:
    """Tell how many rows are done of all files, of those before this one and of this."""
    on_progress(done + count)
