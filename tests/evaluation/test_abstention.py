"""Abstention: closed-form areas, what equal confidences mean, and a planted noise that the spread knows of."""

import math
import random
from dataclasses import replace
from itertools import permutations

import pytest

from basereward.benchmarks.items import BenchmarkItem, ItemRow
from basereward.benchmarks.records import RowRecord, dump_record, parse_record, score_records
from basereward.data.outcomes import SPREAD, About, Failure, Score
from basereward.evaluation.abstention import abstention_curve, confidence_of, risk_coverage_area
from basereward.evaluation.opened import Opened
from basereward.evaluation.result import Result
from basereward.evaluation.runner import EvaluationOptions, evaluate
from basereward.evaluation.runs import read_evaluation
from basereward.reporting.evaluation_parts import chapters


def spread_of(*spreads):
    return tuple({"spread": spread} for spread in spreads)


def record(row, margin, spread=1.0):
    """A row whose confidence is ``|margin| / spread``."""
    side = spread / math.sqrt(2)
    return RowRecord(
        row,
        str(row),
        "a",
        row,
        (margin,),
        (0.0,),
        correct_parts=({"spread": side},),
        rejected_parts=({"spread": side},),
    )


def test_the_curve_has_its_closed_form():
    """Ten rows of confidences 10 to 1; the least confident two are wrong."""
    margins = [10, 9, 8, 7, 6, 5, 4, 3, -2, -1]
    found = abstention_curve([record(row, margin) for row, margin in enumerate(margins)])
    assert found is not None
    assert [round(point.coverage, 9) for point in found.points] == [share / 10 for share in range(10, 0, -1)]
    assert [point.accuracy.value for point in found.points] == pytest.approx([0.8, 8 / 9, *[1.0] * 8])
    assert [point.accuracy.n for point in found.points] == list(range(10, 0, -1))
    assert all(point.accuracy.low < 1 for point in found.points)
    assert found.area == pytest.approx((1 / 9 + 2 / 10) / 10)
    assert found.best_area == found.margin_area == found.area
    assert found.random_area == pytest.approx(0.2)


def test_rows_whose_label_is_a_tie_are_left_out():
    rows = [record(row, margin) for row, margin in enumerate([3, 2, -1])]
    tied = [replace(record(row, margin), tied=True) for row, margin in enumerate([0, 5], 3)]
    assert abstention_curve([*rows, *tied]) == abstention_curve(rows)
    assert abstention_curve(tied) is None


def test_the_area_is_that_of_every_order_of_equal_rows():
    confidences, wrong = [3.0, 2.0, 2.0, 2.0, 1.0], [False, True, False, True, False]
    areas = []
    for order in permutations((1, 2, 3)):
        ranked = [wrong[place] for place in (0, *order, 4)]
        areas.append(sum(sum(ranked[:kept]) / kept for kept in range(1, 6)) / 5)
    assert risk_coverage_area(confidences, wrong) == pytest.approx(sum(areas) / len(areas))


def test_confidence_without_knowledge_is_chance():
    wrong = [number % 3 == 0 for number in range(30)]
    assert risk_coverage_area([1.0] * 30, wrong) == pytest.approx(sum(wrong) / 30)


def test_rows_of_equal_confidence_go_together():
    found = abstention_curve([record(row, 1.0 if row else -1.0) for row in range(10)])
    assert [point.coverage for point in found.points] == [1.0]
    assert found.area == pytest.approx(found.random_area)


def test_a_scale_changes_nothing():
    rows = [(row, random.Random(row).uniform(-1, 3), random.Random(-row - 1).uniform(0.1, 2)) for row in range(50)]
    found, scaled = (
        abstention_curve([record(row, scale * margin, scale * spread) for row, margin, spread in rows])
        for scale in (1, 100)
    )
    assert [point.accuracy for point in found.points] == [point.accuracy for point in scaled.points]
    assert found.area == pytest.approx(scaled.area)


