"""The official rules for judges, against references written from the scripts: on invented and on released verdicts."""

import json
import os
from pathlib import Path
from random import Random

import pytest

from basereward.benchmarks.items import ItemRow
from basereward.benchmarks.judged import ORDERS
from basereward.benchmarks.points import MEAN_OF_ORDERS
from basereward.benchmarks.records import judge_record
from basereward.benchmarks.registry import BENCHMARKS
from basereward.benchmarks.summary import summarize
from basereward.data.outcomes import Failure, Verdict
from basereward.errors import DataError

# A file of ScalerLab/JudgeBench, outputs/: the judge arena_hard with o1-mini on the responses of GPT-4o.
VERDICTS = "BASEREWARD_JUDGEBENCH_VERDICTS"
SHARED = Path(__file__).parents[3] / "shared" / "data" / "judgebench" / "o1-mini.jsonl"
SAYS = (0, 1, "tie", "unparsable")


def verdict(choice):
    return choice if isinstance(choice, Failure) else Verdict(choice, "")


def judged(row, first, correct_first, correct_second, subset="s", tied=False):
    """The record of a pair; each order has one choice, or a list of samples."""
    samples = [own if isinstance(own, list) else [own] for own in (correct_first, correct_second)]
    answers = {(1, 0): tuple(map(verdict, samples[0])), (0, 1): tuple(map(verdict, samples[1]))}
    return judge_record(ItemRow(row, str(row), subset, (1,), (0,), first, tied), row, answers)


def random_records(random, count=60, samples=1):
    return [
        judged(
            row,
            random.choice(["correct", "rejected"]),
            *([random.choice(SAYS) for _ in range(samples)] for _ in ORDERS),
        )
        for row in range(count)
    ]


def accuracy(benchmark, records, rule, protocol="official", **counts):
    chosen = BENCHMARKS.get(benchmark).protocol(protocol)
    [judge] = [own for own in chosen.judge_rules if own.name == rule]
    summary = summarize(benchmark, chosen, records, judge=judge)
    assert all(getattr(summary, name) == value for name, value in counts.items())
    return summary.metrics["accuracy"].value


def decisions(record):
    """The label and the decisions of both games as JudgeBench's files have them: A is the first in the file."""
    [pair] = record.judged
    games = [pair.correct_first[0], pair.correct_second[0]]
    if record.first == "rejected":
        games.reverse()
    words = {0: "A>B", 1: "B>A", "tie": "A=B", "unparsable": None}
    return "A>B" if record.first == "correct" else "B>A", [words[game.choice] for game in games]


def judgebench(records, reverse_order):
    """compute_final_metrics of utils/metrics.py."""

    def flip(decision):
        return {"A>B": "B>A", "B>A": "A>B"}.get(decision, decision)

    correct = 0
    for record in records:
        label, (first, second) = decisions(record)
        counter = sum(
            1 if decision == label else -1 if decision == flip(label) else 0 for decision in (first, flip(second))
        )
        correct += counter > 0 if reverse_order else first == label
    return correct / len(records)


def multimodal_rewardbench(records):
    """compute_acc of scripts/2_get_accuracy.py."""
    generator = Random(123)
    hits = []
    for record in records:
        label, (decision, _) = decisions(record)
        said = {"A>B": "A", "B>A": "B"}.get(decision) or ("A" if generator.random() < 0.5 else "B")
        hits.append(said == ("A" if label == "A>B" else "B"))
    return sum(hits) / len(hits)


def test_judgebench_equals_the_script_on_invented_verdicts():
    for seed in range(50):
        records = random_records(Random(seed))
        assert accuracy("judgebench", records, "both_orders") == pytest.approx(judgebench(records, True))
        assert accuracy("judgebench", records, "single_game") == pytest.approx(judgebench(records, False))


@pytest.mark.parametrize(
    ("said", "points"),
    [
        ((0, 1), 1), ((0, "tie"), 1), (("unparsable", 1), 1),
        ((0, 0), 0), ((1, 1), 0), (("tie", "tie"), 0), (("unparsable", "unparsable"), 0),
        ((1, 0), 0), ((1, "tie"), 0), (("unparsable", 0), 0),
    ],
)  # fmt: skip
def test_both_orders_add_up_and_a_sum_of_zero_is_not_right(said, points):
    assert accuracy("judgebench", [judged(0, "correct", *said)], "both_orders") == points


def test_multimodal_rewardbench_flips_the_coins_of_the_script_in_any_order_of_records():
    for seed in range(50):
        records = random_records(Random(seed))
        expected = multimodal_rewardbench(records)
        Random(seed).shuffle(records)
        assert accuracy("multimodal_rewardbench", records, "coin_flip") == pytest.approx(expected)
    chosen = BENCHMARKS.get("multimodal_rewardbench").protocol("official")
    records = [judged(0, "correct", 0, 1), judged(1, "correct", "tie", 1), judged(2, "rejected", 0, "unparsable")]
    summary = summarize("multimodal_rewardbench", chosen, records, judge=chosen.judge[0])
    assert summary.notes == ("2 of 3 answers name no response; coin flips (seed 123) decide them, as officially.",)


def multimodal_rewardbench2(records):
    """compute_task_accuracy of compute_accuracy.py: forward shows the file's first response as A, reverse as B."""
    letters = {0: "A", 1: "B", "tie": "C", "unparsable": None}
    right = evaluated = 0
    for record in records:
        [pair] = record.judged
        games = [pair.correct_first[0], pair.correct_second[0]]
        forward, reverse = (letters[own.choice] for own in (games if record.first == "correct" else games[::-1]))
        flipped = {"A": "B", "B": "A"}.get(reverse, reverse)
        chosen = "A" if record.first == "correct" else "B"
        for said in (forward, flipped):
            evaluated += bool(said)
            right += bool(said) and said == chosen
    return right / evaluated, 2 * len(records) - evaluated


