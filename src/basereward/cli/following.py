"""Which command comes after one: the same for good, or what measures a model on the pairs that its run held out."""

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from basereward.cli.output import print_next, say
from basereward.cli.reading import reading_words

if TYPE_CHECKING:
    from basereward.training.recipe import Recipe

RECIPE = "recipe.yaml"
# Objectives whose models write verdicts, and are measured as judges.
JUDGES = ("grm", "longcot")


def this_call(context: typer.Context, *without: str) -> list[str]:
    """Return the words of the command that is running, but for some options by their parameters' names."""
    words = []
    for own in context.command.params:
        name = str(own.name)
        source = context.get_parameter_source(name)
        if name in without or source is None or source.name != "COMMANDLINE":
            continue
        value = context.params[name]
        if isinstance(value, bool):
            words.append((own.opts if value else own.secondary_opts)[0])
            continue
        options = [] if own.param_type_name == "argument" else own.opts[:1]
        if getattr(own, "multiple", False):
            words += [word for given in value for word in (*options, _text(given))]
        else:
            words += [*options, *map(_text, value if isinstance(value, list | tuple) else [value])]
    return [*_path(context), *words]


def _path(context: Any) -> list[str]:
    """Return the names of the command and of the groups around it, without that of the program."""
    return [*_path(context.parent), str(context.info_name)] if context.parent else []


def _text(value: Any) -> str:
    return str(value.value if isinstance(value, Enum) else value)


def print_evaluation(model: Path, recipe: "Recipe") -> None:
    """Print how a run's model is measured: on its held-out pairs, or on those that it learnt if there are no others."""
    if _held_out(recipe) == recipe.data.train:
        say(
            "note: the run held no pairs out, and accuracy on pairs that a model learnt says little. "
            "basereward data split holds some out; give them as data.validation."
        )
    subject = f"judge:{model}" if recipe.objective.kind in JUDGES else model
    print_next("eval", subject, *_data_words(recipe))


def print_use(model: Path, origin: str | Path, data: str | None = None) -> None:
    """Print how a model is measured that was made of another, or served if no pairs to measure it on are known.

    Args:
        model: what was made.
        origin: what it was made of; the run that it lies in names the pairs.
        data: pairs that measured it already.
    """
    words = ["--data", data] if data else _known_words(Path(origin))
    if words:
        print_next("eval", model, *words)
    else:
        print_next("serve", model)


def print_served(url: str, model: str) -> None:
    """Print how a server is measured, if the pairs are known that the run of its model held out."""
    if words := _known_words(Path(model)):
        print_next("eval", url, *words)


def _known_words(origin: Path) -> list[str]:
    from basereward.errors import BaseRewardError
    from basereward.training.recipe import load_recipe

    # A model lies in its run, a checkpoint in the folder of checkpoints.
    runs = [place for place in list(origin.parents)[:2] if (place / RECIPE).is_file()]
    if not runs:
        return []
    try:
        recipe = load_recipe(runs[0] / RECIPE)
    except BaseRewardError:
        return []
    # The run may have been somewhere else.
    return _data_words(recipe) if all(Path(place).exists() for place in _held_out(recipe)) else []


def _data_words(recipe: "Recipe") -> list[str]:
    return [word for place in _held_out(recipe) for word in ("--data", place)] + reading_words(recipe.data.reading())


def _held_out(recipe: "Recipe") -> list[str]:
    data = recipe.data
    return data.validation or [place for places in data.validation_sets.values() for place in places] or data.train
