"""``basereward eval``."""

from pathlib import Path
from typing import Any

import typer

from basereward.cli.output import (
    BACKEND_HELP,
    DEVICE_HELP,
    DTYPE_HELP,
    JSON_OPTION,
    MODEL_HELP,
    print_json,
    progress,
    say,
)


def evaluate(
    model: str = typer.Argument(metavar="MODEL", help=MODEL_HELP),
    data: list[str] = typer.Option(..., "--data", help="File of canonical pairs, folder or hub id; may be repeated."),
    out: Path | None = typer.Option(None, help="Result folder; runs/eval-MODEL by default."),
    references: bool = typer.Option(True, help="Also evaluate trivial baselines and the image-blind model."),
    limit: int | None = typer.Option(None, min=1, help="Use only the first pairs of each file."),
    strict: bool = typer.Option(False, "--strict", help="Fail on the first bad row instead of counting it."),
    resume: bool = typer.Option(False, "--resume", help="Go on from the records of an interrupted call."),
    dtype: str | None = typer.Option(None, help=DTYPE_HELP),
    device: str | None = typer.Option(None, help=DEVICE_HELP),
    backend: str = typer.Option("auto", help=BACKEND_HELP),
    as_json: bool = JSON_OPTION,
) -> None:
    """Measure pair accuracy with intervals, beside trivial baselines.

    Example: `basereward eval runs/demo/model --data pairs.jsonl`
    """
    from basereward.evaluation.runner import evaluate_file
    from basereward.scoring.spec import open_scorer

    folders = _folders(out or Path("runs") / f"eval-{model.strip('/').replace('/', '-').replace(':', '-')}", data)
    scorer = open_scorer(model, dtype, device, backend)
    settings = {"dtype": dtype, "backend": backend}
    results: dict[str, dict[str, Any]] = {}
    for path, folder in folders.items():
        with progress(folder.name) as bar:
            results[path] = evaluate_file(
                scorer, path, folder, references, limit, strict, resume, bar.move, settings=settings
            )
        for note in results[path]["notes"]:
            say(f"note: {note}")
    if as_json:
        print_json({"model": model, "folders": {path: str(own) for path, own in folders.items()}, "results": results})
        return
    _print_tables(results)
    for folder in folders.values():
        print(f"{folder / 'result.json'}")


def _folders(root: Path, data: list[str]) -> dict[str, Path]:
    """Return a folder of its own for each data set; equal names are numbered."""
    from basereward.evaluation.runner import benchmark_name

    folders: dict[str, Path] = {}
    for path in dict.fromkeys(data):
        name = benchmark_name(path).replace("/", "-")
        taken = sum(benchmark_name(other).replace("/", "-") == name for other in folders)
        folders[path] = root / (f"{name}-{taken + 1}" if taken else name)
    return folders


def _print_tables(results: dict[str, dict[str, Any]]) -> None:
    from rich.console import Console

    from basereward.evaluation.runner import IMAGE_BLIND
    from basereward.reporting.tables import accuracy_table, source_table, to_rich

    console = Console()
    if not console.is_terminal:
        # Without a terminal rich takes 80 columns and cuts the headers.
        console.width = 140
    for path, result in results.items():
        console.print(to_rich(accuracy_table(result["evaluations"]), title=path))
        if len(result["evaluations"]["model"]["groups"]) > 1:
            shown = {name: own for name, own in result["evaluations"].items() if name in ("model", IMAGE_BLIND)}
            console.print(to_rich(source_table(shown), title=f"{path} by source"))
        for reason, count in {**result["dropped"], **result["failures"]}.items():
            console.print(f"{count} x {reason}")
