"""One pass over a place, and what it finds, kept by content: where rows are, what is wrong with them, what they show.

A later start reads what was found and nothing else: neither the rows nor the images. The file is named by a fingerprint
of the content of the place, the order of its files and all options of reading, so that any change of these is another
pass. Images in files of their own are not part of the content; those that were missing or broken are looked at again.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from basereward.data.cache import making, user_cache
from basereward.data.images import LazyImage
from basereward.data.parts import Kept, Pace, Stored, WorkParts, load_arrays, save_arrays
from basereward.data.place_rows import PlaceRows, RowFacts, TablePiece
from basereward.data.processes import map_shared
from basereward.data.reader import Recognised
from basereward.data.rows import row_images, stored_features
from basereward.data.rowset import count_sources, count_values
from basereward.data.sidecar import Check, Problem, Sidecar, join_sidecars, measure_table, remeasure
from basereward.data.spans import ImagePlaces
from basereward.data.validation import find_bad

# Part of the name of a cached file; grows with what is in it, and whenever the same row gets another verdict.
SURVEY_VERSION = 1
_LEAF = "leaf "


@dataclass(frozen=True)
class Survey:
    """What a pass over a place found, row by row.

    Args:
        sidecar: what the rows show.
        bad: what is wrong with the texts of a row, by number.
        sources: rows of each source, sorted by name.
        recognised: what the place was recognised as.
        cost: of the pass.
    """

    sidecar: Sidecar
    bad: dict[int, Problem]
    sources: dict[str, int]
    recognised: Recognised
    cost: Kept

    @property
    def problems(self) -> dict[int, Problem]:
        """What is wrong with a row, its texts first."""
        return {**self.sidecar.problems, **self.bad}


@dataclass(frozen=True)
class _Found:
    """What was found in some spans that stand together; ``images`` are ``[images, 2]`` places of a column of bytes.

    ``image_counts`` says how many of them each span has, ``counts`` how many rows each record.
    """

    sidecar: Sidecar
    bad: dict[int, Problem]
    sources: dict[str, int]
    counts: np.ndarray
    odd: np.ndarray
    images: dict[str, np.ndarray]
    image_counts: dict[str, np.ndarray]
    spans: int

    def __len__(self) -> int:
        return len(self.sidecar)

    def store(self) -> Stored:
        arrays = {**self.sidecar.arrays(), "counts": self.counts, "odd": self.odd}
        for number, leaf in enumerate(self.images):
            arrays |= {f"images {number}": self.images[leaf], f"image_counts {number}": self.image_counts[leaf]}
        about = {
            "check": self.sidecar.check,
            "problems": list(self.sidecar.problems.items()),
            "bad": list(self.bad.items()),
            "sources": self.sources,
            "leaves": list(self.images),
            "spans": self.spans,
        }
        return Stored(arrays, about)

    @classmethod
    def restore(cls, stored: Stored) -> "_Found":
        arrays, about = dict(stored.arrays), stored.about
        counts, odd = arrays.pop("counts"), arrays.pop("odd")
        images = {leaf: arrays.pop(f"images {number}") for number, leaf in enumerate(about["leaves"])}
        image_counts = {leaf: arrays.pop(f"image_counts {number}") for number, leaf in enumerate(about["leaves"])}
        problems, bad = ({row: Problem(*one) for row, one in about[name]} for name in ("problems", "bad"))
        sidecar = Sidecar("", about["check"], **arrays, problems=problems)
        return cls(sidecar, bad, about["sources"], counts, odd, images, image_counts, about["spans"])


def survey(
    rows: PlaceRows,
    check: Check = "full",
    workers: int = 0,
    on_progress: Callable[[int], None] = lambda rows: None,
    repairs: bool = True,
) -> Survey:
    """Return what there is to know of the rows of a place, which afterwards know where they are.

    Args:
        rows: as ``open_rows`` gives them.
        check: ``full`` decodes each image, so that truncated files are found; ``header`` reads sizes alone.
        workers: processes; with more than one, a script needs its ``if __name__ == "__main__"``.
        on_progress: called with the number of rows looked at so far.
        repairs: whether images that were missing or broken are looked at again. Of several ranks one does so: others
            could find another one repaired since, and train on other pairs.

    Raises:
        DataError: a broken file, no records, none that any format fits, or an unknown ``check``.
    """
    path = survey_path(rows, check)
    with making(path):
        stored = load_arrays(path)
        was_kept = stored is not None
        if stored is None:
            stored = _make(rows, check, workers, on_progress, path)
            save_arrays(path, stored)
            WorkParts(path).discard()
        found = _Found.restore(Stored({k: v for k, v in stored.arrays.items() if k != "place"}, stored.about))
        recognised = Recognised.model_validate(stored.about["recognised"])
        rows.settle(stored.arrays["place"], _row_facts(found, stored.about["is_stored"]))
        sidecar = _look_again(found.sidecar, rows) if repairs else found.sidecar
        if sidecar is not found.sidecar:
            again = replace(found, sidecar=sidecar).store()
            save_arrays(path, Stored({**stored.arrays, **again.arrays}, {**stored.about, **again.about}))
    recognised.say()
    cost = Kept(rows.data_bytes, path.stat().st_size, stored.about["seconds"], was_kept)
    return Survey(replace(sidecar, fingerprint=rows.fingerprint), found.bad, found.sources, recognised, cost)


def survey_path(rows: PlaceRows, check: Check) -> Path:
    """Return where what is found of the rows is kept."""
    return user_cache() / "surveys" / f"{rows.fingerprint}-{check}-{SURVEY_VERSION}.npz"


def _make(rows: PlaceRows, check: Check, workers: int, on_progress: Callable[[int], None], path: Path) -> Stored:
    begun = time.monotonic()
    found = _first(_pass(rows, check, workers, on_progress, WorkParts(path)), rows.limit)
    # Else what was found would be kept as that of another content.
    rows.records.expect_unchanged()
    stored, spans = found.store(), rows.records.spans
    about = {"recognised": rows.recognised.model_dump(mode="json"), "is_stored": rows.is_stored}
    about["seconds"] = time.monotonic() - begun
    if rows.limit is not None:
        # The last task looked at more rows than were wanted.
        rows.settle(spans, _row_facts(found, rows.is_stored))
        about["sources"] = count_sources(rows)
    return Stored({**stored.arrays, "place": spans}, {**stored.about, **about})


def _pass(rows: PlaceRows, check: Check, workers: int, on_progress: Callable[[int], None], parts: WorkParts) -> _Found:
    """Look at task after task, from where earlier parts end, until there are as many rows as wanted."""
    # What is wrong with all records is said before any is looked at.
    _ = rows.recognised
    done = [(end, _Found.restore(stored)) for end, stored in parts.read()]
    founds = [found for _, found in done]
    at = done[-1][0] if done else 0
    pace, held, total = Pace("Looked at rows:", _wanted(rows)), [], sum(map(len, founds))
    for begin, end in _stages(rows, at, total):
        if rows.limit is not None and total >= rows.limit:
            break
        for task, found in enumerate(map_shared(_look, (rows, check), rows.tasks[begin:end], workers), begin + 1):
            held.append(found)
            total += len(found)
            on_progress(total)
            pace.say(total)
            if pace.should_save() or task == len(rows.tasks):
                founds.append(_join(held))
                parts.add(at, task, founds[-1].store())
                at, held = task, []
    return _join([*founds, *held])


def _wanted(rows: PlaceRows) -> int:
    total = len(rows.records)
    return total if rows.limit is None else min(total, rows.limit)


def _stages(rows: PlaceRows, at: int, done: int) -> list[tuple[int, int]]:
    """Return the runs of tasks between which it is asked whether there are enough rows."""
    tasks = len(rows.tasks)
    if rows.limit is None:
        return [(at, tasks)] if at < tasks else []
    # Most records give one row each.
    records = np.array([rows.records.spans[first:last, 4].sum() for first, last in rows.tasks], dtype=np.int64)
    enough = int(np.searchsorted(np.cumsum(records[at:]), rows.limit - done)) + 1
    cuts = [at, *range(min(at + enough, tasks), tasks, 8), tasks]
    return [(begin, end) for begin, end in pairwise(cuts) if begin < end]


def _look(rows: PlaceRows, check: Check, task: tuple[int, int]) -> _Found:
    """Look at the rows of a task."""
    found = [_empty(check)]
    for unit in rows.units(task):
        one = _join([_empty(check), *(_look_at(piece, check) for piece in rows.pieces(unit))])
        counts = {leaf: np.array([len(places)]) for leaf, places in one.images.items()}
        found.append(replace(one, image_counts=counts, spans=unit[1] - unit[0]))
    return _join(found)


def _look_at(piece: TablePiece, check: Check) -> _Found:
    counts = np.ones(len(piece.rows), dtype=np.int64) if piece.counts is None else piece.counts
    return _Found(
        sidecar=measure_table(piece.rows, check),
        bad=find_bad(piece.rows),
        sources=count_values(piece.rows.column("source")),
        counts=counts.astype(np.int32),
        odd=piece.odd,
        images=dict(piece.images),
        image_counts={},
        spans=0,
    )


@lru_cache
def _empty(check: Check) -> _Found:
    sidecar = measure_table(stored_features().arrow_schema.empty_table(), check)
    return _Found(sidecar, {}, {}, np.empty(0, np.int32), np.empty(0, bool), {}, {}, 0)


def _join(founds: Sequence[_Found]) -> _Found:
    starts = np.cumsum([0, *map(len, founds)]).tolist()
    leaves = dict.fromkeys(leaf for found in founds for leaf in found.images)
    sources: dict[str, int] = {}
    for found in founds:
        for name, count in found.sources.items():
            sources[name] = sources.get(name, 0) + count
    none = np.empty((0, 2), np.int64)
    return _Found(
        sidecar=join_sidecars([found.sidecar for found in founds]),
        bad={start + row: one for start, found in zip(starts, founds, strict=False) for row, one in found.bad.items()},
        sources=dict(sorted(sources.items())),
        counts=np.concatenate([found.counts for found in founds]),
        odd=np.concatenate([found.odd for found in founds]),
        images={leaf: np.concatenate([none, *(found.images.get(leaf, none) for found in founds)]) for leaf in leaves},
        image_counts={
            # A file without the column has none of its images.
            leaf: np.concatenate([found.image_counts.get(leaf, np.zeros(found.spans, np.int64)) for found in founds])
            for leaf in leaves
        },
        spans=sum(found.spans for found in founds),
    )


def _first(found: _Found, limit: int | None) -> _Found:
    """Return the first rows of what was found; where their images are is left as it is."""
    if limit is None or len(found) <= limit:
        return found
    return replace(
        found,
        sidecar=found.sidecar.select(np.arange(limit)),
        bad={row: one for row, one in found.bad.items() if row < limit},
        odd=found.odd[:limit],
    )


def _row_facts(found: _Found, is_stored: bool) -> RowFacts:
    images = {
        leaf: ImagePlaces(
            np.concatenate([[0], np.cumsum(found.image_counts[leaf])]).astype(np.int64),
            places[:, 0].astype(np.int64),
            places[:, 1].astype(np.int32),
        )
        for leaf, places in found.images.items()
    }
    counts = np.empty(0, np.int32) if (found.counts == 1).all() else found.counts
    odd = np.flatnonzero(found.odd) if is_stored else np.empty(0, np.int64)
    return RowFacts(counts, odd, images, len(found), is_stored)


def _look_again(sidecar: Sidecar, rows: PlaceRows) -> Sidecar:
    """Return the sidecar with rows measured again whose images may have been repaired: those in files of their own."""
    outside = {
        number: problem
        for number, problem in sidecar.problems.items()
        if any(not isinstance(image, LazyImage) for image in row_images(rows.row(number)))
    }
    if not outside:
        return sidecar
    again = remeasure(replace(sidecar, problems=outside), rows.row)
    inside = {number: problem for number, problem in sidecar.problems.items() if number not in outside}
    problems = dict(sorted({**inside, **again.problems}.items()))
    return sidecar if problems == sidecar.problems else replace(again, problems=problems)
