"""``basereward data curate``."""

from pathlib import Path
from typing import Any, Literal

import typer

from basereward.cli.output import JSON_OPTION, ROOT_OPTION, console, print_json, print_next, progress


def curate_sources(
    recipe: Path = typer.Argument(metavar="RECIPE", help="YAML file of a curation, or an installed one by name."),
    overrides: list[str] | None = typer.Argument(None, metavar="KEY=VALUE", help="Changes to it."),
    data_root: Path = ROOT_OPTION,
    out: Path | None = typer.Option(None, help="Folder that gets a folder for each input; data/NAME by default."),
    images: Literal["bytes", "paths"] = typer.Option(
        "bytes", help="Bytes inside the shards, or paths relative to the target."
    ),
    keep_dropped: bool = typer.Option(
        False, "--keep-dropped", help="Write the dropped rows themselves too, to dropped.parquet in the same folder."
    ),
    workers: int = typer.Option(2, min=1, help="Processes that read rows and hash texts and images."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Drop what should not train: unusable, repeated, contradicted, leaked or unbalanced pairs, each counted.

    Example: `basereward data curate recipes/curation/basereward-sets.yaml --data-root data --out data/curated`
    """
    from basereward.curation.recipe import load_curation_recipe
    from basereward.curation.run import curate
    from basereward.reporting.tables import Table, count, to_rich

    with progress("curate") as bar:
        loaded = load_curation_recipe(recipe, overrides)
        done = curate(loaded, data_root, out or Path("data") / loaded.name, workers, images, keep_dropped, bar.show)
    if as_json:
        print_json(done)
        return
    rows = [(step["step"], count(step["in"]), count(step["out"]), _reasons(step)) for step in done["steps"]]
    console().print(to_rich(Table(("step", "rows", "left", "dropped"), rows), title=done["name"]))
    for name, one in done["inputs"].items():
        print(f"{name}: {one['kept']:,} of {one['rows']:,} rows in {one['folder']}")
    print_next("data", "show", *(one["folder"] for one in done["inputs"].values()))


def _reasons(step: dict[str, Any]) -> str:
    dropped = ", ".join(f"{reason} {lost:,}" for reason, lost in step["dropped"].items() if lost) or "-"
    unjudged = sum(step["details"].get("kept_without_features", {}).values())
    return f"{dropped}; {unjudged:,} kept without features" if unjudged else dropped
