"""``basereward report``."""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer

from basereward.cli.output import JSON_OPTION, console, print_json


class ReportFormat(StrEnum):
    """What a report can be written as."""

    html = "html"
    markdown = "markdown"
    latex = "latex"


def report(
    runs: list[Path] = typer.Argument(metavar="RUN...", help="Run folders."),
    format: list[ReportFormat] = typer.Option(
        [ReportFormat.html], help="May be repeated; the files lie beside each other."
    ),
    out: Path | None = typer.Option(None, help="Folder of the files; that of the first RUN by default."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Write a report into a run folder from its result files alone; compare two evaluations, or tabulate more.

    Runs of one recipe with other seeds stand in one row, with the spread over seeds.

    Example: `basereward report runs/demo`

    Example: `basereward report runs/eval-a runs/eval-b --format html --format latex`

    Example: `basereward report runs/eval-a runs/eval-b runs/eval-c --format latex`
    """
    from basereward.evaluation.runs import evaluation_folders
    from basereward.reporting.reports import write_report

    formats: Any = [chosen.value for chosen in format]
    if len(runs) > 1 and all(evaluation_folders(run) for run in runs):
        write = _compare if len(runs) == 2 else _tabulate
        write(runs, out or runs[0], formats, as_json)
        return
    if out is not None and len(runs) > 1:
        raise typer.BadParameter("--out goes with one RUN, or with several that all hold evaluations.")
    files = [str(path) for run in runs for path in write_report(run, out, formats)]
    if as_json:
        print_json({"files": files})
        return
    print("\n".join(files))


def _compare(runs: list[Path], out: Path, formats: Any, as_json: bool) -> None:
    from basereward.reporting.comparison_page import build_comparison_report
    from basereward.reporting.reports import COMPARISON, compare_folders, read_seeds, write_document

    compared, left_out = compare_folders(*runs)
    seeds = read_seeds(runs)
    document = _with_seeds(build_comparison_report(compared, left_out), seeds)
    files = [str(path) for path in write_document(document, out / COMPARISON, formats)]
    comparisons = {own.comparison.benchmark: own.comparison.to_dict() for own in compared}
    _print(document, files, as_json, {"comparisons": comparisons, "left_out": left_out, "recipes": _recipes(seeds)})


def _tabulate(runs: list[Path], out: Path, formats: Any, as_json: bool) -> None:
    from basereward.reporting.reports import MODELS, read_models, read_seeds, write_document

    seeds = read_seeds(runs)
    document = _with_seeds(read_models(runs), seeds)
    files = [str(path) for path in write_document(document, out / MODELS, formats)]
    tables = {own.title: own.table._asdict() for own in document.sections if own.table}
    _print(document, files, as_json, {"tables": tables, "recipes": _recipes(seeds)})


def _with_seeds(document: Any, seeds: Any) -> Any:
    """Return a report with the rows of recipes in front, if any recipe has several runs."""
    return replace(document, sections=[*seeds.chapters, *document.sections]) if seeds else document


def _recipes(seeds: Any) -> list[dict[str, Any]]:
    return [own.to_dict() for own in seeds.metrics] if seeds else []


def _print(document: Any, files: list[str], as_json: bool, content: dict[str, Any]) -> None:
    from basereward.reporting.tables import to_rich

    if as_json:
        print_json({"files": files, **content})
        return
    screen = console()
    for section in document.sections:
        if section.note:
            print(section.note)
        if section.table:
            screen.print(to_rich(section.table, title=section.title))
        for line in section.lines:
            print(line)
    print("\n".join(files))
