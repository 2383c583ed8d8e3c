"""What a probe measures has closed forms."""

import pytest

from basereward.benchmarks.records import RowRecord
from basereward.evaluation.audit.calibration import calibration
from basereward.evaluation.audit.marks import MARKS, PassMark
from basereward.evaluation.audit.measures import (
    ProbedRow,
    accuracy_drop,
    changed_rankings,
    largest_difference,
    lost_pairs,
)
from basereward.evaluation.audit.probes import PROBES
from basereward.evaluation.audit.properties import length_gap
from basereward.evaluation.audit.verdicts import MOST_FAILED, judge_measurement
from basereward.statistics import Interval, wilson_interval


def row(number, before, after=None, lengths=(1, 1)):
    """A row with the scores of its correct and rejected response before and after."""
    records = [
        RowRecord(number, f"id-{number}", "", number, (scores[0],), (scores[1],))
        for scores in (before, after or before)
    ]
    return ProbedRow(*records, lengths)


RIGHT, WRONG, TIE = (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)


def test_the_drop_is_the_difference_of_two_accuracies():
    rows = [row(n, RIGHT, WRONG if n < 30 else TIE if n < 40 else RIGHT) for n in range(100)]
    found = accuracy_drop(rows)
    assert found.value == pytest.approx(0.35)
    assert found.interval.low < 0.35 < found.interval.high
    assert found.details == {"accuracy": 1.0, "accuracy_changed": pytest.approx(0.65)}
    assert set(found.worst) == set(range(40, 100))


def test_equal_margins_lose_exactly_nothing_and_equal_outcomes_nearly_nothing():
    assert accuracy_drop([row(n, RIGHT) for n in range(5)]).interval == Interval(0.0, 0.0)
    found = accuracy_drop([row(n, RIGHT, (2.0, 0.0)) for n in range(5)])
    reach = wilson_interval(0, 5).high
    assert (found.value, found.interval) == (0.0, Interval(-reach, reach))


def test_rankings_that_change_are_counted_among_those_that_were_some():
    rows = [row(0, TIE, RIGHT), row(1, RIGHT, TIE), row(2, WRONG, RIGHT), row(3, RIGHT, (5.0, 0.0)), row(4, WRONG)]
    found = changed_rankings(rows)
    assert (found.n, found.value, found.interval) == (4, 0.5, wilson_interval(2, 4))
    assert set(found.worst) == {1, 2}
    assert changed_rankings([row(0, TIE)]).value is None


def test_lost_pairs_are_those_that_were_right():
    rows = [row(0, RIGHT, (1.0, 3.0)), row(1, RIGHT), row(2, WRONG, RIGHT)]
    found = lost_pairs(rows)
    assert (found.n, found.value, found.worst) == (2, 0.5, (0,))
    # The rejected responses rose by 3, 0 and -1, and scores of 0 and 1 spread by 1/2.
    assert found.details["shift"] == pytest.approx((3 + 0 - 1) / 3 / 0.5)
    assert lost_pairs([row(0, WRONG)]).missing == "no pair is ranked right"


def test_the_largest_difference_is_in_units_of_the_spread():
    found = largest_difference([row(0, (1.0, -1.0), (1.0, -1.25)), row(1, (-1.0, 1.0), (-1.0, 1.0))])
    assert (found.value, found.interval, found.worst) == (0.25, None, (0,))
    assert found.details == {"largest": 0.25, "spread": 1.0, "changed_rankings": 0.0}
    assert largest_difference([row(0, (0.0, 0.0), (0.0, 0.5))]).value == 0.5


def test_the_gap_has_the_interval_of_newcombe():
    # Newcombe 1998, table II: 56/70 and 48/80 differ by 0.2000, 0.0524 to 0.3339 by method 10.
    rows = [row(n, RIGHT if n < 56 else WRONG, lengths=(2, 1)) for n in range(70)]
    rows += [row(100 + n, RIGHT if n < 48 else WRONG, lengths=(1, 2)) for n in range(80)]
    found = length_gap([*rows, row(300, RIGHT, lengths=(1, 1))])
    assert (found.n, round(found.value, 4)) == (150, 0.2)
    assert [round(end, 4) for end in found.interval] == [0.0524, 0.3339]
    turned = length_gap([own._replace(lengths=own.lengths[::-1]) for own in rows])
    assert [turned.value, *turned.interval] == pytest.approx([found.value, *found.interval])
    assert length_gap(rows[:70]).value is None


def test_an_interval_around_no_gap_begins_at_zero():
    rows = [row(n, RIGHT if n % 4 else WRONG, lengths=(1 + n % 8 // 4, 2 - n % 8 // 4)) for n in range(80)]
    found = length_gap(rows)
    assert (found.value, found.interval.low) == (0.0, 0.0)


def test_the_interval_of_calibration_holds_its_value():
    found = calibration([row(n, (2.0, 0.0) if n % 5 else (0.0, 2.0)) for n in range(50)])
    assert found.interval.low <= found.value <= found.interval.high
    assert found.value == pytest.approx(1 / (1 + 2.718281828**-2) - 0.8, abs=1e-6)
    assert len(found.worst) == 10


@pytest.mark.parametrize(
    ("direction", "interval", "expected"),
    [
        ("at least", (0.3, 0.4), "pass"),
        ("at least", (0.1, 0.19), "fail"),
        ("at least", (0.1, 0.3), "cannot tell"),
        ("at most", (0.3, 0.4), "fail"),
        ("at most", (0.1, 0.2), "pass"),
        ("at most", (0.1, 0.3), "cannot tell"),
    ],
)
def test_an_interval_is_held_against_the_mark(direction, interval, expected):
    assert PassMark(direction, 0.2, "").judge(0.2, Interval(*interval)) == expected


def test_a_value_without_an_interval_is_exact():
    mark = PassMark("at most", 0.2, "")
    assert (mark.judge(0.2, None), mark.judge(0.21, None)) == ("pass", "fail")


def test_what_fails_often_cannot_be_told():
    found = lost_pairs([row(n, RIGHT) for n in range(100)])
    assert judge_measurement("list", found, round(100 * MOST_FAILED), 100).status == "pass"
    assert judge_measurement("list", found, 11, 100) == ("cannot tell", "11 of 100 changed rows have no score")
    assert judge_measurement("list", lost_pairs([]), 5, 5).status == "cannot tell"
    assert judge_measurement("list", lost_pairs([]), 0, 5) == ("not applicable", "no pair is ranked right")


def test_every_probe_has_a_mark():
    assert sorted(MARKS) == PROBES.names()
