"""The report of several evaluations of one model: every metric in one table, named averages, links to their pages."""

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import quote

from basereward.benchmarks.averages import AVERAGES, compute_average, missing_members
from basereward.benchmarks.summary import Summary
from basereward.evaluation.blind import IMAGE_BLIND
from basereward.evaluation.runs import EvaluationRun, by_benchmark
from basereward.reporting.benchmark_tables import limit_note
from basereward.reporting.documents import Chapter, Document
from basereward.reporting.tables import DECIMALS, MISSING, Table, count, interval, percent

BENCHMARK_NOTE = (
    "The best trivial scorer is that of this metric. An image-blind value is that of the model with images of others."
)
AVERAGE_NOTE = "An average is computed only where every member is there, under the protocol that it names."

PAGE = "report.html"


def build_overview(name: str, runs: Sequence[EvaluationRun]) -> Document:
    """Return the report of several evaluations; each has a page of its own in its folder, to which the table links.

    Raises:
        DataError: two runs are of one benchmark.
    """
    lines = [
        ": ".join(filter(None, (run.result.benchmark, run.result.main.model.protocol.line, limit_note(run.result))))
        for run in runs
    ]
    for run in runs:
        model = run.result.main.model
        texts = {name: model.definitions[name] for name in model.main_metrics() if name in model.definitions}
        lines += [f"{run.result.benchmark}, {metric}: {text}" for metric, text in texts.items()]
    pages = {run.result.benchmark: quote(f"{run.folder.name}/{PAGE}") for run in runs}
    averages = _averages(by_benchmark(runs))
    scorers = ", ".join(dict.fromkeys(run.result.scorer for run in runs))
    return Document(
        scorers, name, (), [Chapter("Benchmarks", BENCHMARK_NOTE, "", _benchmark_table(runs), lines, pages), averages]
    )


def _benchmark_table(runs: Sequence[EvaluationRun]) -> Table:
    rows = [row for run in runs for own in run.result.protocols.values() for row in _metric_rows(own.summaries)]
    header = ("benchmark", "protocol", "metric", "value", "95 % interval", "n", "coverage", "best trivial")
    if all(row[-1] == MISSING for row in rows):
        return Table(header, [row[:-1] for row in rows])
    return Table((*header, "image-blind"), rows)


def _metric_rows(summaries: Mapping[str, Summary]) -> Iterator[tuple[str, ...]]:
    model = summaries["model"]
    for name, metric in model.main_metrics().items():
        beside = {other: own.metrics[name].value for other, own in summaries.items() if name in own.metrics}
        trivial = [value for other, value in beside.items() if other.startswith("baseline:") and value is not None]
        yield (
            model.benchmark,
            model.protocol.key,
            name,
            percent(metric.value, DECIMALS),
            interval(metric.low, metric.high),
            count(metric.n),
            percent(model.coverage, DECIMALS),
            percent(max(trivial, default=None), DECIMALS),
            percent(beside.get(IMAGE_BLIND), DECIMALS),
        )


def _averages(runs: Mapping[str, EvaluationRun]) -> Chapter:
    summaries = {name: run.result.published for name, run in runs.items()}
    lines, rows = [], []
    for average in map(AVERAGES.get, AVERAGES.names()):
        if missing := missing_members(average, summaries):
            lines.append(f"{average.name}: {average.definition}. It is not computed; it needs {'; '.join(missing)}")
            continue
        value, low, high, counts = compute_average(average, summaries)
        n = " + ".join(map(count, counts))
        lines.append(f"{average.name}: {average.definition} (n = {n})")
        rows.append((average.name, percent(value, DECIMALS), interval(low, high), n))
    if len(scorers := dict.fromkeys(run.result.scorer for run in runs.values())) > 1:
        lines.append(f"The benchmarks were scored by different scorers: {', '.join(scorers)}")
    table = Table(("average", "value", "95 % interval", "n"), rows) if rows else None
    return Chapter("Named averages", AVERAGE_NOTE, "", table, lines)
