"""Whether margins are log-odds of being right."""

from collections.abc import Sequence
from statistics import fmean

from basereward.evaluation.audit.measures import NO_ROWS, POINTS, Measurement, ProbedRow, worst_rows
from basereward.evaluation.calibration import row_reliability
from basereward.statistics import Interval


def calibration(rows: Sequence[ProbedRow]) -> Measurement:
    """Return the expected calibration error of the margins as log-odds of being right, as evaluations measure it."""
    rows = [row for row in rows if not row.before.tied]
    found = row_reliability([row.before for row in rows])
    if found is None:
        return Measurement(0, None, missing=NO_ROWS)
    details = {
        "accuracy": fmean(POINTS[row.before.outcome] for row in rows),
        "confidence": sum(own.share * own.confidence for own in found.bins),
    }
    wrong = [row for row in rows if row.before.outcome == "wrong"]
    interval = Interval(min(found.low, found.ece), max(found.high, found.ece))
    return Measurement(len(rows), found.ece, interval, details, worst_rows(wrong, lambda row: -row.margins[0]))
