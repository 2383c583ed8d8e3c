"""The reliability of an evaluation: which comparisons of its rows count, and with which weight."""

import pytest

from basereward.benchmarks.records import RowRecord
from basereward.evaluation.calibration import row_reliability
from basereward.scoring.calibration.reliability import measure_reliability


def record(row, correct, rejected, item=None, failure=None):
    return RowRecord(row, str(row), "", row if item is None else item, correct, rejected, failure)


def test_every_correct_response_is_compared_with_every_rejected_one_of_its_row():
    records = [record(0, (2.0,), (1.0, 0.5)), record(1, (1.0, 3.0), (2.0,)), record(2, (1.0,), (0.0,))]
    found = row_reliability(records)
    assert found == measure_reliability([1.0, 1.5, -1.0, 1.0, 1.0], [0, 0, 1, 1, 2], [0.5, 0.5, 0.5, 0.5, 1.0])
    assert found.n == 5


def test_failed_rows_are_left_out_and_nothing_is_nothing():
    whole, failed = record(0, (1.0,), (0.0,)), record(1, (None,), (0.0,), failure="too_long")
    assert row_reliability([whole, failed]) == row_reliability([whole])
    assert row_reliability([failed]) is None


def test_rows_of_one_prompt_belong_together():
    margins = [(2.0 * (n % 3) - 1.5,) for n in range(60)]
    alone, together = (
        row_reliability([record(n, own, (0.0,), item=n // size) for n, own in enumerate(margins)]) for size in (1, 3)
    )
    assert (alone.ece, alone.brier) == (pytest.approx(together.ece), pytest.approx(together.brier))
    assert (alone.low, alone.high) != (together.low, together.high)
