"""What is known of the images and videos of every row before training: sizes, what tells them apart, broken ones."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from basereward.data.columns import column, list_counts
from basereward.data.digests import ends_hash, short_digest
from basereward.data.images import ImageSize, VideoSize, image_bytes, image_size, load_image, video_size
from basereward.data.parquet import batch_records
from basereward.data.rows import row_images
from basereward.errors import DataError, RowError

Check = Literal["full", "header"]
_ARRAYS = ("image_sizes", "offsets", "video_sizes", "video_offsets", "digests", "video_digests", "shown")


class Problem(NamedTuple):
    """Why a row cannot be used: a key of ``DROP_REASONS``, the message, and the id of the row."""

    reason: str
    message: str
    id: str = ""


class Media(NamedTuple):
    """Sizes of the images and of the videos of one row, and what tells the images apart."""

    images: list[ImageSize]
    videos: list[VideoSize]
    digests: tuple[int, ...] = ()
    video_digests: tuple[int, ...] = ()
    shown: int = 0


@dataclass(frozen=True)
class Sidecar:
    """Sizes of images, videos and texts for each row of one dataset, in its order.

    ``image_sizes`` is ``[images, 2]`` (width, height) over all rows, ``offsets`` ``[rows + 1]`` says where each row's
    begin; ``video_sizes`` is ``[videos, 3]`` (frames, width, height) with ``video_offsets``. ``digests`` is
    ``[images]`` ``short_digest`` of each, ``video_digests`` ``[videos]`` that of their frames' digests, ``shown``
    ``[rows]`` the ``ends_hash`` of the images and frames of each row. A row with a problem has nothing of all this.
    """

    fingerprint: str
    check: Check
    image_sizes: np.ndarray
    offsets: np.ndarray
    video_sizes: np.ndarray
    video_offsets: np.ndarray
    digests: np.ndarray
    video_digests: np.ndarray
    shown: np.ndarray
    problems: Mapping[int, Problem]

    def __len__(self) -> int:
        return len(self.shown)

    def sizes(self, row: int) -> tuple[ImageSize, ...]:
        """Return the sizes of the row's images, in order."""
        start, stop = self.offsets[row : row + 2]
        return tuple(ImageSize(int(width), int(height)) for width, height in self.image_sizes[start:stop])

    def videos(self, row: int) -> tuple[VideoSize, ...]:
        """Return the sizes of the row's videos, in order."""
        start, stop = self.video_offsets[row : row + 2]
        return tuple(VideoSize(*map(int, size)) for size in self.video_sizes[start:stop])

    def media(self, row: int) -> Media:
        """Return all that is known of the images and videos of a row."""
        first, last = self.offsets[row : row + 2]
        first_video, last_video = self.video_offsets[row : row + 2]
        digests, clips = self.digests[first:last], self.video_digests[first_video:last_video]
        sizes, videos = list(self.sizes(row)), list(self.videos(row))
        return Media(sizes, videos, tuple(digests.tolist()), tuple(clips.tolist()), int(self.shown[row]))

    def select(self, rows: Sequence[int] | np.ndarray) -> "Sidecar":
        """Return the sidecar of these rows alone, in the order given; other rows give another fingerprint."""
        kept = np.asarray(rows, dtype=np.int64)
        problems = {new: self.problems[old] for new, old in enumerate(kept.tolist()) if old in self.problems}
        return Sidecar(
            hashlib.sha256(self.fingerprint.encode() + kept.tobytes()).hexdigest()[:32],
            self.check,
            *_take(self.image_sizes, self.offsets, kept),
            *_take(self.video_sizes, self.video_offsets, kept),
            _take(self.digests, self.offsets, kept)[0],
            _take(self.video_digests, self.video_offsets, kept)[0],
            self.shown[kept],
            problems,
        )

    @property
    def sizes_digest(self) -> str:
        """A hash of all sizes, which change with an image of a file of its own while the rows stay what they are."""
        held = hashlib.sha256()
        for name in ("image_sizes", "offsets", "video_sizes", "video_offsets"):
            held.update(np.ascontiguousarray(getattr(self, name)).tobytes())
        return held.hexdigest()

    @property
    def nbytes(self) -> int:
        """Bytes in memory, problems aside."""
        return sum(values.nbytes for values in self.arrays().values())

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all that it holds but fingerprint, check and problems, by name."""
        return {name: getattr(self, name) for name in _ARRAYS}


def remeasure(sidecar: Sidecar, row_of: Callable[[int], Mapping[str, Any]]) -> Sidecar:
    """Return the sidecar with the rows that had a problem measured again: someone may have repaired them.

    Args:
        row_of: the stored row of a number.
    """
    if not sidecar.problems:
        return sidecar
    again = measure_rows([row_of(number) for number in sidecar.problems], sidecar.check)
    # Behind the old rows stand the new ones, each of which takes the place of the row that it is of.
    order = np.arange(len(sidecar))
    order[list(sidecar.problems)] = len(sidecar) + np.arange(len(again))
    return replace(join_sidecars([sidecar, again]).select(order), fingerprint=sidecar.fingerprint)


def measure_table(table: pa.Table, check: Check) -> Sidecar:
    """Measure stored rows with all their columns; broken images become problems of their row.

    Raises:
        DataError: an unknown ``check``.
    """
    media = table.select(["id", "images", "videos"])
    counts = [list_counts(column(media, name)) for name in ("images", "videos")]
    shown = np.flatnonzero(counts[0] + counts[1])
    # Only rows that show something become Python objects.
    measured = measure_rows(batch_records(media.take(shown)), check)
    rows = np.full(len(table), len(measured))
    rows[shown] = np.arange(len(measured))
    # Behind them stands a row without images for all that show none.
    return join_sidecars([measured, measure_rows([{"id": None, "images": [], "videos": []}], check)]).select(rows)


def measure_rows(rows: Iterable[Mapping[str, Any]], check: Check) -> Sidecar:
    """Measure stored rows one by one; broken images become problems of their row.

    Raises:
        DataError: an unknown ``check``.
    """
    if check not in ("full", "header"):
        raise DataError(f"Unknown check {check!r}; expected 'full' or 'header'.")
    problems, found = {}, []
    for number, row in enumerate(rows):
        try:
            found.append(measure_media(row, check, hashes=True))
        except RowError as error:
            problems[number] = Problem(error.reason, str(error), str(row["id"]))
            found.append(Media([], []))
    return Sidecar(
        fingerprint="",
        check=check,
        image_sizes=np.array([size for own in found for size in own.images], dtype=np.int32).reshape(-1, 2),
        offsets=_offsets([len(own.images) for own in found]),
        video_sizes=np.array([size for own in found for size in own.videos], dtype=np.int32).reshape(-1, 3),
        video_offsets=_offsets([len(own.videos) for own in found]),
        digests=np.array([digest for own in found for digest in own.digests], dtype=np.uint64),
        video_digests=np.array([digest for own in found for digest in own.video_digests], dtype=np.uint64),
        shown=np.array([own.shown for own in found], dtype=np.uint64),
        problems=problems,
    )


def measure_media(row: Mapping[str, Any], check: Check, hashes: bool = False) -> Media:
    """Open the images and frames of a stored row.

    Args:
        hashes: whether to read them for what tells them apart too.

    Raises:
        RowError: the first that cannot be used.
    """
    images = [_measure_image(image, check) for image in row["images"] or ()]
    videos = [
        video_size([_measure_image(frame, check) for frame in video["frames"] or ()]) for video in row["videos"] or ()
    ]
    if not hashes or not (images or videos):
        return Media(images, videos)
    digests = tuple(_digest(image, check) for image in row["images"] or ())
    of_videos = tuple(_clip_digest(video["frames"], check) for video in row["videos"] or ())
    return Media(images, videos, digests, of_videos, ends_hash(row_images(row)))


def _clip_digest(frames: Sequence[Mapping[str, Any]], check: Check) -> int:
    return short_digest(np.array([_digest(frame, check) for frame in frames], dtype="<u8").tobytes())


def _digest(image: Mapping[str, Any], check: Check) -> int:
    # Who asks for headers alone has files that should not be read.
    if check == "header" and image["bytes"] is None:
        return ends_hash([image])
    return short_digest(image_bytes(image))


def _measure_image(image: Mapping[str, Any], check: Check) -> ImageSize:
    if check == "header":
        return image_size(image)
    return ImageSize(*load_image(image).size)


def join_sidecars(parts: Sequence[Sidecar], fingerprint: str = "") -> Sidecar:
    """Return the sidecar of the rows of several, one after another; at least one."""
    starts = np.cumsum([0, *map(len, parts)]).tolist()
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS}
    for name in ("offsets", "video_offsets"):
        arrays[name] = _offsets(np.concatenate([np.diff(getattr(part, name)) for part in parts]))
    problems = {
        start + row: problem
        for start, part in zip(starts, parts, strict=False)
        for row, problem in part.problems.items()
    }
    return Sidecar(fingerprint, parts[0].check, **arrays, problems=problems)


def _offsets(counts: Sequence[int] | np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)


def _take(sizes: np.ndarray, offsets: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sizes of these rows alone, and where each row's begin."""
    # A row's sizes are a run of ``counts`` values from its offset on. The running number of the result, moved by how
    # far each run lies from where it stood, is the place of every value: no loop over rows.
    counts = np.diff(offsets)[rows]
    own = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return sizes[np.repeat(offsets[rows] - own[:-1], counts) + np.arange(own[-1])], own
