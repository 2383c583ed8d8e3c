"""``basereward import``."""

from pathlib import Path

import typer


def import_model(
    model: str = typer.Argument(metavar="MODEL", help="Folder or hub id of a checkpoint in InternVL's own layout."),
    out: Path = typer.Argument(metavar="OUT", help="Folder for the backbone in transformers' layout."),
) -> None:
    """Write a checkpoint that only the code in its repository reads, such as InternVL2, as a backbone.

    None of that code is run. Every weight is accounted for: what is unknown, missing or left over is an error.

    Example: `basereward import OpenGVLab/InternVL2-8B backbones/InternVL2-8B`
    """
    from basereward.models.importing.run import import_checkpoint

    print(import_checkpoint(model, out))
