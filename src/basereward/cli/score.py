"""``basereward score``."""

from pathlib import Path

import typer

from basereward.cli.output import BACKEND_HELP, DEVICE_HELP, DTYPE_HELP, JSON_OPTION, MODEL_HELP, print_json, progress


def score(
    model: str = typer.Argument(metavar="MODEL", help=MODEL_HELP),
    source: Path = typer.Argument(metavar="IN", help="JSONL or Parquet with pairs, or prompt + responses."),
    target: Path = typer.Argument(metavar="OUT", help="The same rows with scores; .jsonl or .parquet."),
    dtype: str | None = typer.Option(None, help=DTYPE_HELP),
    device: str | None = typer.Option(None, help=DEVICE_HELP),
    backend: str = typer.Option("auto", help=BACKEND_HELP),
    as_json: bool = JSON_OPTION,
) -> None:
    """Score every row of a file; an interrupted call goes on where it stopped.

    Example: `basereward score runs/demo/model pairs.jsonl scored.jsonl`
    """
    from basereward.scoring.files import score_file
    from basereward.scoring.rows import count_rows
    from basereward.scoring.spec import open_scorer

    rows = count_rows(source)
    scorer = open_scorer(model, dtype, device, backend)
    with progress("score", rows) as bar:
        scored = score_file(scorer, source, target, bar.move, {"dtype": dtype, "backend": backend})
    if as_json:
        print_json({"model": model, "out": str(target), **scored._asdict()})
        return
    print(f"{scored.rows} rows, {scored.failed} with an error -> {target}")
