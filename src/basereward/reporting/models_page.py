"""Several models beside each other: a row for each model in a table for each benchmark and protocol."""

from collections.abc import Iterator, Mapping, Sequence

from basereward.benchmarks.averages import AVERAGES, compute_average, missing_members
from basereward.evaluation.runs import EvaluationRun, by_benchmark
from basereward.reporting.benchmark_tables import definitions, limit_note, model_table
from basereward.reporting.documents import Chapter, Document
from basereward.reporting.overview_page import AVERAGE_NOTE
from basereward.reporting.tables import DECIMALS, MISSING, Table, percent

PUBLISHED_NOTE = "Below the models stands what is published for the same metrics under the same protocol."


def build_models_report(models: Mapping[str, Sequence[EvaluationRun]]) -> Document:
    """Return one table for each benchmark and protocol with models as rows, and one of the named averages.

    Args:
        models: the evaluations of each model, by what it is called.

    Raises:
        DataError: a model has two runs of one benchmark.
    """
    runs = {name: by_benchmark(own) for name, own in models.items()}
    return Document(
        kind="models",
        name=", ".join(models),
        sections=[_average_chapter(runs), *_model_chapters(runs)],
    )


def _average_chapter(models: Mapping[str, Mapping[str, EvaluationRun]]) -> Chapter:
    """Return a row for each model with every member of an average that it has, and every average that it has whole."""
    averages = [AVERAGES.get(name) for name in AVERAGES.names()]
    members = list({own[:3]: own for average in averages for own in average.members}.values())
    found: dict[str, dict[str, str]] = {}
    for name, runs in models.items():
        summaries = {benchmark: run.result.published for benchmark, run in runs.items()}
        cells: dict[str, float | None] = {}
        for member in members:
            summary = summaries.get(member.benchmark, {}).get(member.protocol)
            metric = summary.number(member.metric) if summary else None
            cells[f"{member.benchmark} {member.metric}"] = metric.value if metric else None
        for average in averages:
            is_whole = not missing_members(average, summaries)
            cells[average.name] = compute_average(average, summaries).value if is_whole else None
        found[name] = {column: percent(value, DECIMALS) for column, value in cells.items()}
    columns = [column for column in next(iter(found.values())) if any(own[column] != MISSING for own in found.values())]
    rows = [(name, *(cells[column] for column in columns)) for name, cells in found.items()]
    lines = [f"{average.name}: {average.definition}" for average in averages if average.name in columns]
    return Chapter("Models", AVERAGE_NOTE, "", Table(("model", *columns), rows), lines)


def _model_chapters(models: Mapping[str, Mapping[str, EvaluationRun]]) -> Iterator[Chapter]:
    for benchmark in dict.fromkeys(name for runs in models.values() for name in runs):
        own = {name: runs[benchmark] for name, runs in models.items() if benchmark in runs}
        for key in dict.fromkeys(key for run in own.values() for key in run.result.protocols):
            found = {name: run for name, run in own.items() if key in run.result.protocols}
            named = {_row_name(name, run, found): run.result.protocols[key].model for name, run in found.items()}
            shown = model_table(named)
            first = next(iter(named.values()))
            lines = [f"protocol {first.protocol.line}", *definitions(first), *shown.notes]
            note = PUBLISHED_NOTE if shown.published else ""
            title = f"{benchmark}, {key}"
            yield Chapter(title, note, "", shown.table, lines, leads=shown.models, ablations=shown.ablations)


def _row_name(name: str, run: EvaluationRun, others: Mapping[str, EvaluationRun]) -> str:
    """Return what a row is called: the model, with what tells its numbers from those of the others."""
    notes = [limit_note(run.result)]
    if len({own.result.data.sha256 for own in others.values()}) > 1:
        notes.append(f"data {run.result.data.sha256[:8]}")
    coverage = run.result.main.model.coverage
    notes.append("" if coverage == 1 else f"coverage {percent(coverage, DECIMALS)}")
    return ", ".join([name, *filter(None, notes)])
