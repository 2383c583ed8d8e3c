"""What can be known of every row before training, measured in one pass: image sizes, text lengths, broken images."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, NamedTuple

import datasets
import numpy as np

from basereward.data.images import ImageSize, image_size, load_image, replacing
from basereward.data.storage import iterate_rows
from basereward.errors import DataError, MissingFileError, RowError

Check = Literal["full", "header"]
TEXTS = ("prompt", "chosen", "rejected")
_CHUNK_ROWS = 64


class Problem(NamedTuple):
    """Why the images of a row cannot be used: a key of ``DROP_REASONS`` and the message."""

    reason: str
    message: str


@dataclass(frozen=True)
class Sidecar:
    """Sizes of images and texts for each row of one dataset, in its order.

    ``image_sizes`` is ``[images, 2]`` (width, height) over all rows, ``offsets`` ``[rows + 1]`` says where each row's
    begin, ``text_bytes`` is ``[rows, 3]`` UTF-8 bytes of ``TEXTS``. A row with a problem has no image sizes.
    """

    fingerprint: str
    check: Check
    image_sizes: np.ndarray
    offsets: np.ndarray
    text_bytes: np.ndarray
    problems: Mapping[int, Problem]

    def __len__(self) -> int:
        return len(self.text_bytes)

    def sizes(self, row: int) -> tuple[ImageSize, ...]:
        """Return the sizes of the row's images, in order."""
        start, stop = self.offsets[row : row + 2]
        return tuple(ImageSize(int(width), int(height)) for width, height in self.image_sizes[start:stop])

    def select(self, rows: Sequence[int] | np.ndarray) -> "Sidecar":
        """Return the sidecar of these rows alone, in the order given."""
        kept = np.asarray(rows, dtype=np.int64)
        counts = np.diff(self.offsets)[kept]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        images = np.repeat(self.offsets[kept] - offsets[:-1], counts) + np.arange(offsets[-1])
        problems = {new: self.problems[old] for new, old in enumerate(kept.tolist()) if old in self.problems}
        name = f"{self.fingerprint}[{len(kept)}]"
        return Sidecar(name, self.check, self.image_sizes[images], offsets, self.text_bytes[kept], problems)

    def save(self, path: str | Path) -> None:
        """Write the sidecar as one ``.npz`` file, whole or not at all."""
        about = {"fingerprint": self.fingerprint, "check": self.check, "problems": list(self.problems.items())}
        arrays = {"image_sizes": self.image_sizes, "offsets": self.offsets, "text_bytes": self.text_bytes}
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
                measured = {name: arrays[name] for name in ("image_sizes", "offsets", "text_bytes")}
        except (ValueError, KeyError, OSError, EOFError) as error:
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
    order = np.arange(len(sidecar))
    order[list(sidecar.problems)] = len(sidecar) + np.arange(len(again))
    both = _join([sidecar, again], sidecar.fingerprint, sidecar.check)
    return replace(both.select(order), fingerprint=sidecar.fingerprint)


def _measure_chunks(dataset: datasets.Dataset, check: Check, workers: int) -> Iterator[Sidecar]:
    if workers <= 1:
        rows = iterate_rows(dataset)
        while chunk := list(islice(rows, _CHUNK_ROWS)):
            yield _measure_rows(chunk, check)
        return
    # Spawned, not forked: the caller may hold threads or a CUDA context.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_set_work, initargs=(dataset, check))
    with pool:
        yield from pool.map(_measure_shared, range(0, len(dataset), _CHUNK_ROWS))


_work: list[Any] = []


def _set_work(dataset: datasets.Dataset, check: Check) -> None:
    _work[:] = dataset, check


def _measure_shared(start: int) -> Sidecar:
    dataset, check = _work
    return _measure_rows(iterate_rows(dataset.select(range(start, min(start + _CHUNK_ROWS, len(dataset))))), check)


def _measure_rows(rows: Iterable[Mapping[str, Any]], check: Check) -> Sidecar:
    sizes: list[ImageSize] = []
    offsets, text_bytes, problems = [0], [], {}
    for number, row in enumerate(rows):
        text_bytes.append([_count_bytes(row[name] or ()) for name in TEXTS])
        try:
            sizes.extend([_measure_image(image, check) for image in row["images"] or ()])
        except RowError as error:
            problems[number] = Problem(error.reason, str(error))
        offsets.append(len(sizes))
    return Sidecar(
        fingerprint="",
        check=check,
        image_sizes=np.array(sizes, dtype=np.int32).reshape(-1, 2),
        offsets=np.array(offsets, dtype=np.int64),
        text_bytes=np.array(text_bytes, dtype=np.int64).reshape(-1, 3),
        problems=problems,
    )


def _measure_image(image: Mapping[str, Any], check: Check) -> ImageSize:
    if check == "header":
        return image_size(image)
    return ImageSize(*load_image(image).size)


def _count_bytes(messages: Sequence[Mapping[str, Any]]) -> int:
    return sum(len((part["text"] or "").encode()) for message in messages for part in message["content"] or ())


def _join(parts: Sequence[Sidecar], fingerprint: str, check: Check) -> Sidecar:
    parts = [_measure_rows([], check), *parts]
    starts = np.cumsum([0, *map(len, parts)]).tolist()
    counts = np.concatenate([np.diff(part.offsets) for part in parts])
    return Sidecar(
        fingerprint,
        check,
        image_sizes=np.concatenate([part.image_sizes for part in parts]),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        text_bytes=np.concatenate([part.text_bytes for part in parts]),
        problems={
            start + row: problem
            for start, part in zip(starts, parts, strict=False)
            for row, problem in part.problems.items()
        },
    )
