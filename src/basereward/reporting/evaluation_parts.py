"""What a page says of an evaluation: headlines, chapters, and a card for every row."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from basereward.benchmarks.records import RowRecord, reading_order
from basereward.data.io import read_records
from basereward.evaluation.blind import IMAGE_BLIND
from basereward.evaluation.result import ITEMS, ItemLine, ProtocolResult
from basereward.evaluation.runs import EvaluationRun
from basereward.reporting import plots, tables
from basereward.reporting.abstention_parts import abstention_chapter
from basereward.reporting.benchmark_tables import (
    definitions,
    footnotes,
    group_table,
    limit_note,
    metric_table,
    model_table,
    subset_table,
)
from basereward.reporting.documents import Chapter, Headline
from basereward.reporting.items import Card, CardList, ShownAnswer
from basereward.reporting.reliability_parts import reliability_chapter

ROW_NOTE = "A row is correct if every correct response scores above every rejected one."
MARGIN = "margin: lowest score of a correct response - highest of a rejected one"
RULE = "failed, wrong and tied rows come first, then those with the smallest margins"
PUBLISHED_NOTE = (
    "What others printed for the same metric under the same protocol. A raised number marks what must be known to read "
    "a figure; it stands under the table."
)
DETAILS = ("scorer", "data", "settings", "identity", "seeds", "versions", "failures", "items", "responses")
# How the lengths of a row's responses compare, and what a reader calls that.
LENGTHS = ("all lengths", "rejected is longer", "correct is longer", "equally long")


def headlines(run: EvaluationRun) -> Iterator[Headline]:
    """Yield the metrics of the main protocol, and what stands beside them."""
    main = run.result.main
    for name, metric in main.model.main_metrics().items():
        if metric.value is not None:
            note = f"95 %: {tables.interval(metric.low, metric.high)}"
            yield Headline(name, tables.percent(metric.value, tables.DECIMALS), note)
    accuracies = {name: own.metrics["accuracy"].value for name, own in main.references.items()}
    if (blind := accuracies.pop(IMAGE_BLIND, None)) is not None:
        yield Headline("with images of others", tables.percent(blind), "accuracy of the same model, blind")
    known = {name: value for name, value in accuracies.items() if value is not None}
    if known:
        best = max(known, key=lambda name: known[name])
        yield Headline("best trivial scorer", tables.percent(known[best]), best)
    model = main.model
    yield Headline("rows", tables.count(model.n), f"{model.failed} failed, {model.ties} ties")


def chapters(run: EvaluationRun) -> Iterator[Chapter]:
    """Yield what the protocols make of an evaluation, the main one first, and its margins."""
    result, main = run.result, run.result.main
    accuracies = {name: own.metrics["accuracy"] for name, own in main.summaries.items()}
    bars = ""
    if accuracies["model"].value is not None:
        is_paired = all(len(record.correct) == len(record.rejected) for record in run.records)
        bars = plots.accuracy_bars(accuracies, has_chance=is_paired).decode()
    lines = [*footnotes(result), *result.notes]
    yield Chapter("Metrics beside trivial scorers", "", bars, metric_table(main), lines)
    yield from _published(main, run, "Published numbers")
    groups = main.model.groups
    if any(group.value is not None for group in groups.values()):
        yield Chapter("By group", svg=plots.group_bars(groups).decode(), table=group_table(main))
    if len(main.subsets) > 1 and main.subsets != groups:
        yield Chapter("By subset of the file", table=subset_table(main))
    for key, own in list(result.protocols.items())[1:]:
        yield Chapter(f"Under {key}", own.model.protocol.line, "", metric_table(own), definitions(own.model))
        yield from _published(own, run, f"Published numbers under {key}")
    # Of a label that calls both equal neither side of zero is right.
    margins = [record.margin for record in run.records if record.margin is not None and not record.tied]
    if margins:
        yield Chapter("Margins", ROW_NOTE, plots.margin_histogram(margins, below=MARGIN).decode())
    if result.abstention:
        yield abstention_chapter(result.abstention)
    if result.reliability is not None:
        yield reliability_chapter({result.scorer: result.reliability})


def _published(own: ProtocolResult, run: EvaluationRun, title: str) -> Iterator[Chapter]:
    limited = limit_note(run.result)
    found = model_table({f"this run, {limited}" if limited else "this run": own.model})
    if found.published:
        yield Chapter(
            title, PUBLISHED_NOTE, "", found.table, found.notes, leads=found.models, ablations=found.ablations
        )


def row_cards(run: EvaluationRun) -> CardList:
    """Return every row with its texts, those that went wrong first; a run without ``items.jsonl`` has none.

    Raises:
        DataError: ``items.jsonl`` is not what its name says.
    """
    texts = read_texts(run.folder)
    cards = [
        make_card(texts[record.row], [record], record.outcome, record.margin, run.folder)
        for record in sorted(run.records, key=reading_order)
        if record.row in texts
    ]
    filters = ("all subsets", "all outcomes", LENGTHS[0])
    return CardList("Rows", cards, RULE, (run.result.scorer,), filters=filters)


def read_texts(folder: Path) -> dict[int, ItemLine]:
    """Return the lines of ``items.jsonl`` by row; none if there is no such file.

    Raises:
        DataError: it is not what its name says.
    """
    path = folder / ITEMS
    lines = read_records(path) if path.is_file() else []
    return {line.row: line for line in map(ItemLine.model_validate, lines)}


def make_card(
    text: ItemLine,
    records: Sequence[RowRecord],
    outcome: str,
    margin: float | None,
    folder: Path,
    group: str | None = None,
) -> Card:
    """Return a row for the page, with the scores of one or several records of it.

    Args:
        group: what it is filtered by instead of its subset.
    """
    sides: Mapping[Literal["correct", "rejected"], Any] = {
        "correct": [one.correct for one in records],
        "rejected": [one.rejected for one in records],
    }
    return Card(
        row=text.row,
        id=text.id,
        source=text.subset if group is None else group,
        outcome=outcome,
        margin=margin,
        prompt=text.prompt,
        answers=tuple(
            ShownAnswer(side, answer, tuple(scores[place] for scores in own))
            for side, own in sides.items()
            for place, answer in enumerate(getattr(text, side))
        ),
        images=tuple(None if image is None else folder / image for image in text.images),
        failure="; ".join(dict.fromkeys(one.failure_message for one in records if one.failure_message)),
        kind=_lengths(text),
    )


def _lengths(text: ItemLine) -> str:
    correct, rejected = (max(map(len, side)) for side in (text.correct, text.rejected))
    return LENGTHS[1] if rejected > correct else LENGTHS[2] if correct > rejected else LENGTHS[3]
