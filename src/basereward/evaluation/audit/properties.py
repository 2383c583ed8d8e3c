"""Properties of a scorer or a judge as it is: nothing is changed and nothing more is asked."""

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt

from basereward.benchmarks.judged import JudgedPair, names_one
from basereward.data.outcomes import Choice, Judged, Verdict
from basereward.evaluation.audit.measures import POINTS, Measurement, ProbedRow, share_of, worst_rows
from basereward.statistics import Interval, wilson_interval


def agreement_of_orders(rows: Sequence[ProbedRow]) -> Measurement:
    """Return the share of judged pairs whose two orders say the same: one response, or a tie.

    Of a pair with an answer that cannot be read nothing is known; it is left out and counted.
    """
    pairs = [(row, pair) for row in rows for pair in row.before.judged]
    read = [(row, pair) for row, pair in pairs if all(map(_is_read, pair.all_answers))]
    agree = [row for row, pair in read if _says_the_same(pair)]
    unlike = [row for row, pair in read if not _says_the_same(pair)]
    named = [answer.choice for _, pair in read for answer in pair.all_answers if names_one(answer)]
    details = {"unread": float(len(pairs) - len(read))}
    details |= {"first_named": named.count(0) / len(named)} if named else {}
    found = share_of(agree, [row for row, _ in read], details, "no pair has an answer that can be read")
    return replace(found, worst=tuple(row.before.row for row in unlike))


def length_gap(rows: Sequence[ProbedRow]) -> Measurement:
    """Return how far accuracy is apart where the chosen response is the longer one and where it is the shorter one.

    The interval is Newcombe's of a difference of two shares, folded at zero; ``longer`` and ``shorter`` hold the two.

    Source: Newcombe, Statistics in Medicine 1998, method 10.
    """
    # Of a label that calls both equal no response is the chosen one.
    rows = [row for row in rows if not row.before.tied]
    sides = [[row for row in rows if (row.lengths[0] - row.lengths[1]) * sign > 0] for sign in (1, -1)]
    n = len(sides[0]) + len(sides[1])
    if not all(sides):
        return Measurement(n, None, missing="the chosen response is never the longer one, or never the shorter one")
    right = [sum(POINTS[row.before.outcome] for row in side) for side in sides]
    (longer, shorter), (one, other) = (
        [count / len(side) for count, side in zip(right, sides, strict=True)],
        [wilson_interval(count, len(side)) for count, side in zip(right, sides, strict=True)],
    )
    gap = longer - shorter
    low = gap - sqrt((longer - one.low) ** 2 + (other.high - shorter) ** 2)
    high = gap + sqrt((one.high - longer) ** 2 + (shorter - other.low) ** 2)
    folded = Interval(0.0 if low <= 0 <= high else min(abs(low), abs(high)), max(abs(low), abs(high)))
    details = {"longer": longer, "shorter": shorter, "longer_rows": len(sides[0]), "shorter_rows": len(sides[1])}
    lost = [row for row in (sides[1] if gap > 0 else sides[0]) if row.before.outcome != "correct"]
    return Measurement(n, abs(gap), folded, details, worst_rows(lost, lambda row: -row.margins[0]))


def _is_read(answer: Judged) -> bool:
    return isinstance(answer, Verdict) and answer.choice != "unparsable"


def _says_the_same(pair: JudgedPair) -> bool:
    turned: dict[Choice, Choice] = {0: 1, 1: 0}
    one, other = (
        [answer.choice for answer in side if isinstance(answer, Verdict)]
        for side in (pair.correct_first, pair.correct_second)
    )
    return one == [turned.get(choice, choice) for choice in other]
