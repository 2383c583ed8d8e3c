"""Judges on benchmarks: every pair in both orders, what is not a verdict, official rules and ours, resuming."""

import json

import pytest

from basereward.benchmarks.items import ItemRow, build_items, text_row
from basereward.benchmarks.plugins import open_benchmark
from basereward.benchmarks.records import dump_record, judge_record, parse_record
from basereward.benchmarks.registry import BENCHMARKS
from basereward.data.outcomes import Failure, Verdict
from basereward.errors import DataError, ScoringError
from basereward.evaluation.asking import ask_judge, collect
from basereward.evaluation.judge_rates import RATE_DEFINITIONS, describe_judgements, is_consistent, judge_rates
from basereward.scoring.baselines import BASELINES
from basereward.scoring.cache import CachedJudge
from basereward.scoring.store import KeyValueStore
from tests.evaluation.conftest import FIXTURES, Rule, always, longer, run, values

BROKEN = Failure("http_500", "the server is broken")
OURS = "official/mean_of_orders"


def lines(path):
    """The JSON objects of a file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def ask(judge, items):
    """The records of items."""
    return collect(ask_judge(judge), items, [[row.row for row in item.rows] for item in items])


def judged(*answers):
    """The record of a row with one pair."""
    shown = dict(zip([(1, 0), (0, 1)], ((answer,) for answer in answers), strict=True))
    return judge_record(ItemRow(0, "0", "s", (1,), (0,)), 0, shown)


def test_a_judge_of_positions_is_right_by_half_and_never_consistent(tmp_path):
    result = run(Rule(always(0)), "judgebench", tmp_path)
    found = values(result.protocols[OURS].model)
    assert (found["accuracy"], found["pair_accuracy"], found["order_consistency"]) == (0.5, 0.5, 0.0)
    assert (found["first_position_rate"], found["pair_accuracy_correct_first"]) == (1.0, 1.0)
    assert (found["pair_accuracy_correct_second"], found["pair_accuracy_consistent"]) == (0.0, None)
    # Officially a judge that names both responses in turn has named none; in one game it is right by luck.
    official, single = (values(result.protocols[f"official/{name}"].model) for name in ("both_orders", "single_game"))
    assert (official["accuracy"], single["accuracy"]) == (0.0, pytest.approx(2 / 3))
    model = result.main.model
    assert model.metrics["accuracy"].n == model.n == 3
    assert model.metrics["pair_accuracy"].n == result.judgements.asked == 6


def test_a_perfect_judge_is_right_everywhere(tmp_path):
    chosen = open_benchmark("rm_bench")
    right = {item.responses[place].text for item in chosen.load(FIXTURES) for row in item.rows for place in row.correct}
    judge = Rule(lambda first, second: 0 if first in right else 1)
    found = values(run(judge, chosen, tmp_path).main.model)
    expected = dict.fromkeys(found, 1.0) | {"tie_rate": 0.0, "unparsable_rate": 0.0, "first_position_rate": 0.5}
    assert found == expected


def test_what_is_unparsable_is_wrong_and_an_outcome_of_its_own(tmp_path):
    result = run(Rule(always("unparsable")), "judgebench", tmp_path)
    for own in result.protocols.values():
        found = values(own.model)
        assert (found["unparsable_rate"], found["accuracy"], found["accuracy_of_all"]) == (1.0, 0.0, 0.0)
        assert (found["tie_rate"], found["pair_accuracy_parsable"], found["order_consistency"]) == (0.0, None, 0.0)
        assert own.model.failed == 0
    assert result.judgements.unparsable == 6
    assert any(note.startswith("6 of 6 answers (100%) hold no clear verdict") for note in result.notes)


def test_a_tie_is_consistent_not_right_and_shared_where_the_rule_says_so(tmp_path):
    result = run(Rule(always("tie")), "judgebench", tmp_path)
    for own in result.protocols.values():
        found = values(own.model)
        assert (found["accuracy"], found["accuracy_ties_half"], found["pair_accuracy"]) == (0.0, 0.5, 0.0)
        assert (found["order_consistency"], found["tie_rate"], own.model.ties) == (1.0, 1.0, 6)


def test_a_failure_fails_its_row_and_is_in_no_rate(tmp_path):
    items = open_benchmark("judgebench").load(FIXTURES)
    [lost, *_] = items[0].responses
    rule = Rule(lambda first, second: BROKEN if first == lost.text else longer(first, second))
    result = run(rule, "judgebench", tmp_path)
    model = result.main.model
    assert (model.failed, result.failures, result.judgements.failed) == (1, {"http_500": 1}, 1)
    assert (model.metrics["accuracy"].n, model.metrics["pair_accuracy"].n) == (2, 5)
    assert model.metrics["order_consistency"].n == 2
    [failed] = [line for line in lines(tmp_path / "records.jsonl") if line["failure"]]
    said = [failed["judged"][0][order] for order in ("correct_first", "correct_second")]
    assert [{"reason": "http_500", "message": "the server is broken"}] in said


@pytest.mark.parametrize("name", BENCHMARKS.names())
def test_a_judge_that_orders_by_a_score_has_the_metrics_of_the_scorer(name, tmp_path):
    result = run(Rule(longer), name, tmp_path / "judge")
    scored = run(BASELINES.get("longer"), name, tmp_path / "scorer").main.model
    ours = result.protocols[OURS].model
    own = {key: value for key, value in values(ours).items() if key not in RATE_DEFINITIONS}
    expected = values(scored)
    if name == "rewardbench2":
        # Ties needs scores; without it the mean of the subsets has another name.
        assert "several correct and several rejected" in " ".join(ours.notes)
        assert set(own) - set(expected) == {"overall[Factuality]"}
        assert own["overall[Factuality]"] == scored.groups["Factuality"].value
        assert set(result.judgements.groups) == {"Factuality", "Ties"}
        return
    assert own == pytest.approx(expected)
    assert {key: group.n for key, group in ours.groups.items()} == {key: own.n for key, own in scored.groups.items()}
    for key, group in ours.groups.items():
        assert group.value == pytest.approx(scored.groups[key].value)
    assert set(result.judgements.groups) == set(ours.groups)
    assert set(ours.definitions) == set(ours.metrics)
    # Without ties every official rule says the same of a judge without a bias of position.
    for key, protocol in result.protocols.items():
        if key.startswith("official/") and result.judgements.tie == 0:
            assert values(protocol.model)["accuracy"] == pytest.approx(expected["accuracy"])


def test_a_metric_is_the_mean_of_both_orders(tmp_path):
    # Right in the first order alone: every id is all right there, and none in the other order.
    result = run(Rule(always(0)), "mm_rlhf_rewardbench", tmp_path)
    assert values(result.main.model)["acc_plus"] == 0.5
    assert list(result.protocols) == [OURS]
    assert "mean of both orders" in result.main.model.protocol.line


def test_ours_is_never_compared_with_published_numbers(tmp_path):
    result = run(Rule(longer), "judgebench", tmp_path)
    assert list(result.protocols) == ["official/both_orders", "official/single_game", OURS]
    assert {name: summary.protocol.key for name, summary in result.published.items()} == {
        "official": "official/both_orders"
    }
    assert run(Rule(longer), "mm_rlhf_rewardbench", tmp_path / "other").published == {}


def test_every_two_responses_are_asked_once_in_each_order(tmp_path):
    # Of the 54 questions to three rows of RM-Bench, six repeat texts that are equal.
    for name, asked in (("mm_rlhf_rewardbench", 6), ("rm_bench", 48)):
        judge = Rule(longer)
        run(judge, name, tmp_path / name)
        assert len(judge.seen) == len(set(map(str, judge.seen))) == asked
        swapped = {(*question, second, first) for *question, first, second in judge.seen}
        assert set(map(str, swapped)) == set(map(str, judge.seen))


def test_equal_responses_of_several_rows_are_asked_once():
    rows = [text_row(str(number), "s", "Why?", ["So."], ["No.", "No."]) for number in range(3)]
    judge = Rule(longer)
    records = ask(judge, build_items("equal", rows))
    assert (len(judge.seen), len(records), len(records[0].judged)) == (2, 3, 2)


def test_the_order_of_the_questions_does_not_tell_the_label():
    rows = [text_row(str(number), "s", f"Question {number}?", ["right"], ["wrong"]) for number in range(40)]
    judge = Rule(always(0))
    ask(judge, build_items("plain", rows))
    leading = [question[2] for question in judge.seen[::2]]
    assert 8 < leading.count("right") < 32


def test_samples_are_asked_again_and_all_count(tmp_path):
    def alternate(first, second):
        alternate.asked += 1
        return alternate.asked % 3 % 2

    alternate.asked = 0
    judge = Rule(alternate, temperature=0.7)
    result = run(judge, "vl_rewardbench", tmp_path, samples=3)
    assert (len(judge.seen), result.judgements.samples, result.judgements.asked) == (18, 3, 18)
    assert result.main.model.metrics["pair_accuracy"].n == 18
    assert result.settings["judge_samples"] == 3
    ours = values(result.protocols[OURS].model)
    assert ours["accuracy"] == pytest.approx(ours["pair_accuracy"])
    line, *_ = lines(tmp_path / "records.jsonl")
    assert [len(line["judged"][0][order]) for order in ("correct_first", "correct_second")] == [3, 3]


@pytest.mark.parametrize("identity", [{}, {"temperature": 0.0}, {"temperature": 0.7, "seed": 0}])
def test_a_judge_that_always_says_the_same_is_not_sampled(identity, tmp_path):
    judge = Rule(longer, **identity)
    with pytest.raises(ScoringError, match=r"same answer 5 times.*--judge-option temperature"):
        run(judge, "judgebench", tmp_path, samples=5)
    assert judge.seen == []


def test_a_record_keeps_both_answers_and_is_read_again(tmp_path):
    run(Rule(longer), "rm_bench", tmp_path)
    line, *_ = lines(tmp_path / "records.jsonl")
    assert len(line["judged"]) == 9
    assert set(line["judged"][0]) == {"correct", "rejected", "correct_first", "correct_second"}
    assert line["judged"][0]["correct_first"][0]["text"].startswith("I say ")
    assert json.loads(json.dumps(dump_record(parse_record(line)))) == line
    with pytest.raises(DataError, match="record of a row"):
        parse_record({**line, "judged": [{"correct": 0}]})


def test_an_interrupted_run_asks_only_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr("basereward.evaluation.asking.BATCH_ITEMS", 1)
    whole = run(Rule(longer), "rm_bench", tmp_path / "whole")
    with pytest.raises(ScoringError):
        run(Rule(longer, breaks_after=18), "rm_bench", tmp_path / "cut")
    judge = Rule(longer)
    assert run(judge, "rm_bench", tmp_path / "cut", resume=True) == whole
    assert len(judge.seen) == 48 - 18
    assert not (tmp_path / "cut" / "records.partial.jsonl").exists()
    again = Rule(longer)
    assert run(again, "rm_bench", tmp_path / "cut", resume=True) == whole
    assert again.seen == []


@pytest.mark.parametrize("is_cached", [False, True])
def test_a_resumed_run_tells_a_judge_that_it_has_answered(is_cached, tmp_path, monkeypatch):
    """What is left may all fail, which at the beginning means a judge that cannot be asked at all."""
    monkeypatch.setattr("basereward.evaluation.asking.BATCH_ITEMS", 1)

    class Wary(Rule):
        is_trusted = False

        def trust(self):
            self.is_trusted = True

    judges = [Wary(longer, breaks_after=18, prompt="x"), Wary(longer, prompt="x")]
    first, second = (CachedJudge(one, KeyValueStore(tmp_path / "cache")) if is_cached else one for one in judges)
    with pytest.raises(ScoringError):
        run(first, "rm_bench", tmp_path / "cut")
    run(second, "rm_bench", tmp_path / "cut", resume=True)
    assert [judge.is_trusted for judge in judges] == [False, True]


def test_only_a_failed_row_is_asked_again_when_resuming(tmp_path):
    # Rows 0 and 1 share a prompt: only the one that failed is asked again.
    lost = "Option C."
    run(Rule(lambda first, second: BROKEN if second == lost else 0), "mm_rlhf_rewardbench", tmp_path)
    failed = [line["row"] for line in lines(tmp_path / "records.jsonl") if line["failure"]]
    assert failed == [0, 1]
    judge = Rule(longer)
    result = run(judge, "mm_rlhf_rewardbench", tmp_path, resume=True)
    assert (len(judge.seen), result.main.model.failed) == (4, 0)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (0, 1, True),
        (1, 0, True),
        ("tie", "tie", True),
        (0, 0, False),
        (0, "tie", False),
        ("unparsable", "unparsable", False),
        (0, "unparsable", False),
    ],
)
def test_orders_are_consistent_if_they_name_the_same_response(first, second, expected):
    assert is_consistent(Verdict(first, ""), Verdict(second, "")) is expected


def test_rates_are_counted_by_hand():
    said = [(0, 1), (0, 0), (1, 0), ("tie", "unparsable"), ("tie", "tie")]
    rows = [judged(*(Verdict(choice, "", is_cut_off=choice == "unparsable") for choice in both)) for both in said]
    rows.append(judged(Verdict(0, ""), BROKEN))
    found = {name: metric.value for name, metric in judge_rates(rows).items()}
    assert found == pytest.approx(
        {
            "pair_accuracy": 4 / 11,
            "pair_accuracy_correct_first": 3 / 6,
            "pair_accuracy_correct_second": 1 / 5,
            "pair_accuracy_parsable": 4 / 10,
            "pair_accuracy_consistent": 1 / 3,
            "order_consistency": 3 / 5,
            "tie_rate": 3 / 11,
            "unparsable_rate": 1 / 11,
            "first_position_rate": 5 / 7,
        }
    )
    counts = describe_judgements(rows, lambda subset: subset).model_dump(exclude={"groups"})
    assert counts == {
        "samples": 1,
        "asked": 12,
        "failed": 1,
        "first": 5,
        "second": 2,
        "tie": 3,
        "unparsable": 1,
        "cut_off": 1,
    }
