"""``basereward export``."""

from pathlib import Path

import typer

from basereward.cli.output import DTYPE_HELP


def export(
    model: str = typer.Argument(metavar="MODEL", help="Checkpoint folder or hub id, with a linear head."),
    out: Path = typer.Argument(metavar="OUT", help="Folder for the classifier."),
    dtype: str | None = typer.Option(None, help=DTYPE_HELP),
) -> None:
    """Write a reward model with a linear head as a plain `*ForSequenceClassification`, for vLLM, SGLang and others.

    A head with more layers is refused: vLLM serves it with basereward's plug-in.

    Example: `basereward export runs/linear/model runs/linear/classifier`
    """
    from basereward.models.export import export_classifier
    from basereward.scoring.devices import parse_dtype

    print(export_classifier(model, out, parse_dtype(dtype)))
