"""``basereward data mix``."""

from pathlib import Path
from typing import Any, Literal

import typer

from basereward.cli.following import this_call
from basereward.cli.output import JSON_OPTION, ROOT_OPTION, console, print_json, print_next, progress


def mix_sources(
    context: typer.Context,
    recipe: Path = typer.Argument(metavar="RECIPE", help="YAML file of a mixture, or an installed one by name."),
    overrides: list[str] | None = typer.Argument(None, metavar="KEY=VALUE", help="Changes to it."),
    data_root: Path = ROOT_OPTION,
    out: Path | None = typer.Option(None, help="Target folder; data/NAME by default."),
    images: Literal["bytes", "paths"] = typer.Option(
        "bytes", help="Bytes inside the shards, or paths relative to the target."
    ),
    plan: bool = typer.Option(False, "--plan", help="Print the exact counts; write nothing."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Mix converted sources into one folder of shards to train on.

    Example: `basereward data mix recipes/data/basereward-mix.yaml --plan`
    """
    from basereward.curation.mix import count_inputs, describe_count, mix
    from basereward.curation.mix_recipe import load_mix_recipe

    loaded = load_mix_recipe(recipe, overrides)
    if plan:
        counts = [describe_count(count) for count in count_inputs(loaded, data_root)]
        rows = sum(sum(count["taken"].values()) for count in counts)
        if as_json:
            print_json({"name": loaded.name, "rows": rows, "counts": counts})
        else:
            _print_counts(loaded.name, counts)
            print_next(*this_call(context, "plan"))
        return
    folder = out or Path("data") / loaded.name
    with progress(loaded.name) as bar:
        manifest = mix(loaded, data_root, folder, images, bar.move)
    if as_json:
        print_json({"folder": str(folder), "manifest": manifest.sha256, **manifest.model_dump(mode="json")})
        return
    _print_counts(loaded.name, list(manifest.steps[0]["counts"]))
    print(f"{manifest.rows} pairs -> {folder}  (manifest {manifest.sha256[:12]})")
    print_next("data", "show", folder)


def _print_counts(name: str, counts: list[dict[str, Any]]) -> None:
    from basereward.reporting.tables import Table, to_rich

    header = ("input", "available", "requested", "taken", "repeated", "missing", "multimodal", "text")
    lines = [
        [
            *(sum(count[key].values()) for key in ("available", "requested", "taken")),
            *(count[key] for key in ("repeated", "missing")),
            *(count["taken"][key] for key in ("multimodal", "text")),
        ]
        for count in counts
    ]
    named = [*zip((count["name"] for count in counts), lines, strict=True), ("all", map(sum, zip(*lines, strict=True)))]
    rows = [(title, *(f"{number:,}" for number in line)) for title, line in named]
    console().print(to_rich(Table(header, rows), title=name))
