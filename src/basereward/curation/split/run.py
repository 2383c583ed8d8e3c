"""Writes the parts of a split: a folder of shards with a manifest for each, which appear together."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets

from basereward import __version__
from basereward.curation.dropped import StepDrop, list_dropped, unusable_ledger
from basereward.curation.inputs import InputSet, check_distinct, find_set, read_input
from basereward.curation.mix import find_inputs
from basereward.curation.mix_recipe import load_mix_recipe
from basereward.curation.split.plan import SplitPlan, plan_split
from basereward.curation.split.settings import HELD_OUT, REST, SplitSettings
from basereward.data.identity import Identity, WorkInput, differences
from basereward.data.manifest import Input, Manifest, merged_judges, read_manifest, write_manifest
from basereward.data.places import iterate_rows, open_place
from basereward.data.record import merged_contamination
from basereward.data.rows import pair_features
from basereward.data.shards import ImageStore, Row, check_free, image_store, write_shards
from basereward.data.storage import concatenate
from basereward.data.validation import DropLedger
from basereward.data.work import open_work
from basereward.errors import DataError, WorkError

_RECIPES = (".yaml", ".yml")
Progress = Callable[[str, int, int], None]


def find_sets(names: Sequence[str], root: Path) -> list[InputSet]:
    """Return the sets to split: sources under ``root``, paths or hub ids, or the inputs of a mixture by its recipe.

    Raises:
        MissingFileError: a source is not converted, or there is no such recipe.
        DataError: a broken folder, one that holds prompts, one that is named twice, or a recipe that draws rows.
        RecipeError: the file is no recipe of a mixture.
    """
    found: list[InputSet] = []
    for name in names:
        found += _recipe_sets(Path(name), root) if Path(name).suffix in _RECIPES else [find_set(name, root)]
    check_distinct(found)
    return found


def read_sets(inputs: Sequence[InputSet]) -> datasets.Dataset:
    """Return the rows of all inputs, one after the other.

    Raises:
        DataError: as ``read_input``.
    """
    return concatenate([read_input(one) for one in inputs])


def _recipe_sets(path: Path, root: Path) -> list[InputSet]:
    recipe = load_mix_recipe(path)
    drawn = sorted({key for one in recipe.inputs for key in one.model_fields_set & {"cap", "weight", "share"}})
    drawn += [key for key in ("ratio", "size", "repeat") if key in recipe.model_fields_set]
    if drawn:
        raise DataError(
            f"{path} draws rows ({', '.join(drawn)}), and a split takes all rows of its inputs. Split what the recipe "
            f"makes (basereward data mix {path}), or name the inputs one by one."
        )
    return find_inputs(recipe, root)


def split(
    inputs: Sequence[InputSet],
    settings: SplitSettings,
    out: Path,
    workers: int = 1,
    images: ImageStore = "bytes",
    on_progress: Progress = lambda task, done, total: None,
) -> dict[str, Manifest]:
    """Write the parts of a split to ``OUT/train``, ``OUT/test`` and so on, and return their manifests by name.

    ``OUT`` appears when all parts are complete. The same split of the same inputs is left as it is; interrupted work
    goes on from the features that are known and the parts that are complete.

    Args:
        workers: processes that compute features.
        images: their bytes inside the shards, or paths relative to the folder of the part.
        on_progress: called with the name of the task, and the rows done and to do.

    Raises:
        MissingFileError: an input is not there.
        DataError: an unreadable input, a folder that holds something else, or as ``plan_split``.
        WorkError: another process writes ``out``, or it holds another split.
    """
    known = tuple(Input(name=one.name, sha256=open_place(one.place).describe().sha256) for one in inputs)
    asked = {"step": "split", **settings.model_dump(mode="json"), "images": images}
    with open_work(out) as work:
        if done := _read_done(out, known, asked):
            return done
        check_free(out)
        rows = read_sets(inputs)
        plan = plan_split(rows, settings, workers, on_progress)
        named = tuple(WorkInput(name=one.name, sha256=one.sha256) for one in known)
        # What is refused leaves nothing behind, so the folder begins here.
        work.claim(Identity(task="data split", inputs=named, settings=asked))
        manifests = {
            part: _write_part(manifest, work.folder / part, images, rows, plan, on_progress)
            for part, manifest in _describe(inputs, known, out.name, asked, rows, plan).items()
        }
        work.publish()
        return manifests


def _read_done(out: Path, known: Sequence[Input], asked: Mapping[str, Any]) -> dict[str, Manifest]:
    """Return the manifests of a complete split that is the one asked for; none if there is nothing."""
    there = {part: read_manifest(out / part) for part in (*HELD_OUT, REST)}
    found = {part: manifest for part, manifest in there.items() if manifest and manifest.kind == "split"}
    if REST not in found:
        return {}
    if unlike := differences(_facts(found[REST]), {"inputs": _hashes(known), **asked}):
        raise WorkError(f"{out} holds another split ({'; '.join(unlike)}). Give another --out, or delete it.")
    if missing := [part for part in found[REST].steps[0]["parts"] if part not in found]:
        raise WorkError(f"{out} lacks its part {', '.join(missing)}; restore it, or delete {out} to split anew.")
    return found


def _facts(manifest: Manifest) -> dict[str, Any]:
    told = ("parts", "unusable", "links", "components", "warnings", "part")
    step = {key: value for key, value in manifest.steps[0].items() if key not in told}
    return {"inputs": _hashes(manifest.inputs), **step}


def _hashes(inputs: Sequence[Input]) -> dict[str, str | None]:
    # By content alone: a file may have moved.
    return {str(place): one.sha256 for place, one in enumerate(inputs)}


def _describe(
    inputs: Sequence[InputSet],
    known: tuple[Input, ...],
    name: str,
    asked: Mapping[str, Any],
    rows: datasets.Dataset,
    plan: SplitPlan,
) -> dict[str, Manifest]:
    """Return the manifests of the parts, still without shards; what no pair is counts among the rest."""
    headers = {header.name: header for one in inputs if one.manifest for header in one.manifest.sources}
    overlap = merged_contamination([one.manifest for one in inputs])
    ledger = unusable_ledger(plan.unusable, rows)
    return {
        part: Manifest(
            kind="split",
            name=f"{name}-{part}",
            rows=len(numbers),
            multimodal=plan.multimodal[part],
            shards=(),
            sources=tuple(headers.values()),
            inputs=known,
            drops=(ledger if part == REST else DropLedger()).to_dict(),
            steps=({**asked, **plan.facts, "part": part},),
            judges=merged_judges(one.manifest for one in inputs),
            contamination=overlap,
            created_by=f"basereward {__version__}",
        )
        for part, numbers in plan.parts.items()
    }


def _write_part(
    manifest: Manifest,
    folder: Path,
    images: ImageStore,
    rows: datasets.Dataset,
    plan: SplitPlan,
    on_progress: Progress,
) -> Manifest:
    """Write the shards of a part, unless an interrupted call completed it."""
    if (there := read_manifest(folder)) and there.model_copy(update={"shards": ()}).sha256 == manifest.sha256:
        return there
    # A part is written in one go: what an interrupted call left of it is no beginning.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    part = manifest.steps[0]["part"]
    store, numbers = image_store(images, folder), plan.parts[part]

    def stored() -> Iterator[list[Row]]:
        for done, row in enumerate(iterate_rows(rows.select(numbers)), 1):
            on_progress(part, done, len(numbers))
            yield [store(row)]

    shards = tuple(write_shards(stored(), folder, pair_features(decode=True)))
    if part == REST:
        drops = [StepDrop("validate", reason, own) for reason, own in plan.unusable.items()]
        list_dropped(rows, drops, folder, {"": range(len(rows))})
    written = manifest.model_copy(update={"shards": shards})
    write_manifest(written, folder)
    return written
