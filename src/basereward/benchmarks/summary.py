"""The result of a protocol: metrics, groups and counts, with the protocol and the definitions that they are under."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pydantic import ConfigDict, Field

from basereward.benchmarks.formulas import (
    Computed,
    Metric,
    Strata,
    accuracy_by_group,
    check_ties,
    combined_metric,
    mean_over,
    scored,
)
from basereward.benchmarks.points import JudgeRule, Readings, RowPoints, read_scores
from basereward.benchmarks.protocol import Protocol, own_subset
from basereward.benchmarks.records import RowRecord
from basereward.configuration import Section
from basereward.data.outcomes import Verdict
from basereward.errors import DataError
from basereward.statistics import Stratum, Ties

# Of every protocol: how ties and failures change a metric. They are compared with nothing.
TIES_HALF, OF_ALL = "accuracy_ties_half", "accuracy_of_all"


class UsedRule(Section):
    """How the answers of a judge became points."""

    name: str
    text: str
    is_official: bool
    """Whether published numbers mean the same."""


class UsedProtocol(Section):
    """The protocol that numbers are under."""

    model_config = ConfigDict(strict=True)

    name: str
    text: str
    ties: Ties
    """What a tie counts as."""
    judge: UsedRule | None = None
    """Null for scores."""

    @property
    def key(self) -> str:
        """What tells it from the others of a folder."""
        return self.name if self.judge is None else f"{self.name}/{self.judge.name}"

    @property
    def line(self) -> str:
        """All of it in words."""
        rule = f"; judge {self.judge.name}: {self.judge.text}" if self.judge else ""
        return f"{self.name}: {self.text}{rule}; ties {self.ties}"


class Summary(Section):
    """What one protocol makes of what was said of a benchmark."""

    model_config = ConfigDict(strict=True)

    benchmark: str
    protocol: UsedProtocol
    n: int = Field(ge=1)
    """All rows, failed ones included."""
    failed: int = Field(ge=0)
    """Rows without a score for one of their responses, or without what the rule for a judge counts."""
    coverage: float = Field(ge=0, le=1)
    """The share of the rows that did not fail."""
    ties: int = Field(ge=0)
    """Equal scores of a correct and a rejected response; for a judge, answers that call a tie."""
    metrics: dict[str, Metric]
    groups: dict[str, Metric]
    """The score of each group of the protocol."""
    definitions: dict[str, str]
    """One line for each metric."""
    notes: tuple[str, ...] = ()
    """What must be known to read the numbers."""

    def main_metrics(self) -> dict[str, Metric]:
        """Return the metrics of the protocol itself."""
        return {name: metric for name, metric in self.metrics.items() if name not in (TIES_HALF, OF_ALL)}

    def number(self, name: str) -> Metric | None:
        """Return a metric, or under ``groups.NAME`` a group."""
        return {**self.metrics, **{f"groups.{group}": own for group, own in self.groups.items()}}.get(name)


class Reading(NamedTuple):
    """Records as a protocol reads them: rows in their order, once or several times, and what it computes of them."""

    rows: list[list[RowPoints]]
    computed: Computed


def read_records(
    protocol: Protocol,
    records: Iterable[RowRecord],
    ties: Ties,
    judge: JudgeRule | None = None,
    left_out: frozenset[int] = frozenset(),
) -> Reading:
    """Return what a protocol makes of records, in any order.

    Args:
        judge: the rule for the answers of a judge; None for scores.
        left_out: rows that count as failed.
    """
    # In the order of the file: a rule may draw from one generator row after row.
    ordered = sorted(records, key=lambda record: record.row)
    found: Readings = judge.read(ordered) if judge else read_scores(ordered)
    rows = [
        [_fail(row) if row.row in left_out and row.failure is None else row for row in reading]
        for reading in found.rows
    ]
    computed = mean_over([protocol.compute(reading, ties) for reading in rows])
    return Reading(rows, computed._replace(notes=(*computed.notes, *found.notes)))


def failed_rows(reading: Reading) -> frozenset[int]:
    """Return the rows that have no points in some reading."""
    return frozenset(row.row for rows in reading.rows for row in rows if row.failure is not None)


def _fail(row: RowPoints) -> RowPoints:
    return RowPoints(row.row, row.id, row.subset, row.item, failure="left_out", tied=row.tied)


def summarize(
    benchmark: str,
    protocol: Protocol,
    records: Sequence[RowRecord],
    ties: Ties | None = None,
    judge: JudgeRule | None = None,
) -> Summary:
    """Return the summary of records under a protocol.

    Metrics are computed over the scored rows, ``accuracy_of_all`` divides by all of them.

    Raises:
        DataError: no records, a row twice, an unknown rule for ties, or a protocol that gives no ``accuracy``.
    """
    if not records:
        raise DataError("There are no records to summarize.")
    if len({record.row for record in records}) < len(records):
        raise DataError(f"A row of {benchmark} has several records; rows are keyed by their place in the file.")
    rule: Ties = ties or protocol.ties
    check_ties(rule)
    rows, computed = read_records(protocol, records, rule, judge)
    if "accuracy" not in computed.metrics:
        raise DataError(
            f"Protocol {protocol.name!r} gives {', '.join(computed.metrics)}; expected 'accuracy' among them."
        )
    metrics = _measure(computed.metrics, computed, "")
    definitions = dict(computed.definitions)
    if rule != "half":
        halved = mean_over([protocol.compute(reading, "half") for reading in rows])
        metrics[TIES_HALF] = combined_metric(halved.metrics["accuracy"], halved.rows.get("accuracy"))
        definitions[TIES_HALF] = "accuracy with a tie as a shared point"
    metrics[OF_ALL] = _of_all(metrics["accuracy"], protocol, rows, rule)
    definitions[OF_ALL] = "points / all rows: a failed row counts as wrong"
    failed = len(records) - len(scored(rows[0]))
    used = None if judge is None else UsedRule(name=judge.name, text=judge.text, is_official=judge.is_official)
    return Summary(
        benchmark=benchmark,
        protocol=UsedProtocol(name=protocol.name, text=protocol.text, ties=rule, judge=used),
        n=len(records),
        failed=failed,
        coverage=(len(records) - failed) / len(records),
        ties=_count_ties(records, rows[0]),
        metrics=metrics,
        groups=_measure(computed.groups, computed, "groups."),
        definitions=definitions,
        notes=computed.notes,
    )


def subset_metrics(
    protocol: Protocol, records: Sequence[RowRecord], ties: Ties | None = None, judge: JudgeRule | None = None
) -> dict[str, Metric]:
    """Return the accuracy of every subset of the file, whatever the protocol groups."""
    rule: Ties = ties or protocol.ties
    readings = read_records(protocol, records, rule, judge).rows
    computed = mean_over([accuracy_by_group(rows, rule, own_subset, value=protocol.value) for rows in readings])
    return _measure(computed.groups, computed, "groups.")


def _measure(named: dict[str, Strata], computed: Computed, prefix: str) -> dict[str, Metric]:
    return {name: combined_metric(strata, computed.rows.get(prefix + name)) for name, strata in named.items()}


def _of_all(accuracy: Metric, protocol: Protocol, readings: Sequence[Sequence[RowPoints]], ties: Ties) -> Metric:
    count = len(readings[0])
    if accuracy.n == count:
        return accuracy
    values = [0.0 if row.failure is not None else protocol.value(row, ties) for rows in readings for row in rows]
    return combined_metric([Stratum(values, [row.item for rows in readings for row in rows])], count)


def _count_ties(records: Sequence[RowRecord], rows: Sequence[RowPoints]) -> int:
    if not any(record.judged for record in records):
        return sum(value == 0.5 for row in rows for own in row.points for value in own)
    answers = (answer for record in records for pair in record.judged for answer in pair.all_answers)
    return sum(isinstance(answer, Verdict) and answer.choice == "tie" for answer in answers)
