"""``basereward import``."""

from pathlib import Path

import typer

from basereward.cli.output import JSON_OPTION, default_out, print_json, print_next

OUT_HELP = "Folder for the backbone in transformers' layout; runs/import-MODEL by default."


def import_model(
    model: str = typer.Argument(metavar="MODEL", help="Folder or hub id of a checkpoint in InternVL's own layout."),
    out: Path | None = typer.Option(None, help=OUT_HELP),
    as_json: bool = JSON_OPTION,
) -> None:
    """Write a checkpoint that only the code in its repository reads, such as InternVL2, as a backbone.

    None of that code is run. Every weight is accounted for: what is unknown, missing or left over is an error.

    Example: `basereward import OpenGVLab/InternVL2-8B --out backbones/InternVL2-8B`
    """
    from basereward.models.importing.run import import_checkpoint

    folder = import_checkpoint(model, out or default_out("import", model))
    if as_json:
        print_json({"backbone": str(folder)})
        return
    print(f"backbone {folder}")
    print_next("init", "--model", folder, "--out", f"{folder.name}.yaml")
