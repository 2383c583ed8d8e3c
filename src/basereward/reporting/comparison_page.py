"""The report of two runs side by side: differences with intervals, how rows end in each, and the rows that changed."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from basereward.evaluation.comparison import MetricDifference, RunComparison
from basereward.evaluation.runs import EvaluationRun
from basereward.reporting import plots
from basereward.reporting.documents import Chapter, Document
from basereward.reporting.evaluation_parts import LENGTHS, ROW_NOTE, make_card, read_texts
from basereward.reporting.items import Card, CardList
from basereward.reporting.tables import DECIMALS, Table, count, percent

DIFFERENCE_NOTE = (
    "Over the rows that both scored; difference = first - second, in points. The 95 % interval is by prompts, less "
    "what both runs share; p is that of exchanging the two runs prompt by prompt."
)
RULE = "rows whose margin changed most come first"


class ComparedRuns(NamedTuple):
    """Two runs of one benchmark, and how they compare."""

    first: EvaluationRun
    second: EvaluationRun
    comparison: RunComparison


def build_comparison_report(compared: Sequence[ComparedRuns], left_out: Sequence[str] = ()) -> Document:
    """Return the report of two runs on the benchmarks that both have; ``left_out`` names the others.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    first, second = run_names(compared[0].first, compared[0].second)
    note = "Only one of the runs has " + ", ".join(left_out) + "." if left_out else ""
    cards = [card for own in compared for card in _changed_cards(own, len(compared) > 1)]
    ordered = sorted(cards, key=lambda card: -abs(card.margin or 0))
    filters = ("all categories", "all outcomes", LENGTHS[0])
    return Document(
        kind="first against second",
        name=f"{first} against {second}",
        sections=[*([Chapter("Not compared", note)] if note else []), *_all_sections(compared, (first, second))],
        items=CardList("Rows that changed", ordered, RULE, ("first", "second"), "difference of margins", filters),
    )


def run_names(first: EvaluationRun, second: EvaluationRun) -> tuple[str, str]:
    """Return what the two runs are called: their scorers, or their folders where these are the same."""
    if first.result.scorer != second.result.scorer:
        return first.result.scorer, second.result.scorer
    return str(first.folder), str(second.folder)


def difference_table(comparison: RunComparison, title: str = "metric") -> Table:
    """Return one row for each metric and each group: both values, their difference, its interval, p and n."""
    named = {**comparison.metrics, **{f"group {name}": own for name, own in comparison.groups.items()}}
    rows = [
        (
            name,
            percent(own.first, DECIMALS),
            percent(own.second, DECIMALS),
            f"{100 * own.difference:+.2f}",
            f"{100 * own.low:+.1f} to {100 * own.high:+.1f}",
            f"{own.p:.4f}",
            count(own.n),
        )
        for name, own in named.items()
    ]
    return Table((title, "first", "second", "difference", "95 % interval", "p", "n"), rows)


def outcome_table(comparison: RunComparison) -> Table:
    """Return how many rows end how in the two runs."""
    own = comparison.counts
    rows = [
        ("right in both", own.both_right),
        ("right only in the first", own.only_first),
        ("right only in the second", own.only_second),
        ("right in neither", own.neither),
        ("of these tied in the first", own.tied_first),
        ("of these tied in the second", own.tied_second),
        ("failed only in the first", own.failed_first),
        ("failed only in the second", own.failed_second),
        ("failed in both", own.failed_both),
    ]
    return Table(("rows", "number"), [(name, count(number)) for name, number in rows])


def outcome_lines(comparison: RunComparison) -> list[str]:
    """Return the test that goes with the counts, and how many rows changed."""
    own = comparison.counts
    return [
        f"McNemar's exact test of {own.only_first} against {own.only_second}: p = {comparison.mcnemar_p:.4g}. It takes "
        "rows as independent, also those of one prompt.",
        f"{len(comparison.changed)} of {comparison.n} rows end differently (correct, wrong, tie, failed).",
    ]


def definition_lines(comparison: RunComparison) -> list[str]:
    """Return the protocol and what each metric is."""
    lines = [f"protocol {comparison.protocol}", f"{comparison.scored_by_both} of {comparison.n} rows scored by both"]
    return lines + [
        f"{name}: {text} (n = {comparison.metrics[name].n})"
        for name, text in comparison.definitions.items()
        if name in comparison.metrics
    ]


def _all_sections(compared: Sequence[ComparedRuns], names: tuple[str, str]) -> Iterator[Chapter]:
    for own in compared:
        comparison = own.comparison
        bars = plots.difference_bars(_drawn(comparison.metrics)).decode() if comparison.metrics else ""
        note = f"First: {names[0]}. Second: {names[1]}. {DIFFERENCE_NOTE}"
        lines = definition_lines(comparison)
        yield Chapter(f"{comparison.benchmark}: metrics", note, bars, difference_table(comparison), lines)
        yield Chapter(
            f"{comparison.benchmark}: rows", ROW_NOTE, "", outcome_table(comparison), outcome_lines(comparison)
        )


def _drawn(metrics: Mapping[str, MetricDifference]) -> dict[str, dict[str, float]]:
    return {name: own._asdict() for name, own in metrics.items()}


def _changed_cards(compared: ComparedRuns, has_others: bool) -> Iterator[Card]:
    """Yield the rows that end differently, each in its category; which response is longer can be asked for."""
    texts = read_texts(compared.first.folder)
    first, second = ({record.row: record for record in run.records} for run in (compared.first, compared.second))
    for row in compared.comparison.changed:
        if row.row not in texts:
            continue
        margins = (row.first_margin, row.second_margin)
        difference = None if margins[0] is None or margins[1] is None else margins[0] - margins[1]
        group = f"{compared.comparison.benchmark} / {row.group}" if has_others else row.group
        outcome = f"first {row.first}, second {row.second}"
        yield make_card(
            texts[row.row], [first[row.row], second[row.row]], outcome, difference, compared.first.folder, group
        )
