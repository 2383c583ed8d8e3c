"""``basereward train``."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from basereward.cli.following import print_evaluation, this_call
from basereward.cli.output import JSON_OPTION, print_json, print_next, say

RECIPE_HELP = "YAML file, an installed recipe by name, or a run folder whose recipe is run again; see basereward init."
OUT_HELP = "Run folder; with --resume RECIPE if it is one, else runs/NAME by default."
TRAINED_HELP = "Backbone, or a reward model to train on from: folder or hub id; in place of that of RECIPE."
DATA_HELP = "File of pairs, folder or hub id, each with :SPLIT behind it; may be repeated; in place of that of RECIPE."


def train(
    context: typer.Context,
    recipe: str | None = typer.Argument(None, metavar="[RECIPE]", help=RECIPE_HELP),
    overrides: list[str] | None = typer.Argument(None, metavar="KEY=VALUE", help="Changes to it: key.sub=value."),
    model: str | None = typer.Option(None, "--model", help=TRAINED_HELP),
    data: list[str] = typer.Option([], "--data", help=DATA_HELP),
    out: Path | None = typer.Option(None, help=OUT_HELP),
    resume: bool = typer.Option(False, "--resume", help="Go on from the last complete checkpoint of the same recipe."),
    plan: bool = typer.Option(False, "--plan", help="Print pairs, tokens, steps, memory and FLOPs; train nothing."),
    ranks: int = typer.Option(0, min=0, help="Ranks to plan for; those of this launch by default."),
    limit: int | None = typer.Option(None, min=1, help="Use only the first pairs of each training file."),
    strict: bool = typer.Option(False, "--strict", help="Fail on the first bad row instead of counting it."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Train a reward model on preference pairs.

    SIGTERM and Ctrl-C save a checkpoint first and print the command that goes on; the status is then 143 or 130.

    Example: `basereward train --model Qwen/Qwen2.5-VL-3B-Instruct --data pairs.jsonl optimizer.epochs=2`

    Example: `basereward train basereward-qwen2_5-vl-7b --plan --ranks 64`

    Several GPUs: `torchrun --nproc-per-node 8 -m basereward train RECIPE`
    """
    from basereward.configuration import run_folder
    from basereward.training.start import make_recipe

    # Without a recipe the first change stands in its place.
    is_change = recipe is not None and "=" in recipe and not Path(recipe).exists()
    if recipe is None and model is None and not overrides:
        raise typer.BadParameter("name a recipe, or give --model and --data", param_hint="RECIPE")
    changes = [
        *([recipe] if recipe is not None and is_change else []),
        *(overrides or []),
        *([f"data.limit={limit}"] if limit else []),
        *(["data.strict=true"] if strict else []),
    ]
    loaded = make_recipe(None if is_change else recipe, model, data, changes)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    with _telling_what_makes_inputs(None if is_change else recipe):
        if plan:
            _show_plan(loaded, ranks or world, as_json)
            if not as_json:
                print_next(*this_call(context, "plan", "ranks"))
            return
        from basereward.training.run import train as run

        folder = run_folder(out, None if is_change else recipe, loaded.name, resume)
        result = run(loaded, folder, resume)
    if os.environ.get("RANK", "0") != "0":
        return
    if as_json:
        print_json({"folder": str(folder), "model": str(result.model_folder), **result.facts})
        return
    drops = result.facts["drops"]
    dropped = ", ".join(f"{reason} {entry['count']}" for reason, entry in drops["reasons"].items()) or "none"
    print(f"model    {result.model_folder}")
    print(f"steps    {result.facts['steps']}  (loss {result.facts['train_loss']:.4f})")
    print(f"pairs    {result.facts['pairs']}  (dropped: {dropped})")
    print_evaluation(result.model_folder, loaded)


@contextmanager
def _telling_what_makes_inputs(recipe: str | None) -> Iterator[None]:
    """Add to the error of a missing file the commands of the recipe's first lines whose outputs are not there."""
    from basereward.configuration import find_recipe, preparations
    from basereward.errors import MissingFileError

    try:
        yield
    except MissingFileError as error:
        made = [] if recipe is None else preparations(find_recipe(recipe))
        if not made:
            raise
        lines = [str(error), "The recipe says what makes its inputs:", *(f"  {command}" for command in made)]
        raise MissingFileError("\n".join(lines)) from error


def _show_plan(recipe: Any, ranks: int, as_json: bool) -> None:
    from basereward.errors import MissingFileError
    from basereward.models.shapes import backbone_config
    from basereward.training.plan import PlannedPairs, make_plan
    from basereward.training.prepare import prepare_data, prepare_template

    config = backbone_config(recipe.model.start)
    try:
        prepared = prepare_data(recipe, prepare_template(recipe))
        swaps = [own for own in prepared.train.swaps.lengths if own] if prepared.train.swaps else []
        train = prepared.train
        dropped = train.drops["total"]
        data = PlannedPairs(train.lengths, dropped, prepared.reserved, swaps, train.start, train.pairs)
    except MissingFileError as error:
        if recipe.data.assumed is None:
            raise
        say(f"note: {str(error).splitlines()[0]} The plan uses the sizes that the recipe assumes.")
        data = PlannedPairs(None, 0)
    if recipe.hardware.sharding != "none" and ranks == 1:
        say(f"note: sharding {recipe.hardware.sharding} needs several ranks; this plan is for one, see --ranks.")
    made = make_plan(recipe, config, data, ranks)
    if as_json:
        print_json(made.to_dict())
        return
    for name, value in made.lines():
        print(f"{name:<24}{value}")
