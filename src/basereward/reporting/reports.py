"""Reports as files: the report of a run folder, the comparison of two, and a table of many."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from basereward.errors import DataError
from basereward.evaluation.comparison import compare_runs
from basereward.evaluation.runs import EvaluationRun, by_benchmark, evaluation_folders, read_evaluation
from basereward.reporting.comparison_page import ComparedRuns
from basereward.reporting.documents import Document, to_latex_page, to_markdown_page
from basereward.reporting.html import render, write_page
from basereward.reporting.models_page import build_models_report
from basereward.reporting.overview_page import PAGE, build_overview
from basereward.reporting.run_page import build_run_report
from basereward.reporting.runs import REPORTED, read_run
from basereward.reporting.seeds_part import SeedReport, report_seeds
from basereward.reporting.sweep_page import build_sweep_report
from basereward.sweep.result import SWEEP_RESULT, read_sweep

PageFormat = Literal["html", "markdown", "latex"]
REPORT, COMPARISON, MODELS = Path(PAGE).stem, "comparison", "models"
_FORMATS: Mapping[PageFormat, tuple[str, Callable[[Document], str]]] = {
    "html": (".html", render),
    "markdown": (".md", to_markdown_page),
    "latex": (".tex", to_latex_page),
}


def write_report(run: Path, out: Path | None = None, formats: Sequence[PageFormat] = ("html",)) -> list[Path]:
    """Write ``report.html`` (``.md``, ``.tex``) of a run folder, and return the files.

    A folder of several evaluations gets an overview, and each one inside a report of its own; a sweep gets its grid.
    The page is made from the result files alone; what is missing is left out of it.

    Args:
        out: folder to write to; that of the run by default.

    Raises:
        MissingFileError: no such folder.
        DataError: the folder holds nothing to report, or a file is not what its name says.
        MissingExtraError: matplotlib is not installed.
    """
    place = out or run
    if (run / SWEEP_RESULT).is_file():
        return write_document(build_sweep_report(read_sweep(run)), place / REPORT, formats)
    is_run = not run.is_dir() or any((run / name).is_file() for name in REPORTED)
    inner = [] if is_run else evaluation_folders(run)
    if not inner:
        return write_document(build_run_report(read_run(run)), place / REPORT, formats)
    runs = {own.name: read_run(own) for own in inner}
    overview = build_overview(run.resolve().name, [own.evaluation for own in runs.values() if own.evaluation])
    files = write_document(overview, place / REPORT, formats)
    for name, own in runs.items():
        files += write_document(build_run_report(own), place / name / REPORT, formats)
    return files


def compare_folders(first: Path, second: Path) -> tuple[list[ComparedRuns], list[str]]:
    """Return the comparison of each benchmark that two run folders share, and the benchmarks that only one has.

    Raises:
        MissingFileError: no such folder.
        DataError: they share no benchmark, differ in data, protocol or rows, or one has two runs of a benchmark.
    """
    left, right = (_read_all(run) for run in (first, second))
    if len(left) == len(right) == 1:
        # Even if the names differ: the error tells what does.
        return [_compare(left[0], right[0])], []
    ours, theirs = by_benchmark(left), by_benchmark(right)
    shared = [name for name in ours if name in theirs]
    if not shared:
        raise DataError(f"{first} and {second} share no benchmark: {', '.join(ours)} against {', '.join(theirs)}.")
    return [_compare(ours[name], theirs[name]) for name in shared], sorted(ours.keys() ^ theirs.keys())


def read_models(folders: Sequence[Path]) -> Document:
    """Return the report with a row for each of several run folders, called by its scorer if that tells it apart.

    Raises:
        MissingFileError: no such folder.
        DataError: a folder holds no evaluation, or two of one benchmark.
    """
    return build_models_report(_named_runs(folders))


def read_seeds(folders: Sequence[Path]) -> SeedReport | None:
    """Return what run folders say as runs of recipes; None where no two are of one recipe.

    Raises:
        MissingFileError: no such folder.
        DataError: a folder holds no evaluation, or two of one benchmark.
    """
    return report_seeds(_named_runs(folders))


def _named_runs(folders: Sequence[Path]) -> dict[str, list[EvaluationRun]]:
    models = {folder: _read_all(folder) for folder in folders}
    if empty := [str(folder) for folder, runs in models.items() if not runs]:
        raise DataError(f"{', '.join(empty)} hold no evaluation; `basereward eval MODEL --bench NAME` writes one.")
    scorers = {folder: ", ".join(dict.fromkeys(run.result.scorer for run in runs)) for folder, runs in models.items()}
    return {
        name if list(scorers.values()).count(name) == 1 else str(folder): models[folder]
        for folder, name in scorers.items()
    }


def write_document(document: Document, stem: Path, formats: Sequence[PageFormat]) -> list[Path]:
    """Write a report in each format beside each other and return the files."""
    files = []
    for name in dict.fromkeys(formats):
        suffix, show = _FORMATS[name]
        files.append(stem.with_name(stem.name + suffix))
        write_page(files[-1], show(document))
    return files


def _read_all(run: Path) -> list[EvaluationRun]:
    return [read_evaluation(folder) for folder in evaluation_folders(run)]


def _compare(first: EvaluationRun, second: EvaluationRun) -> ComparedRuns:
    return ComparedRuns(first, second, compare_runs(first, second))
