"""The start of a run by a recipe, by a model and data alone, or by both."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from basereward.configuration import find_recipe, parse_overrides, run_folder
from basereward.errors import MissingFileError, RecipeError
from basereward.models.hub import CONFIG, open_folder
from basereward.models.parts import has_head
from basereward.training.recipe import Recipe, load_recipe
from basereward.training.run import TrainResult, train


def make_recipe(
    recipe: str | Path | None = None,
    model: str | Path | None = None,
    data: Sequence[str | Path] = (),
    changes: Sequence[str] = (),
) -> Recipe:
    """Return a recipe of a file, of an installed one by name, or of a model and data with the defaults of every key.

    Args:
        recipe: as ``load_recipe`` takes it; none of it needs to be there if ``model`` and ``data`` are.
        model: folder or hub id: a backbone gets a new head, a reward model trains on from where it is.
        data: files of pairs, folders or hub ids, each with ``:SPLIT`` behind it if one is meant.
        changes: ``key.sub=value``, as on the command line; they go before everything else.

    Raises:
        MissingFileError: no such recipe.
        RecipeError: neither a recipe nor both a model and data; an unknown key or a value of the wrong kind.
    """
    places = [str(place) for place in data]
    given = [*_start_of(str(model)), *changes] if model is not None else list(changes)
    if places:
        given = [f"data.train={json.dumps(places)}", *given]
    if recipe is not None:
        return load_recipe(find_recipe(recipe), given)
    keys = {change.partition("=")[0] for change in given}
    if not keys & {"model.backbone", "model.init_from"} or "data.train" not in keys:
        raise RecipeError(
            "No recipe was given: name one (basereward init writes one, basereward init --list shows those installed), "
            "or a model and data: basereward train --model MODEL --data PAIRS."
        )
    name = run_name(str(model or "model"), places[0] if places else "pairs")
    return parse_overrides(Recipe, [f"name={json.dumps(name)}", *given])


def start_training(
    recipe: str | Path | Recipe | None = None,
    *,
    model: str | Path | None = None,
    data: str | Path | Sequence[str | Path] = (),
    out: str | Path | None = None,
    changes: Sequence[str] = (),
    resume: bool = False,
) -> TrainResult:
    """Train a reward model; ``basereward.train``, as ``basereward train`` does it.

    Args:
        recipe: a recipe, its file, an installed one by name, or none: then ``model`` and ``data`` are needed.
        model: folder or hub id: a backbone gets a new head, a reward model trains on from where it is.
        data: a file of pairs, a folder or a hub id, or several.
        out: run folder; the one that ``recipe`` is if it goes on, else ``runs/NAME`` by default.
        changes: ``key.sub=value``, as on the command line.
        resume: go on from the last complete checkpoint of the same recipe.

    Raises:
        RecipeError: as ``make_recipe``.
        TrainingError: the folder already holds a run, or the run cannot go on honestly.
    """
    places = [data] if isinstance(data, (str, Path)) else list(data)
    if isinstance(recipe, Recipe):
        if model is not None or places or changes:
            raise RecipeError("A Recipe says everything; change it, or give its file with model, data and changes.")
        made = recipe
    else:
        made = make_recipe(recipe, model, places, changes)
    named = None if isinstance(recipe, Recipe) else recipe
    return train(made, run_folder(out, named, made.name, resume), resume)


def run_name(model: str, data: str) -> str:
    """Return what a run of a model on data is called: the last parts of their names."""
    place = data.partition(":")[0] or data
    return "-".join(re.sub(r"[^\w.-]+", "-", part) for part in (Path(model.partition("@")[0]).name, Path(place).stem))


def _start_of(model: str) -> list[str]:
    """Return the changes that name a model as what it is; one that is not here is taken for a backbone."""
    try:
        continues = has_head(open_folder(model, [CONFIG]))
    except MissingFileError:
        continues = False
    if continues:
        return [f"model.init_from={json.dumps(model)}", "model.backbone=null", "model.head=null"]
    return [f"model.backbone={json.dumps(model)}", "model.init_from=null"]
