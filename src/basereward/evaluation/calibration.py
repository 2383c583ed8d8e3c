"""Whether the scores of an evaluation are log odds: ECE, Brier score and log loss of its rows."""

from collections.abc import Sequence

from basereward.benchmarks.records import RowRecord
from basereward.scoring.calibration.reliability import Reliability, measure_reliability


def row_reliability(records: Sequence[RowRecord]) -> Reliability | None:
    """Return how far margins of rows are log odds; None if every row failed, or its label is a tie.

    Each correct response is compared with each rejected one of its row; the comparisons of a row weigh 1 together.
    """
    margins: list[float] = []
    weights: list[float] = []
    items: list[int] = []
    for record in records:
        # A label that calls both equal prefers none, so that no margin can be its log odds.
        if record.failure is not None or record.tied:
            continue
        sides = [[score for score in side if score is not None] for side in (record.correct, record.rejected)]
        own = [correct - rejected for correct in sides[0] for rejected in sides[1]]
        margins += own
        weights += [1 / len(own)] * len(own)
        items += [record.item] * len(own)
    return measure_reliability(margins, items, weights) if margins else None