def test_multimodal_rewardbench2_pools_both_orders_and_drops_what_names_nothing():
    for seed in range(50):
        records = random_records(Random(seed))
        expected, dropped = multimodal_rewardbench2(records)
        assert accuracy("multimodal_rewardbench2", records, "both_orders") == pytest.approx(expected)
    chosen = BENCHMARKS.get("multimodal_rewardbench2").protocol("official")
    summary = summarize("multimodal_rewardbench2", chosen, records, judge=chosen.judge[0])
    assert f"{dropped} of 120 judgements name no response; they are dropped, as officially." in summary.notes


def test_a_tie_is_right_where_the_label_is_one():
    said = [("tie", 1, True), (0, "tie", True), ("unparsable", "tie", True), (0, 0, False), ("tie", "tie", False)]
    records = [judged(row, "correct", *own[:2], "text_to_text", own[2]) for row, own in enumerate(said)]
    assert accuracy("omni_rewardbench", records, "single_game", "with_ties") == pytest.approx(2 / 5)
    chosen = BENCHMARKS.get("omni_rewardbench").protocol("with_ties")
    summary = summarize("omni_rewardbench", chosen, records, judge=chosen.judge[0])
    assert "calibrated" not in summary.metrics
    assert [record.outcome for record in records] == ["wrong", "wrong", "wrong", "tie", "tie"]
    assert judged(0, "correct", "tie", "tie", tied=True).outcome == "correct"


def test_vl_rewardbench_takes_the_majority_of_the_samples_and_drops_rows_without():
    drawn = random_records(Random(3), 200, samples=5)
    agree = reject = 0
    for record in drawn:
        [pair] = record.judged
        orders = [Random(f"{record.row}/{sample}").choice(ORDERS) for sample in range(5)]
        said = [pair.answers(order)[sample].choice for sample, order in enumerate(orders)]
        right = [0 if order == "correct_first" else 1 for order in orders]
        votes = [choice == own for choice, own in zip(said, right, strict=True) if choice in (0, 1)]
        agree += votes.count(True) > 2.5
        reject += votes.count(False) > 2.5
    assert 0 < agree + reject < 200
    dropped = 200 - agree - reject
    found = accuracy("vl_rewardbench", drawn, "majority", n=200, failed=dropped, coverage=(agree + reject) / 200)
    assert found == pytest.approx(agree / (agree + reject))
    both = {order: sum(Random(f"{row}/0").choice(ORDERS) == order for row in range(1000)) for order in ORDERS}
    assert min(both.values()) > 400


def test_our_mean_of_both_orders_stands_beside_and_is_not_official():
    records = [judged(0, "correct", 0, 1), judged(1, "correct", 0, 0), judged(2, "rejected", "tie", 1)]
    assert accuracy("judgebench", records, "mean_of_orders") == pytest.approx((1 + 0 + 1 + 1 + 0 + 0) / 6 + 1 / 6)
    assert not MEAN_OF_ORDERS.is_official
    for name in BENCHMARKS.names():
        for variant in BENCHMARKS.get(name).protocols.names():
            *official, last = BENCHMARKS.get(name).protocol(variant).judge_rules
            assert last == MEAN_OF_ORDERS
            assert all(rule.is_official for rule in official)


def test_a_failed_answer_fails_its_row_under_every_rule():
    records = [judged(0, "correct", Failure("http_500", "gone"), 1), judged(1, "correct", 0, 1)]
    for benchmark, rule in (("judgebench", "both_orders"), ("multimodal_rewardbench", "coin_flip")):
        assert accuracy(benchmark, records, rule, failed=1) == 1


def test_a_rule_of_the_files_order_needs_to_know_it():
    with pytest.raises(DataError, match="which response the benchmark's file shows first"):
        accuracy("judgebench", [judged(0, None, 0, 1)], "single_game")


def released_verdicts():
    path = Path(os.environ.get(VERDICTS, SHARED))
    return path if path.is_file() else None


@pytest.mark.skipif(released_verdicts() is None, reason=f"{VERDICTS} names no file of released verdicts")
def test_the_released_verdicts_of_o1_mini_give_the_published_figures():
    choices = {"A>B": 0, "B>A": 1, "A=B": "tie", None: "unparsable"}
    records = []
    for row, line in enumerate(released_verdicts().read_text(encoding="utf-8").splitlines()):
        pair = json.loads(line)
        first = "correct" if pair["label"] == "A>B" else "rejected"
        games = [choices[game["decision"] if game else None] for game in pair["judgments"]]
        records.append(judged(row, first, *(games if first == "correct" else games[::-1]), pair["source"]))
    chosen = BENCHMARKS.get("judgebench").protocol("official")
    both, single = (summarize("judgebench", chosen, records, judge=rule) for rule in chosen.judge)
    assert round(100 * both.metrics["accuracy"].value, 2) == 65.71
    assert {name: round(100 * own.value, 2) for name, own in both.groups.items()} == {
        "knowledge": 58.44,
        "reasoning": 62.24,
        "math": 82.14,
        "coding": 78.57,
    }
    assert round(100 * single.metrics["accuracy"].value, 2) == 70.86
    mean = summarize("judgebench", chosen, records, judge=MEAN_OF_ORDERS)
    assert round(100 * mean.metrics["accuracy"].value, 2) == 72.71
