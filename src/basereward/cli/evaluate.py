"""``basereward eval``."""

from pathlib import Path
from typing import Any

import typer

from basereward.cli.output import JSON_OPTION, print_json, progress


def evaluate(
    model: str = typer.Argument(help="Checkpoint folder, hub id, or baseline:longer|shorter|first|random."),
    data: list[str] = typer.Option(..., "--data", help="File of canonical pairs, folder or hub id; may be repeated."),
    out: Path | None = typer.Option(None, help="Result folder; runs/eval-MODEL by default."),
    references: bool = typer.Option(True, help="Also evaluate trivial baselines and the image-blind model."),
    limit: int | None = typer.Option(None, help="Use only the first pairs of each file."),
    strict: bool = typer.Option(False, "--strict", help="Fail on the first bad row instead of counting it."),
    resume: bool = typer.Option(False, "--resume", help="Go on from the records of an interrupted call."),
    dtype: str | None = typer.Option(None, help="float32 or bfloat16; as stored by default."),
    device: str | None = typer.Option(None, help="cpu, cuda, cuda:1, ...; CUDA by default if there is one."),
    backend: str = typer.Option("auto", help="auto, plain or split."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Measure pair accuracy with intervals, beside trivial baselines.

    Example: `basereward eval runs/demo/model --data pairs.jsonl`
    """
    from basereward.evaluation.runner import evaluate_file
    from basereward.scoring.spec import open_scorer

    scorer = open_scorer(model, dtype, device, backend)
    folder = out or Path("runs") / f"eval-{model.strip('/').replace('/', '-').replace(':', '-')}"
    results: dict[str, dict[str, Any]] = {}
    for path in data:
        name = f"{Path(path).parent.name}-{Path(path).stem}".strip("-")
        with progress(name) as bar:
            done = evaluate_file(scorer, path, folder / name, references, limit, strict, resume, bar.move)
        results[path] = done
    if as_json:
        print_json({"model": model, "folder": str(folder), "results": results})
        return
    _print_tables(results)


def _print_tables(results: dict[str, dict[str, Any]]) -> None:
    from rich.console import Console

    from basereward.reporting.tables import accuracy_table, source_table, to_rich

    console = Console()
    for path, result in results.items():
        console.print(to_rich(accuracy_table(result["evaluations"]), title=path))
        if len(result["evaluations"]["model"]["groups"]) > 1:
            console.print(to_rich(source_table(result["evaluations"]), title=f"{path} by source"))
        for reason, count in {**result["dropped"], **result["failures"]}.items():
            console.print(f"{count} x {reason}")
