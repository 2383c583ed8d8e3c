"""What can be known of every row before training, measured in one pass: sizes of images, videos, texts; broken ones."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple
from zipfile import BadZipFile

import datasets
import numpy as np
import pyarrow as pa

from basereward.data.columns import column, count_text_bytes, list_counts
from basereward.data.images import ImageSize, VideoSize, image_size, load_image, video_size
from basereward.data.io import replacing
from basereward.data.parquet import batch_records
from basereward.data.processes import map_shared
from basereward.data.rows import stored_features
from basereward.errors import DataError, MissingFileError, RowError

Check = Literal["full", "header"]
# Part of the name of a cached file; grows with the arrays in it.
SIDECAR_VERSION = 3
_CHUNK_ROWS = 64
_ARRAYS = ("image_sizes", "offsets", "video_sizes", "video_offsets", "text_bytes")


class Problem(NamedTuple):
    """Why the images or videos of a row cannot be used: a key of ``DROP_REASONS`` and the message."""

    reason: str
    message: str


class Media(NamedTuple):
    """Sizes of the images and of the videos of one row."""

    images: list[ImageSize]
    videos: list[VideoSize]


@dataclass(frozen=True)
class Sidecar:
    """Sizes of images, videos and texts for each row of one dataset, in its order.

    ``image_sizes`` is ``[images, 2]`` (width, height) over all rows, ``offsets`` ``[rows + 1]`` says where each row's
    begin; ``video_sizes`` is ``[videos, 3]`` (frames, width, height) with ``video_offsets``; ``text_bytes`` is
    ``[rows, 3]`` UTF-8 bytes of ``REQUIRED_KEYS``. A row with a problem has no sizes of images or videos.
    """

    fingerprint: str
    check: Check
    image_sizes: np.ndarray
    offsets: np.ndarray
    video_sizes: np.ndarray
    video_offsets: np.ndarray
    text_bytes: np.ndarray
    problems: Mapping[int, Problem]

    def __len__(self) -> int:
        return len(self.text_bytes)

    def sizes(self, row: int) -> tuple[ImageSize, ...]:
        """Return the sizes of the row's images, in order."""
        start, stop = self.offsets[row : row + 2]
        return tuple(ImageSize(int(width), int(height)) for width, height in self.image_sizes[start:stop])

    def videos(self, row: int) -> tuple[VideoSize, ...]:
        """Return the sizes of the row's videos, in order."""
        start, stop = self.video_offsets[row : row + 2]
        return tuple(VideoSize(*map(int, size)) for size in self.video_sizes[start:stop])

    def select(self, rows: Sequence[int] | np.ndarray) -> "Sidecar":
        """Return the sidecar of these rows alone, in the order given; other rows give another fingerprint."""
        kept = np.asarray(rows, dtype=np.int64)
        problems = {new: self.problems[old] for new, old in enumerate(kept.tolist()) if old in self.problems}
        return Sidecar(
            hashlib.sha256(self.fingerprint.encode() + kept.tobytes()).hexdigest()[:16],
            self.check,
            *_take(self.image_sizes, self.offsets, kept),
            *_take(self.video_sizes, self.video_offsets, kept),
            self.text_bytes[kept],
            problems,
        )

    def save(self, path: str | Path) -> None:
        """Write the sidecar as one ``.npz`` file, whole or not at all."""
        about = {"fingerprint": self.fingerprint, "check": self.check, "problems": list(self.problems.items())}
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        # As bytes: a text in an array would be stored with four bytes for each character.
        encoded = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
        with replacing(Path(path)) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, about=encoded, **arrays)

    @classmethod
    def load(cls, path: str | Path, fingerprint: str | None = None) -> "Sidecar":
        """Read a saved sidecar; ``fingerprint`` is that of the dataset it must belong to.

        Raises:
            MissingFileError: no such file.
            DataError: it is no sidecar, or belongs to another dataset.
        """
        if not Path(path).is_file():
            raise MissingFileError(f"The sidecar {path} does not exist; call measure and save it.")
        try:
            with np.load(path) as arrays:
                about = json.loads(arrays["about"].tobytes())
                measured = {name: arrays[name] for name in _ARRAYS}
        except (ValueError, KeyError, OSError, EOFError, BadZipFile) as error:
            raise DataError(f"{path} is no sidecar ({error}); delete it and measure again.") from error
        if fingerprint not in (None, about["fingerprint"]):
            found, expected = about["fingerprint"], fingerprint
            raise DataError(f"The sidecar {path} is of dataset {found}, expected {expected}; measure again.")
        problems = {row: Problem(*problem) for row, problem in about["problems"]}
        return cls(about["fingerprint"], about["check"], **measured, problems=problems)


