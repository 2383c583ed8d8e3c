"""Whether margins are log-odds of being right."""

from collections.abc import Sequence
from statistics import fmean

import numpy as np

from basereward.errors import DataError
from basereward.evaluation.audit.measures import NO_ROWS, POINTS, Measurement, ProbedRow, worst_rows
from basereward.statistics import Interval

BINS = 10
RESAMPLES = 500
RESAMPLE_SEED = 0


def calibration(rows: Sequence[ProbedRow]) -> Measurement:
    """Return the expected calibration error of the margins as log-odds of being right; the interval is a bootstrap."""
    if not rows:
        return Measurement(0, None, missing=NO_ROWS)
    margins = np.array([row.margins[0] for row in rows])
    right = np.ones(len(rows))
    generator = np.random.default_rng(RESAMPLE_SEED)
    drawn = (generator.integers(0, len(rows), len(rows)) for _ in range(RESAMPLES))
    errors = [expected_calibration_error(margins[own], right) for own in drawn]
    interval = Interval(*np.quantile(errors, [0.025, 0.975]).tolist())
    value = expected_calibration_error(margins, right)
    details = {
        "accuracy": fmean(POINTS[row.before.outcome] for row in rows),
        "confidence": float(np.mean(_sigmoid(np.abs(margins)))),
    }
    wrong = [row for row in rows if row.before.outcome == "wrong"]
    # The bootstrap of an error that cannot be negative lies above it; the interval must hold the value.
    whole = Interval(min(interval.low, value), max(interval.high, value))
    return Measurement(len(rows), value, whole, details, worst_rows(wrong, lambda row: -row.margins[0]))


def expected_calibration_error(margins: Sequence[float] | np.ndarray, outcomes: Sequence[float] | np.ndarray) -> float:
    """Return ``sum over bins of n_b / n |mean confidence - mean accuracy|`` in ten bins of confidence from 0.5 to 1.

    The confidence is ``sigmoid(|margin|)``, that of the response which scores higher.

    Args:
        margins: score of one response minus that of the other.
        outcomes: 1 where the one is better, 0 where the other is, 0.5 for neither.

    Raises:
        DataError: no margin, or not as many outcomes.

    Source: Guo et al., ICML 2017, equation 3.
    """
    gaps, truth = np.asarray(margins, dtype=float), np.asarray(outcomes, dtype=float)
    if not len(gaps) or gaps.shape != truth.shape:
        raise DataError(f"Expected as many outcomes as margins, and some; found {len(truth)} and {len(gaps)}.")
    confidence = _sigmoid(np.abs(gaps))
    hits = np.where(gaps > 0, truth, np.where(gaps < 0, 1 - truth, 0.5))
    bins = np.minimum(((confidence - 0.5) * 2 * BINS).astype(int), BINS - 1)
    gap = np.bincount(bins, weights=confidence - hits, minlength=BINS)
    return float(np.abs(gap).sum() / len(gaps))


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.minimum(values, 700)))
