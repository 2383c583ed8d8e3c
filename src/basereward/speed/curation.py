"""How fast curation is, in what memory, and how much of what was planted among synthetic pairs it finds."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeVar

import datasets
import numpy as np

from basereward.benchmarks.items import BenchmarkItem, build_items, text_row
from basereward.curation.contamination.index import build_index
from basereward.curation.contamination.ledger import contaminated_rows
from basereward.curation.contamination.match import find_matches
from basereward.curation.duplicates import exact_duplicates, near_duplicates
from basereward.curation.fingerprints.features import Features, compute_features
from basereward.data.cache import CACHE_VARIABLE
from basereward.data.overlap import CONTAMINATING
from basereward.data.storage import read_rows, write_rows
from basereward.speed.resident import ResidentPeak
from basereward.speed.synthetic import image_kind_of, image_row, kind_of, leaked_row, question, synthetic_row

T = TypeVar("T")
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class CurationReport:
    """Seconds of wall time of each part, and what was found.

    ``recall`` is the share found of each kind of planted rows; paraphrases are not looked for, and siblings are no
    copies. ``precision`` is the share of the rows called duplicates that are copies, ``leak_precision`` of those called
    contaminated that have the question of an item. ``peak_bytes`` is resident memory of all processes together.
    """

    rows: int
    items: int
    workers: int
    seconds: dict[str, float]
    peak_bytes: int
    recall: dict[str, float]
    precision: float
    leak_precision: float | None

    @property
    def total_seconds(self) -> float:
        """Wall time of all parts."""
        return sum(self.seconds.values())

    def to_dict(self) -> dict[str, Any]:
        """Return everything as one JSON object, with the total and the rows a second."""
        total = self.total_seconds
        return {**asdict(self), "total_seconds": total, "rows_per_second": self.rows / total}


class _Cleaned(NamedTuple):
    """The features of rows, the numbers of the usable ones, and those found to repeat another."""

    features: Features
    kept: np.ndarray
    repeats: np.ndarray


def measure_pairs(
    count: int, items: int = 20_000, workers: int = 2, on_part: Progress = lambda part: None
) -> CurationReport:
    """Curate synthetic pairs of about 1 kB from a Parquet file, with planted copies and leaked questions.

    Args:
        count: number of pairs.
        items: of a benchmark of questions, to look for among the prompts.
        workers: processes that compute features.
        on_part: called with the name of each part when it begins.
    """
    clock = _Clock(on_part)
    with own_caches() as folder:
        rows = _stored(folder, map(synthetic_row, range(count)), clock)
        cleaned = _clean(rows, workers, clock)
        benchmark = _benchmark(items, count)
        index = clock.time("benchmark items", lambda: build_index({"synthetic": benchmark}))
        matches = clock.time("contamination", lambda: find_matches(cleaned.features, cleaned.kept, rows, index))
    kinds = np.array([kind_of(number) for number in range(count)])
    leaked = {row for place in range(items) if (row := leaked_row(place)) is not None and row < count}
    contaminated = set(contaminated_rows(matches, CONTAMINATING).tolist())
    recall = _recall(kinds, cleaned.repeats) | {"leaked": len(contaminated & leaked) / max(len(leaked), 1)}
    right = len(contaminated & leaked) / len(contaminated) if contaminated else None
    precision = _precision(kinds, cleaned.repeats)
    return CurationReport(count, items, workers, clock.seconds, clock.peak, recall, precision, right)


def measure_images(count: int, workers: int = 2, on_part: Progress = lambda part: None) -> CurationReport:
    """Curate pairs with equal texts and one small JPEG each, some of them re-encoded or resized copies.

    Args:
        count: number of pairs.
        workers: processes that compute features.
        on_part: called with the name of each part when it begins.
    """
    clock = _Clock(on_part)
    with own_caches() as folder:
        rows = _stored(folder, map(image_row, range(count)), clock)
        cleaned = _clean(rows, workers, clock)
    kinds = np.array([image_kind_of(number) for number in range(count)])
    recall, precision = _recall(kinds, cleaned.repeats), _precision(kinds, cleaned.repeats)
    return CurationReport(count, 0, workers, clock.seconds, clock.peak, recall, precision, None)


class _Clock:
    """Times parts and watches their memory."""

    def __init__(self, on_part: Progress) -> None:
        self.seconds: dict[str, float] = {}
        self.peak = 0
        self._on_part = on_part

    def time(self, part: str, work: Callable[[], T]) -> T:
        self._on_part(part)
        with ResidentPeak() as memory:
            start = time.perf_counter()
            done = work()
            self.seconds[part] = time.perf_counter() - start
        self.peak = max(self.peak, memory.peak)
        return done


def _stored(folder: Path, rows: Iterator[dict[str, Any]], clock: _Clock) -> datasets.Dataset:
    """Write rows to a file, which is not timed, and read it as a command would."""
    path = folder / "rows.parquet"
    write_rows(rows, path)
    return clock.time("read", lambda: read_rows(path))


def _clean(rows: datasets.Dataset, workers: int, clock: _Clock) -> _Cleaned:
    features = clock.time("features", lambda: compute_features(rows, workers))
    kept = np.flatnonzero(features.reason == 0)
    exact = clock.time("exact duplicates", lambda: exact_duplicates(features, kept))
    left = np.setdiff1d(kept, exact.rows)
    near = clock.time("near duplicates", lambda: near_duplicates(features, left, rows))
    return _Cleaned(features, kept, np.union1d(exact.rows, near.rows))


@contextmanager
def own_caches() -> Iterator[Path]:
    """Yield a folder for the time of a measurement that also holds the caches, so that nothing is known before."""
    variable = os.environ.get(CACHE_VARIABLE)
    with TemporaryDirectory(prefix="basereward-speed-") as name:
        os.environ[CACHE_VARIABLE] = name
        try:
            yield Path(name)
        finally:
            os.environ.pop(CACHE_VARIABLE)
            if variable is not None:
                os.environ[CACHE_VARIABLE] = variable


def _benchmark(items: int, rows: int) -> list[BenchmarkItem]:
    """Return items with questions of their own, and some with the question of a row."""
    found = []
    for place in range(items):
        leaked = leaked_row(place)
        asked = question(place) if leaked is None or leaked >= rows else synthetic_row(leaked)["prompt"].title()
        found.append(text_row(str(place), "all", asked, [f"right {place}"], [f"wrong {place}"]))
    return build_items("synthetic", found)


def _recall(kinds: np.ndarray, found: np.ndarray) -> dict[str, float]:
    is_found = np.isin(np.arange(len(kinds)), found)
    return {str(kind): float(is_found[kinds == kind].mean()) for kind in np.unique(kinds) if kind != "original"}


def _precision(kinds: np.ndarray, found: np.ndarray) -> float:
    called = kinds[found]
    is_copy = ~np.isin(called, ("original", "sibling"))
    return float(is_copy.mean()) if len(called) else 1.0
