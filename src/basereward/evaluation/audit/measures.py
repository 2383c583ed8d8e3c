"""What a probe measures: pure functions from the records before and after a change to a value and its interval."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import NamedTuple

import numpy as np

from basereward.benchmarks.records import RowRecord
from basereward.statistics import Interval, Stratum, paired_difference, wilson_interval

NO_ROWS = "no pair has scores before and after the change"
POINTS = {"correct": 1.0, "tie": 0.5, "wrong": 0.0}


class ProbedRow(NamedTuple):
    """One row as it is and as a probe changed it, both with scores.

    Args:
        lengths: characters of the correct and of the rejected response.
    """

    before: RowRecord
    after: RowRecord
    lengths: tuple[int, int]

    @property
    def margins(self) -> tuple[float, float]:
        """The margins before and after."""
        before, after = self.before.margin, self.after.margin
        assert before is not None
        assert after is not None
        return before, after


@dataclass(frozen=True, slots=True)
class Measurement:
    """A measured value.

    Args:
        n: rows that it is of.
        value: None where no row tells anything.
        interval: of 95 %; None for a value that is exact, such as a largest difference.
        details: further numbers by name.
        worst: rows that count against the scorer, the worst first.
        missing: why there is no value.
    """

    n: int
    value: float | None
    interval: Interval | None = None
    details: Mapping[str, float] = field(default_factory=dict)
    worst: tuple[int, ...] = ()
    missing: str = ""


def accuracy_drop(rows: Sequence[ProbedRow]) -> Measurement:
    """Return how much accuracy a change costs, ties counted as half; the worst rows stay right without what was taken.

    The interval is that of a difference of two accuracies over the same rows. Where no row ends differently it is that
    of no success in so many tries, to both sides; equal margins leave nothing uncertain.
    """
    if not rows:
        return Measurement(0, None, missing=NO_ROWS)
    before, after = ([POINTS[record.outcome] for record in side] for side in _sides(rows))
    numbers = range(len(rows))
    found = paired_difference([Stratum(before, numbers)], [Stratum(after, numbers)])
    interval = Interval(found.low, found.high)
    if before == after and any(row.margins[0] != row.margins[1] for row in rows):
        reach = wilson_interval(0, len(rows)).high
        interval = Interval(-reach, reach)
    still = [row for row in rows if row.before.outcome == row.after.outcome == "correct"]
    details = {"accuracy": fmean(before), "accuracy_changed": fmean(after)}
    return Measurement(len(rows), found.value, interval, details, worst_rows(still, lambda row: row.margins[1]))


def changed_rankings(rows: Sequence[ProbedRow]) -> Measurement:
    """Return the share of rows that end differently (right, wrong, tie), of those that were not tied."""
    ranked = [row for row in rows if row.before.outcome != "tie"]
    changed = [row for row in ranked if row.before.outcome != row.after.outcome]
    return share_of(changed, ranked, _shifts(ranked), "every pair is tied")


def lost_pairs(rows: Sequence[ProbedRow]) -> Measurement:
    """Return the share of rows that were right and are no longer; ``shift`` says what the change is worth.

    ``shift`` is the mean change of the rejected response's score, in standard deviations of the scores before.
    """
    right = [row for row in rows if row.before.outcome == "correct"]
    lost = [row for row in right if row.after.outcome != "correct"]
    return share_of(lost, right, _shifts(rows, rejected_only=True), "no pair is ranked right")


def largest_difference(rows: Sequence[ProbedRow]) -> Measurement:
    """Return the largest difference of a score, in standard deviations of all scores; it is exact, without interval."""
    if not rows:
        return Measurement(0, None, missing=NO_ROWS)
    gaps = [max(map(abs, _differences(row))) for row in rows]
    scores = [score for row in rows for score in _scores(row.before)]
    # Equal scores have no spread to compare with; their size is the next best.
    scale = float(np.std(scores)) or max(map(abs, scores)) or 1.0
    details = {
        "largest": max(gaps),
        "spread": scale,
        "changed_rankings": float(sum(row.before.outcome != row.after.outcome for row in rows)),
    }
    worst = (rows[gaps.index(max(gaps))].before.row,) if any(gaps) else ()
    return Measurement(len(rows), max(gaps) / scale, None, details, worst)


def share_of(
    hits: Sequence[ProbedRow], rows: Sequence[ProbedRow], details: Mapping[str, float], missing: str
) -> Measurement:
    """Return the share of rows that are hits, with Wilson's interval; the worst are those whose margin moved most.

    Args:
        missing: why there are no rows, if there are none.
    """
    if not rows:
        return Measurement(0, None, details=details, missing=missing)
    worst = worst_rows(hits, lambda row: abs(row.margins[1] - row.margins[0]))
    interval = wilson_interval(len(hits), len(rows))
    return Measurement(len(rows), len(hits) / len(rows), interval, details, worst)


def _shifts(rows: Sequence[ProbedRow], rejected_only: bool = False) -> dict[str, float]:
    """Return the mean change of scores in standard deviations of those before, and nothing where these are equal."""
    spread = float(np.std([score for row in rows for score in _scores(row.before)])) if rows else 0.0
    changes = [own for row in rows for own in _differences(row)[1 if rejected_only else 0 :]]
    return {"shift": fmean(changes) / spread} if spread else {}


def _differences(row: ProbedRow) -> list[float]:
    """Return how much the score of the correct and of the rejected response rose."""
    return [after - before for before, after in zip(_scores(row.before), _scores(row.after), strict=True)]


def _scores(record: RowRecord) -> list[float]:
    return [score for score in (*record.correct, *record.rejected) if score is not None]


def _sides(rows: Sequence[ProbedRow]) -> tuple[list[RowRecord], list[RowRecord]]:
    return [row.before for row in rows], [row.after for row in rows]


def worst_rows(rows: Sequence[ProbedRow], weight: Callable[[ProbedRow], float]) -> tuple[int, ...]:
    """Return the numbers of rows, those of the largest weight first."""
    return tuple(row.before.row for row in sorted(rows, key=lambda row: (-weight(row), row.before.row)))
