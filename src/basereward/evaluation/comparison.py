"""Two runs of one benchmark, row by row: the difference of every metric, and which rows changed.

All numbers are over the rows that both runs scored; rows that failed in one of them are counted beside.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from basereward.benchmarks.formulas import Computed, Strata
from basereward.benchmarks.plugins import GROUP, benchmark_names, open_benchmark
from basereward.benchmarks.points import JudgeRule
from basereward.benchmarks.protocol import DEFAULT_PROTOCOLS, OFFICIAL, Protocol
from basereward.benchmarks.records import Outcome, RowRecord
from basereward.benchmarks.summary import Reading, UsedProtocol, failed_rows, read_records
from basereward.errors import DataError, UnknownNameError
from basereward.evaluation.runs import EvaluationRun
from basereward.statistics import mcnemar, paired_difference, stratified_mean


class MetricDifference(NamedTuple):
    """A metric of both runs over the rows that both scored, and ``difference = first - second``.

    Interval and p are those of ``statistics.paired_difference``, by prompts.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float
    n: int


class OutcomeCounts(NamedTuple):
    """How many rows end how; a row is right if every correct response scores above every rejected one.

    ``tied_first`` and ``tied_second`` are among the rows that are not right, over the rows that both scored.
    """

    both_right: int
    only_first: int
    only_second: int
    neither: int
    tied_first: int
    tied_second: int
    failed_first: int
    failed_second: int
    failed_both: int


class ChangedRow(NamedTuple):
    """A row with another outcome in the second run."""

    row: int
    id: str
    group: str
    first: Outcome
    second: Outcome
    first_margin: float | None
    second_margin: float | None


