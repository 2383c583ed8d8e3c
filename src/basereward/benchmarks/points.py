"""What protocols read of records: the points of each correct against each rejected response, and how judges give them.

Scores give points in one way. The answers of a judge give them by a rule; official rules differ from benchmark to
benchmark, in the orders and samples that count and in what an answer without a verdict is worth.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from basereward.benchmarks.judged import ORDERS, JudgedPair, points_of
from basereward.benchmarks.records import RowRecord


@dataclass(frozen=True, slots=True)
class RowPoints:
    """What a protocol reads of a row.

    Args:
        points: ``points[i][j]`` is 1 if the correct response i beats the rejected response j, 0 if it loses, and 1/2 at
            a tie; empty for a failed row.
        scores: those of the correct and of the rejected responses; None where a judge gave none.
        failure: why it has no points.
        tied: the label calls both responses equal, so that a tie alone is right.
    """

    row: int
    id: str
    subset: str
    item: int
    points: tuple[tuple[float, ...], ...] = ()
    scores: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    failure: str | None = None
    tied: bool = False


class Readings(NamedTuple):
    """Records as a protocol reads them: once, or several times, of which each metric is the mean; and notes on them."""

    rows: list[list[RowPoints]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JudgeRule:
    """How the answers of a judge become points.

    Args:
        name: what results call it.
        text: the rule in one line.
        read: from all records, in the order of their rows.
        is_official: it is the benchmark's own, so that published numbers mean the same.
    """

    name: str
    text: str
    read: Callable[[Sequence[RowRecord]], Readings]
    is_official: bool = True


def read_scores(records: Iterable[RowRecord]) -> Readings:
    """Return the points of scored rows: the higher score wins, equal ones tie."""
    return Readings([[_compare(record) for record in records]])


def _compare(record: RowRecord) -> RowPoints:
    if record.failure is not None:
        return _failed(record, record.failure)
    correct, rejected = (
        tuple(score for score in side if score is not None) for side in (record.correct, record.rejected)
    )
    points = tuple(tuple(0.5 if own == other else float(own > other) for other in rejected) for own in correct)
    return RowPoints(record.row, record.id, record.subset, record.item, points, (correct, rejected), tied=record.tied)


def read_verdicts(
    records: Iterable[RowRecord], decide: Callable[[RowRecord, JudgedPair], float | None], undecided: str = ""
) -> list[RowPoints]:
    """Return the points of judged rows by a rule on each pair.

    Args:
        decide: the points of a pair; None leaves its row out, failed for the reason ``undecided``.
    """
    return [_decide(record, decide, undecided) for record in records]


def _decide(record: RowRecord, decide: Callable[[RowRecord, JudgedPair], float | None], undecided: str) -> RowPoints:
    if record.failure is not None:
        return _failed(record, record.failure)
    decided = [value for pair in record.judged if (value := decide(record, pair)) is not None]
    if len(decided) < len(record.judged):
        return _failed(record, undecided)
    # Judged pairs stand in the order of the correct responses, then of the rejected ones.
    width = len(record.rejected)
    points = tuple(tuple(decided[start : start + width]) for start in range(0, len(decided), width))
    return RowPoints(record.row, record.id, record.subset, record.item, points, tied=record.tied)


def _failed(record: RowRecord, reason: str) -> RowPoints:
    return RowPoints(record.row, record.id, record.subset, record.item, failure=reason, tied=record.tied)


def _read_each(records: Sequence[RowRecord]) -> Readings:
    samples = max((len(pair.correct_first) for record in records for pair in record.judged), default=1)
    return Readings(
        [
            read_verdicts(records, lambda _, pair: points_of(pair.answers(order)[sample], order))  # noqa: B023
            for order in ORDERS
            for sample in range(samples)
        ]
    )


MEAN_OF_ORDERS = JudgeRule(
    "mean_of_orders",
    "mean of both orders; an answer without a verdict is wrong, a tie is one of the protocol",
    _read_each,
    is_official=False,
)