def measure(
    dataset: datasets.Dataset,
    check: Check = "full",
    workers: int = 0,
    on_progress: Callable[[int], None] = lambda rows: None,
) -> Sidecar:
    """Measure every row of a dataset of ``read_rows``; broken images become problems of their row.

    Args:
        dataset: rows in the stored layout.
        check: ``full`` decodes each image, so that truncated files are found; ``header`` reads sizes alone.
        workers: processes; with more than one, a script needs its ``if __name__ == "__main__"``.
        on_progress: called with the number of rows measured so far.

    Raises:
        DataError: an unknown ``check``.
    """
    if check not in ("full", "header"):
        raise DataError(f"Unknown check {check!r}; expected 'full' or 'header'.")
    parts: list[Sidecar] = []
    done = 0
    for part in _measure_chunks(dataset, check, workers):
        parts.append(part)
        done += len(part)
        on_progress(done)
    return _join(parts, dataset._fingerprint, check)


def remeasure(sidecar: Sidecar, dataset: datasets.Dataset) -> Sidecar:
    """Return the sidecar with the rows that had a problem measured again: someone may have repaired them."""
    if not sidecar.problems:
        return sidecar
    again = measure(dataset.select(list(sidecar.problems)), sidecar.check)
    # Behind the old rows stand the new ones, each of which takes the place of the row that it is of.
    order = np.arange(len(sidecar))
    order[list(sidecar.problems)] = len(sidecar) + np.arange(len(again))
    both = _join([sidecar, again], sidecar.fingerprint, sidecar.check)
    return replace(both.select(order), fingerprint=sidecar.fingerprint)


def _measure_chunks(dataset: datasets.Dataset, check: Check, workers: int) -> Iterator[Sidecar]:
    # The arrow format never decodes images, whatever the features of the dataset say.
    shared = (dataset.with_format("arrow"), check)
    yield from map_shared(_measure_chunk, shared, range(0, len(dataset), _CHUNK_ROWS), workers)


def _measure_chunk(rows: datasets.Dataset, check: Check, start: int) -> Sidecar:
    return _measure_rows(rows[start : start + _CHUNK_ROWS], check)


def measure_media(row: Mapping[str, Any], check: Check) -> Media:
    """Open the images and frames of a stored row.

    Raises:
        RowError: the first that cannot be used.
    """
    images = [_measure_image(image, check) for image in row["images"] or ()]
    videos = [
        video_size([_measure_image(frame, check) for frame in video["frames"] or ()]) for video in row["videos"] or ()
    ]
    return Media(images, videos)


def _measure_rows(table: pa.Table, check: Check) -> Sidecar:
    images: list[ImageSize] = []
    videos: list[VideoSize] = []
    problems = {}
    media = table.select(["images", "videos"])
    counts = [list_counts(column(media, name)).copy() for name in ("images", "videos")]
    shown = np.flatnonzero(counts[0] + counts[1])
    # Only rows that show something become Python objects.
    for number, row in zip(shown.tolist(), batch_records(media.take(shown)), strict=True):
        try:
            own = measure_media(row, check)
        except RowError as error:
            problems[number] = Problem(error.reason, str(error))
            counts[0][number] = counts[1][number] = 0
        else:
            images += own.images
            videos += own.videos
    return Sidecar(
        fingerprint="",
        check=check,
        image_sizes=np.array(images, dtype=np.int32).reshape(-1, 2),
        offsets=np.concatenate([[0], np.cumsum(counts[0], dtype=np.int64)]),
        video_sizes=np.array(videos, dtype=np.int32).reshape(-1, 3),
        video_offsets=np.concatenate([[0], np.cumsum(counts[1], dtype=np.int64)]),
        text_bytes=count_text_bytes(table),
        problems=problems,
    )


def _measure_image(image: Mapping[str, Any], check: Check) -> ImageSize:
    if check == "header":
        return image_size(image)
    return ImageSize(*load_image(image).size)


def _join(parts: Sequence[Sidecar], fingerprint: str, check: Check) -> Sidecar:
    # An empty part gives the arrays their types where there is no other.
    parts = [_measure_rows(stored_features().arrow_schema.empty_table(), check), *parts]
    starts = np.cumsum([0, *map(len, parts)]).tolist()
    return Sidecar(
        fingerprint,
        check,
        image_sizes=np.concatenate([part.image_sizes for part in parts]),
        offsets=_chain([part.offsets for part in parts]),
        video_sizes=np.concatenate([part.video_sizes for part in parts]),
        video_offsets=_chain([part.video_offsets for part in parts]),
        text_bytes=np.concatenate([part.text_bytes for part in parts]),
        problems={
            start + row: problem
            for start, part in zip(starts, parts, strict=False)
            for row, problem in part.problems.items()
        },
    )


def _take(sizes: np.ndarray, offsets: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sizes of these rows alone, and where each row's begin."""
    # A row's sizes are a run of ``counts`` values from its offset on. The running number of the result, moved by how
    # far each run lies from where it stood, is the place of every value: no loop over rows.
    counts = np.diff(offsets)[rows]
    own = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return sizes[np.repeat(offsets[rows] - own[:-1], counts) + np.arange(own[-1])], own


def _chain(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return the offsets of several parts after one another."""
    counts = np.concatenate([np.diff(offsets) for offsets in parts])
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