@dataclass(frozen=True, slots=True)
class RunComparison:
    """What two runs of one benchmark differ in; ``mcnemar_p`` is of the rows that only one of them has right."""

    benchmark: str
    protocol: str
    first: str
    second: str
    n: int
    scored_by_both: int
    metrics: dict[str, MetricDifference]
    groups: dict[str, MetricDifference]
    definitions: dict[str, str]
    counts: OutcomeCounts
    mcnemar_p: float
    changed: tuple[ChangedRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        named = {
            "metrics": {name: own._asdict() for name, own in self.metrics.items()},
            "groups": {name: own._asdict() for name, own in self.groups.items()},
            "counts": self.counts._asdict(),
            "changed": [row._asdict() for row in self.changed],
        }
        return {**asdict(self), **named}


class Formula(NamedTuple):
    """A protocol, and the rule that made points of the answers of a judge."""

    protocol: Protocol
    judge: JudgeRule | None


def compare_runs(first: EvaluationRun, second: EvaluationRun) -> RunComparison:
    """Compare two runs of the same benchmark and data, under the main protocol of the first.

    Raises:
        DataError: they are not of the same benchmark, data, protocol or rows, or no row was scored by both; names
            what differs.
    """
    used = _shared_protocol(first, second)
    own, other = ({record.row: record for record in run.records} for run in (first, second))
    if own.keys() != other.keys():
        raise DataError(
            f"{first.folder} has {len(own)} rows and {second.folder} {len(other)}, {len(own.keys() ^ other.keys())} of "
            "which only one of them has. Evaluate the whole benchmark with both."
        )
    rows = sorted(own)
    pairs = [(own[row], other[row]) for row in rows]
    counts = _count(pairs)
    usable = counts.both_right + counts.only_first + counts.only_second + counts.neither
    if not usable:
        raise DataError(f"No row of {first.result.benchmark} was scored by both {first.folder} and {second.folder}.")
    formula = find_formula(first.result.benchmark, used, str(first.folder))
    left, right = _read_both(formula, used, first, second)
    return RunComparison(
        benchmark=first.result.benchmark,
        protocol=used.line,
        first=first.result.scorer,
        second=second.result.scorer,
        n=len(rows),
        scored_by_both=usable,
        metrics=_differences(left.metrics, right.metrics, left.rows),
        groups=_differences(left.groups, right.groups, {name: left.rows.get(f"groups.{name}") for name in left.groups}),
        definitions=left.definitions,
        counts=counts,
        mcnemar_p=mcnemar(counts.only_first, counts.only_second),
        changed=tuple(_changed(*sides, formula) for sides in pairs if sides[0].outcome != sides[1].outcome),
    )


def find_formula(benchmark: str, used: UsedProtocol, place: str) -> Formula:
    """Return the protocol with which a run was evaluated, and its rule for judges.

    Raises:
        DataError: this version has no such protocol for the benchmark; ``place`` says whose it is.
    """
    is_known = benchmark in benchmark_names()
    known = open_benchmark(benchmark).protocols if is_known else DEFAULT_PROTOCOLS
    if not is_known and (used.name, used.text) != (OFFICIAL, known.get(OFFICIAL).text):
        raise DataError(
            f"{place} was evaluated under {used.name!r}, a protocol of the file that brought {benchmark}. Only "
            f"protocols of an installed package can be read again: name the benchmark under the entry points {GROUP}."
        )
    try:
        protocol = known.get(used.name)
    except UnknownNameError as error:
        raise DataError(f"{place}: {error}") from error
    rules = {rule.name: rule for rule in protocol.judge_rules}
    judge = rules.get(used.judge.name) if used.judge else None
    if (used.text, used.judge and used.judge.text) != (protocol.text, judge and judge.text):
        raise DataError(
            f"{place} was evaluated under {used.line!r}, but here {protocol.name} is {protocol.text!r}. Evaluate "
            "again; --resume asks nothing twice."
        )
    return Formula(protocol, judge)


def _shared_protocol(first: EvaluationRun, second: EvaluationRun) -> UsedProtocol:
    """Return the main protocol of the first run if the second has it, on the same data."""
    used = first.result.main.model.protocol
    other = second.result.protocols.get(used.key, second.result.main).model.protocol
    sides = [
        {
            "benchmark": run.result.benchmark,
            "protocol": own.line,
            "data sha256": run.result.data.sha256,
            "limit": run.result.data.limit,
        }
        for run, own in ((first, used), (second, other))
    ]
    different = [
        f"{key}: {sides[0][key]!r} against {sides[1][key]!r}" for key in sides[0] if sides[0][key] != sides[1][key]
    ]
    if different:
        raise DataError(
            f"{first.folder} and {second.folder} cannot be compared. {'; '.join(different)}. Evaluate both on the same "
            "data under the same protocol; --resume asks nothing twice."
        )
    return used


def _read_both(
    formula: Formula, used: UsedProtocol, first: EvaluationRun, second: EvaluationRun
) -> tuple[Computed, Computed]:
    """Return what a protocol makes of both runs, of the rows alone that neither lacks.

    A metric may need all rows of a prompt, so that rows are left out before it is computed.
    """

    def read(run: EvaluationRun, left_out: frozenset[int] = frozenset()) -> Reading:
        return read_records(formula.protocol, run.records, used.ties, formula.judge, left_out)

    failed = [failed_rows(read(run)) for run in (first, second)]
    return read(first, failed[1]).computed, read(second, failed[0]).computed


def _count(pairs: list[tuple[RowRecord, RowRecord]]) -> OutcomeCounts:
    outcomes = Counter((first.outcome, second.outcome) for first, second in pairs)
    right: Counter[tuple[bool, bool]] = Counter()
    for (first, second), number in outcomes.items():
        if "failed" not in (first, second):
            right[first == "correct", second == "correct"] += number
    scored = {key: number for key, number in outcomes.items() if "failed" not in key}
    failed = {key: number for key, number in outcomes.items() if "failed" in key}
    return OutcomeCounts(
        both_right=right[True, True],
        only_first=right[True, False],
        only_second=right[False, True],
        neither=right[False, False],
        tied_first=sum(number for key, number in scored.items() if key[0] == "tie"),
        tied_second=sum(number for key, number in scored.items() if key[1] == "tie"),
        failed_first=sum(number for key, number in failed.items() if key[1] != "failed"),
        failed_second=sum(number for key, number in failed.items() if key[0] != "failed"),
        failed_both=outcomes["failed", "failed"],
    )


def _differences(
    first: Mapping[str, Strata], second: Mapping[str, Strata], rows: Mapping[str, int | None]
) -> dict[str, MetricDifference]:
    return {
        name: _difference(first[name], second[name], rows.get(name))
        for name in first
        if any(len(part.values) for part in first[name])
    }


def _difference(first: Strata, second: Strata, rows: int | None) -> MetricDifference:
    left, right = ([part for part in parts if len(part.values)] for parts in (first, second))
    if [list(part.clusters) for part in left] != [list(part.clusters) for part in right]:
        raise DataError("The protocol puts the rows of the two runs into different groups; they cannot be paired.")
    value, low, high, p = paired_difference(left, right)
    n = sum(len(part.values) for part in left) if rows is None else rows
    return MetricDifference(stratified_mean(left), stratified_mean(right), value, low, high, p, n)


def _changed(first: RowRecord, second: RowRecord, formula: Formula) -> ChangedRow:
    group = formula.protocol.group(first.subset) or first.subset
    return ChangedRow(first.row, first.id, group, first.outcome, second.outcome, first.margin, second.margin)
