"""Mixes converted sets into one folder of shards: rows drawn, shuffled by number over mapped files, and streamed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.compute as pc

from basereward import __version__
from basereward.curation.inputs import InputSet, check_distinct, find_place, find_source, read_input
from basereward.curation.mix_recipe import MixRecipe
from basereward.curation.mixture import MixCount, Modalities, count_mixture, draw_rows
from basereward.data.identity import differences
from basereward.data.manifest import Input, Manifest, merged_judges, read_manifest
from basereward.data.places import iterate_rows
from basereward.data.record import merged_contamination
from basereward.data.rows import pair_features
from basereward.data.shards import ImageStore, Row, check_free, image_store, publish, write_shards
from basereward.data.storage import concatenate, read_rows
from basereward.data.validation import DropLedger
from basereward.data.work import open_work
from basereward.errors import WorkError

_UNREADABLE = len(Modalities._fields)


def find_inputs(recipe: MixRecipe, root: Path) -> list[InputSet]:
    """Return the inputs of a recipe in its order: sources under ``root``, paths as they are.

    Raises:
        MissingFileError: a source is not converted; names the command that does it.
        DataError: a broken folder, one that holds prompts, or one that is named twice.
    """
    found = [find_source(given.name, root) if given.path is None else find_place(given.path) for given in recipe.inputs]
    check_distinct(found)
    return found


def count_inputs(recipe: MixRecipe, root: Path) -> list[MixCount]:
    """Return the exact rows that a mixture takes of each input; folders with a manifest are not read.

    Raises:
        MissingFileError: as ``find_inputs``.
        DataError: as ``find_inputs`` and ``count_mixture``.
    """
    available = {}
    for one in find_inputs(recipe, root):
        if one.manifest:
            rows, multimodal = one.manifest.rows, one.manifest.multimodal
            available[one.name] = Modalities(multimodal, rows - multimodal)
        else:
            available[one.name] = _available(_modalities(read_rows(one.place), DropLedger()))
    return count_mixture(recipe, available)


def mix(
    recipe: MixRecipe,
    root: Path,
    out: Path,
    images: ImageStore = "bytes",
    on_progress: Callable[[int], None] = lambda rows: None,
) -> Manifest:
    """Write the mixture of a recipe to a folder of shards with a manifest.

    The same mixture of the same inputs is left as it is. Numbers of rows are shuffled, not rows: files stay mapped.

    Args:
        recipe: what to take.
        root: folder of the converted sources.
        out: the folder; ``OUT.partial`` until it is complete.
        images: their bytes inside the shards, or paths relative to the folder.
        on_progress: called with the number of rows written.

    Raises:
        MissingFileError: an input is not there.
        DataError: as ``count_inputs``; a folder that holds something else; an image that is gone.
        WorkError: another process writes the folder, or it holds another mixture.
    """
    found = find_inputs(recipe, root)
    inputs = tuple(Input(name=one.name, sha256=one.content_hash()) for one in found)
    asked = {"step": "mix", "recipe": recipe.model_dump(mode="json"), "images": images}
    with open_work(out) as work:
        if done := read_manifest(out):
            _check_same(done, inputs, asked, out)
            return done
        check_free(out)
        # A mixture is written in one go: what an interrupted call left is no beginning.
        work.discard()
        manifest = _write(recipe, found, inputs, asked, work.folder, on_progress)
        publish(manifest, work)
        return manifest


def _check_same(done: Manifest, inputs: Sequence[Input], asked: Mapping[str, Any], out: Path) -> None:
    found = {"inputs": _hashes(done.inputs), **{key: done.steps[0].get(key) for key in asked}}
    unlike = differences(found, {"inputs": _hashes(inputs), **asked})
    unlike += [f"inputs.{one.name} of unknown content" for one in inputs if one.sha256 is None]
    if unlike:
        raise WorkError(
            f"{out} holds another mixture or other inputs ({'; '.join(unlike)}). Give another --out, or delete it."
        )


def _hashes(inputs: Sequence[Input]) -> dict[str, str | None]:
    return {one.name: one.sha256 for one in inputs}


def _write(
    recipe: MixRecipe,
    found: Sequence[InputSet],
    inputs: tuple[Input, ...],
    asked: Mapping[str, Any],
    folder: Path,
    on_progress: Callable[[int], None],
) -> Manifest:
    """Write the shards of a mixture and return its manifest."""
    ledger = DropLedger()
    parts = [read_input(one) for one in found]
    modalities = [_modalities(part, ledger) for part in parts]
    available = {one.name: _available(kinds) for one, kinds in zip(found, modalities, strict=True)}
    counts = count_mixture(recipe, available)
    rows = concatenate(parts).select(order_rows(recipe, counts, modalities))
    records = _stream(rows, image_store(asked["images"], folder), on_progress)
    shards = tuple(write_shards(records, folder, pair_features(decode=True)))
    headers = {header.name: header for one in found if one.manifest for header in one.manifest.sources}
    return Manifest(
        kind="mixed",
        name=recipe.name,
        rows=len(rows),
        multimodal=sum(count.taken.multimodal for count in counts),
        shards=shards,
        sources=tuple(headers.values()),
        inputs=inputs,
        drops=ledger.to_dict(),
        steps=({**asked, "counts": [describe_count(count) for count in counts]},),
        judges=merged_judges(one.manifest for one in found),
        contamination=merged_contamination([one.manifest for one in found]),
        created_by=f"basereward {__version__}",
    )


def describe_count(count: MixCount) -> dict[str, Any]:
    """Return the count of an input as JSON, modalities by name."""
    fields = count._asdict().items()
    numbers = {name: value._asdict() if isinstance(value, Modalities) else value for name, value in fields}
    return {**numbers, "repeated": count.repeated, "missing": count.missing}


def order_rows(recipe: MixRecipe, counts: list[MixCount], modalities: list[np.ndarray]) -> np.ndarray:
    """Return the row numbers of the joined inputs in the order of the mixture.

    Args:
        recipe: seed and order.
        counts: what to take of each input.
        modalities: of each input an array of shape (rows,): the place of each row's modality in ``Modalities``.
    """
    generator = np.random.default_rng(recipe.seed)
    blocks, start = [], 0
    for count, kinds in zip(counts, modalities, strict=True):
        drawn = [
            draw_rows(np.flatnonzero(kinds == side), count.capped[side], count.taken[side], recipe.seed, key)
            for side, key in enumerate(f"{count.name}/{field}" for field in Modalities._fields)
        ]
        blocks.append(start + generator.permutation(np.concatenate(drawn)))
        start += len(kinds)
    order = np.concatenate(blocks)
    return order if recipe.order == "blocks" else generator.permutation(order)


def _modalities(rows: datasets.Dataset, ledger: DropLedger) -> np.ndarray:
    """Return for each row the place of its modality in ``Modalities``, or one beyond for a counted unreadable one."""
    kinds = [np.empty(0, dtype=np.int8)]
    table = rows.select_columns(["id", "images", "videos", "read_error"]).with_format("arrow")
    for batch in table.iter(batch_size=10_000):
        seen = [pc.fill_null(pc.list_value_length(batch[name]), 0).to_numpy() for name in ("images", "videos")]
        own = np.where(seen[0] + seen[1] > 0, Modalities._fields.index("multimodal"), Modalities._fields.index("text"))
        broken = pc.is_valid(batch["read_error"]).to_numpy()
        for row in batch.filter(broken).select(["id", "read_error"]).to_pylist():
            ledger.add(row["read_error"]["reason"], f"{row['id']}: {row['read_error']['message']}")
        kinds.append(np.where(broken, _UNREADABLE, own).astype(np.int8))
    return np.concatenate(kinds)


def _available(kinds: np.ndarray) -> Modalities:
    return Modalities(*np.bincount(kinds, minlength=_UNREADABLE + 1)[:_UNREADABLE].tolist())


def _stream(
    rows: datasets.Dataset, store: Callable[[Row], Row], on_progress: Callable[[int], None]
) -> Iterator[list[Row]]:
    for number, row in enumerate(iterate_rows(rows), 1):
        on_progress(number)
        yield [store(row)]
