"""``basereward card``."""

from pathlib import Path

import typer

from basereward.cli.output import JSON_OPTION, print_json, say


def card(
    model: Path = typer.Argument(metavar="MODEL", help="Checkpoint folder."),
    results: list[Path] = typer.Option(
        [], help="Folder of an evaluation, or of several; may be repeated. Those beside MODEL by default."
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """Write the model card of a checkpoint, or bring it up to date with evaluations of exactly these weights.

    What stands outside the marks of the generated part is kept.

    Example: `basereward card runs/demo/model`

    Example: `basereward card runs/mine/model --results runs/eval-a --results runs/eval-b`
    """
    from basereward.errors import MissingFileError
    from basereward.reporting.model_card import update_card

    if not model.is_dir():
        raise MissingFileError(f"There is no folder {model}; a card is written into the folder of a checkpoint.")
    found = update_card(model, results)
    for line in found.left_out:
        say(f"left out: {line}")
    if as_json:
        written = [own.model_dump(mode="json") for own in found.results]
        print_json({"card": str(found.path), "results": written, "left_out": list(found.left_out)})
        return
    print(found.path)
