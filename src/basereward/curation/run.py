"""Curates sets together: one pass for features, the steps in order, and one curated folder for each input."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise, starmap
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np

from basereward import __version__
from basereward.curation.dropped import StepDrop, keep_rows, list_dropped, unusable_ledger
from basereward.curation.fingerprints.features import REASONS, Features, compute_features
from basereward.curation.inputs import InputSet, check_distinct, find_set, read_input
from basereward.curation.recipe import AnyStep, CurationRecipe
from basereward.data.identity import differences
from basereward.data.manifest import Input, Manifest, merged_judges, read_manifest
from basereward.data.places import iterate_rows
from basereward.data.rows import pair_features
from basereward.data.shards import ImageStore, check_free, image_store, publish, write_shards
from basereward.data.storage import concatenate
from basereward.data.work import open_work
from basereward.errors import DataError, WorkError

VALIDATE = "validate"
_SOURCES_LISTED = 20
Progress = Callable[[str, int, int], None]


class Drop(NamedTuple):
    """Numbers of the rows that a step dropped for one reason, and of those that stay in place of each, if it says."""

    reason: str
    rows: np.ndarray
    like: np.ndarray | None = None


class Done(NamedTuple):
    """A step with its options, what it dropped, what it has to tell, and what it found of benchmarks."""

    options: Mapping[str, Any]
    drops: Sequence[Drop]
    details: Mapping[str, Any]
    contamination: Mapping[str, Any] | None = None


class Curated(NamedTuple):
    """Numbers of the rows that are left, and the steps, the validation first."""

    kept: np.ndarray
    steps: Sequence[Done]


def curate(
    recipe: CurationRecipe,
    root: Path,
    out: Path,
    workers: int = 1,
    images: ImageStore = "bytes",
    keep_dropped: bool = False,
    on_progress: Progress = lambda task, done, total: None,
) -> dict[str, Any]:
    """Curate the inputs of a recipe into ``OUT/<input>/`` and return what was done.

    Duplicates and conflicts are looked for over all inputs together. Beside each folder's shards stands
    ``dropped.jsonl``: id, step and reason of every row that is not in them, and the row that stays in its place.
    Folders of the same curation are left as they are, and interrupted work goes on from the features that are known.

    Args:
        root: folder of the converted sources.
        workers: processes that compute features.
        images: their bytes inside the shards, or paths relative to the folder.
        keep_dropped: write the dropped rows themselves too, to ``dropped.parquet``.
        on_progress: called with the name of the task, and the rows done and to do.

    Raises:
        MissingFileError: an input is not there.
        DataError: an unreadable input, or a folder that holds something else.
        WorkError: another process writes ``out``, or a folder there holds another curation.
    """
    inputs = [find_set(name, root) for name in recipe.inputs]
    check_distinct(inputs)
    folders = {one.name: out / one.name.removeprefix("./").strip("/").replace("/", "-") for one in inputs}
    if len(set(folders.values())) < len(folders):
        raise DataError(f"Two inputs would be written to one folder: {', '.join(map(str, folders.values()))}.")
    with open_work(out, out):
        parts = [read_input(one) for one in inputs]
        rows = concatenate(parts)
        features = compute_features(rows, workers, lambda done: on_progress("features", done, len(rows)))
        curated = apply_steps(
            features, rows, recipe.steps, lambda name, done: on_progress(name, done, len(recipe.steps))
        )
        starts = np.cumsum([0, *map(len, parts)]).tolist()
        spans = dict(zip(folders, starmap(range, pairwise(starts)), strict=True))
        written = {}
        for one in inputs:
            name, folder, own = one.name, folders[one.name], spans[one.name]
            manifest = _describe(one, inputs, features, rows, curated, own)
            _write(manifest, folder, images, rows, curated, spans)
            if keep_dropped:
                keep_rows(rows, _drops_within(curated, own), folder, images)
            written[name] = {"folder": str(folder), "rows": len(own), "kept": manifest.rows}
    steps = _tell(curated, range(len(rows)))
    return {"name": recipe.name, "rows": len(rows), "kept": len(curated.kept), "inputs": written, "steps": steps}


def apply_steps(
    features: Features,
    rows: datasets.Dataset,
    steps: Sequence[AnyStep],
    on_progress: Callable[[str, int], None] = lambda name, done: None,
) -> Curated:
    """Drop unusable rows, then what each step drops of the rows that are left.

    Raises:
        DataError: a step is for sources that are not there.
    """
    for step in steps:
        if unknown := sorted(set(getattr(step, "sources", None) or ()) - set(features.sources)):
            found = ", ".join(features.sources[:_SOURCES_LISTED])
            raise DataError(f"{step.step} is for the sources {', '.join(unknown)}; found rows of {found}.")
    kept = np.flatnonzero(features.reason == 0)
    invalid = np.unique(features.reason[features.reason != 0]).tolist()
    drops = [Drop(str(REASONS[code]), np.flatnonzero(features.reason == code)) for code in invalid]
    done = [Done({"step": VALIDATE}, drops, {})]
    for number, step in enumerate(steps):
        on_progress(step.step, number)
        result = step.apply(features, kept, rows)
        drops = [_sorted_drop(reason, lost, result.like.get(reason)) for reason, lost in result.dropped.items()]
        kept = np.setdiff1d(kept, np.concatenate([np.empty(0, np.int64), *(drop.rows for drop in drops)]))
        done.append(Done(step.model_dump(mode="json"), drops, result.details, result.contamination))
    return Curated(kept, done)


def _sorted_drop(reason: str, rows: np.ndarray, like: np.ndarray | None) -> Drop:
    order = np.argsort(rows)
    return Drop(reason, rows[order], None if like is None else like[order])


def _tell(curated: Curated, own: range) -> list[dict[str, Any]]:
    """Return each step with its options, its counts among the rows of ``own``, and its details over all rows."""
    told, left = [], len(own)
    for done in curated.steps:
        dropped = {drop.reason: len(_within(drop.rows, own)) for drop in done.drops}
        before, left = left, left - sum(dropped.values())
        told.append({**done.options, "in": before, "out": left, "dropped": dropped, "details": dict(done.details)})
    return told


def _describe(
    one: InputSet,
    inputs: Sequence[InputSet],
    features: Features,
    rows: datasets.Dataset,
    curated: Curated,
    own: range,
) -> Manifest:
    """Return the manifest of one curated input, still without its shards."""
    ledger = unusable_ledger({drop.reason: _within(drop.rows, own) for drop in curated.steps[0].drops}, rows)
    kept = _within(curated.kept, own)
    return Manifest(
        kind="curated",
        name=one.name,
        rows=len(kept),
        multimodal=int(np.count_nonzero(features.images[kept])),
        shards=(),
        sources=one.manifest.sources if one.manifest else (),
        inputs=tuple(Input(name=each.name, sha256=each.content_hash()) for each in inputs),
        drops=ledger.to_dict(),
        steps=tuple(_tell(curated, own)),
        judges=merged_judges([one.manifest]),
        contamination=next((dict(done.contamination) for done in reversed(curated.steps) if done.contamination), None),
        created_by=f"basereward {__version__}",
    )


def _write(
    manifest: Manifest,
    folder: Path,
    images: ImageStore,
    rows: datasets.Dataset,
    curated: Curated,
    spans: Mapping[str, range],
) -> None:
    """Write the kept rows of the manifest's input and the list of the others, unless that was done before."""
    own = spans[manifest.name]
    with open_work(folder) as work:
        if there := read_manifest(folder):
            if unlike := differences(_facts(there), _facts(manifest)):
                raise WorkError(
                    f"{folder} holds another curation ({'; '.join(unlike)}); give another --out, or delete it."
                )
            return
        check_free(folder)
        # A folder is written in one go: what an interrupted call left is no beginning.
        work.discard()
        store = image_store(images, work.folder)
        records = ([store(row)] for row in iterate_rows(rows.select(_within(curated.kept, own))))
        shards = tuple(write_shards(records, work.folder, pair_features(decode=True)))
        list_dropped(rows, _drops_within(curated, own), work.folder, spans)
        publish(manifest.model_copy(update={"shards": shards}), work)


def _facts(manifest: Manifest) -> dict[str, Any]:
    """Return what two curations of one folder may differ in: their inputs and their steps, counts included."""
    steps = {f"steps.{step['step']}.{place}": step for place, step in enumerate(manifest.steps)}
    return {**steps, "inputs": {one.name: one.sha256 for one in manifest.inputs}}


def _drops_within(curated: Curated, own: range) -> list[StepDrop]:
    """Return what each step dropped among the rows of ``own``."""
    return [
        StepDrop(done.options["step"], drop.reason, drop.rows[within], None if drop.like is None else drop.like[within])
        for done in curated.steps
        for drop in done.drops
        for within in (_is_within(drop.rows, own),)
    ]


def _within(numbers: np.ndarray, own: range) -> np.ndarray:
    return numbers[_is_within(numbers, own)]


def _is_within(numbers: np.ndarray, own: range) -> np.ndarray:
    return (numbers >= own.start) & (numbers < own.stop)
