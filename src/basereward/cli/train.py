"""``basereward train``."""

import os
from pathlib import Path
from typing import Any

import typer

from basereward.cli.output import JSON_OPTION, print_json, say


def train(
    recipe: Path = typer.Argument(metavar="RECIPE", help="YAML file, or a run folder whose recipe is run again."),
    overrides: list[str] | None = typer.Argument(None, metavar="KEY=VALUE", help="Changes to it: key.sub=value."),
    out: Path | None = typer.Option(None, help="Run folder; runs/NAME by default."),
    resume: bool = typer.Option(False, "--resume", help="Go on from the last complete checkpoint of the same recipe."),
    plan: bool = typer.Option(False, "--plan", help="Print pairs, tokens, steps, memory and FLOPs; train nothing."),
    ranks: int = typer.Option(0, min=0, help="Ranks to plan for; those of this launch by default."),
    limit: int | None = typer.Option(None, min=1, help="Use only the first pairs of each training file."),
    strict: bool = typer.Option(False, "--strict", help="Fail on the first bad row instead of counting it."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Train a reward model on preference pairs.

    SIGTERM and Ctrl-C save a checkpoint first and print the command that goes on; the status is then 143 or 130.

    Example: `basereward train recipes/basereward-qwen2_5-vl-7b.yaml --plan`

    Several GPUs: `torchrun --nproc-per-node 8 -m basereward train RECIPE`
    """
    from basereward.training.recipe import load_recipe

    changes = [
        *(overrides or []),
        *([f"data.limit={limit}"] if limit else []),
        *(["data.strict=true"] if strict else []),
    ]
    loaded = load_recipe(recipe, changes)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if plan:
        _show_plan(loaded, ranks or world, as_json)
        return
    from basereward.training.run import train as run

    folder = out or Path("runs") / loaded.name
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
    print(f"score    basereward score {result.model_folder} IN.jsonl OUT.jsonl")


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
        data = PlannedPairs(train.lengths, train.drops["total"], prepared.reserved, swaps, train.start)
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