def test_the_deciding_responses_give_the_spread():
    """The lowest correct (spread 3) and the highest rejected response (spread 4): 10 / 5."""
    row = RowRecord(
        0,
        "0",
        "a",
        0,
        (20.0, 11.0),
        (0.0, 1.0),
        correct_parts=(
            {"spread": 9.0},
            {"spread": 3.0},
        ),
        rejected_parts=(
            {"spread": 9.0},
            {"spread": 4.0},
        ),
    )
    assert confidence_of(row) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("row", "confidence"),
    [
        (record(0, 1.0, 0.0), math.inf),
        (record(0, 0.0, 0.0), 0.0),
        (RowRecord(0, "0", "a", 0, (1.0,), (0.0,)), None),
        (
            RowRecord(0, "0", "a", 0, (None,), (0.0,), "x", "y", correct_parts=(None,), rejected_parts=spread_of(1.0)),
            None,
        ),
        (RowRecord(0, "0", "a", 0, (1.0,), (0.0,), correct_parts=(None,), rejected_parts=spread_of(1.0)), None),
    ],
)
def test_edges(row, confidence):
    assert confidence_of(row) == confidence


def test_records_keep_parts_and_are_as_before_without_them(make_group):
    item = BenchmarkItem((make_group("?", ["a", "b"]),), (ItemRow(0, "0", "s", (0,), (1,)),))
    [with_spread] = score_records(item, 0, [Score(1.0, parts={SPREAD: 0.5, "head_0": 1.0}), Score(0.0)])
    assert (with_spread.correct_parts, with_spread.rejected_parts) == (({"spread": 0.5, "head_0": 1.0},), (None,))
    assert parse_record(dump_record(with_spread)) == with_spread
    [plain] = score_records(item, 0, [Score(1.0), Failure("x", "y")])
    assert not dump_record(plain).keys() & {"correct_parts", "rejected_parts"}


class NoisyScorer:
    """Right by one, but for noise that it knows the size of."""

    about = About("noisy", sees_images=False)

    def score(self, groups):
        scores = []
        for group in groups:
            draw = random.Random(group.prompt[0].text)
            noise = draw.choice([0.1, 4.0])
            scores.append(
                [
                    Score(float(response.text == "good") + draw.gauss(0, noise), parts={SPREAD: noise})
                    for response in group.responses
                ]
            )
        return scores


class SilentScorer(NoisyScorer):
    """The same without a word on its noise."""

    def score(self, groups):
        return [[Score(one.value) for one in own] for own in super().score(groups)]


def items(make_group, number):
    return [
        BenchmarkItem((make_group(f"{row}?", ["good", "bad"]),), (ItemRow(row, str(row), "a", (0,), (1,)),))
        for row in range(number)
    ]


def test_a_scorer_that_knows_its_noise_gains_by_abstaining(make_group, tmp_path):
    opened = Opened("noise", items(make_group, 300))
    result = evaluate(NoisyScorer(), opened, tmp_path, EvaluationOptions(references=False))
    found = result.abstention
    assert found.rows == 300
    whole, half = (next(p for p in found.points if p.coverage <= share) for share in (1.0, 0.5))
    assert whole.accuracy.value == result.main.model.metrics["accuracy"].value
    assert half.accuracy.low > whole.accuracy.high
    assert found.best_area < found.area < 0.6 * found.random_area
    # The larger margins are those of the larger noise.
    assert found.area < found.margin_area
    run = read_evaluation(tmp_path)
    assert Result.model_validate_json((tmp_path / "result.json").read_text()) == result
    [chapter] = [own for own in chapters(run) if own.title == "Abstention"]
    assert len(chapter.table.rows) == len(found.points)


def test_a_scorer_without_spread_has_no_curve(make_group, tmp_path):
    result = evaluate(
        SilentScorer(), Opened("noise", items(make_group, 20)), tmp_path, EvaluationOptions(references=False)
    )
    assert result.abstention is None
    assert not [own for own in chapters(read_evaluation(tmp_path)) if own.title == "Abstention"]
