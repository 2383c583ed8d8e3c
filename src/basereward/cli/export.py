"""``basereward export``."""

from pathlib import Path

import typer

from basereward.cli.following import print_use
from basereward.cli.output import DTYPE_HELP, JSON_OPTION, default_out, print_json


def export(
    model: str = typer.Argument(metavar="MODEL", help="Checkpoint folder or hub id, with a linear head."),
    out: Path | None = typer.Option(None, help="Folder for the classifier; runs/export-MODEL by default."),
    dtype: str | None = typer.Option(None, help=DTYPE_HELP),
    as_json: bool = JSON_OPTION,
) -> None:
    """Write a reward model with a linear head as a plain `*ForSequenceClassification`, for vLLM, SGLang and others.

    A head with more layers is refused: vLLM serves it with basereward's plug-in.

    Example: `basereward export runs/linear/model --out runs/linear/classifier`
    """
    from basereward.models.export import export_classifier
    from basereward.scoring.devices import parse_dtype

    folder = export_classifier(model, out or default_out("export", model), parse_dtype(dtype))
    if as_json:
        print_json({"model": str(folder)})
        return
    print(f"model    {folder}")
    print_use(folder, model)
