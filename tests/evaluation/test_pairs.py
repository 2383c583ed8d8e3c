"""Pairs as items, evaluated in memory with scorers whose answers are known; and the files of an evaluation."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from basereward.benchmarks.formulas import Metric
from basereward.benchmarks.pairs import PairItems
from basereward.benchmarks.protocol import DEFAULT_PROTOCOLS
from basereward.benchmarks.records import RowRecord, dump_record, parse_record
from basereward.benchmarks.summary import Summary, summarize
from basereward.data.io import read_records, write_json, write_lines
from basereward.data.outcomes import About, Failure, Score, Scored
from basereward.data.schema import PreferencePair, Response, ResponseGroup, messages_from_text
from basereward.errors import DataError, ScoringError
from basereward.evaluation import asking
from basereward.evaluation.runner import score_items
from basereward.statistics import Stratum, stratified_interval


@dataclass
class RuleScorer:
    """Scores each response by a rule on its text, and remembers which groups it saw."""

    rule: Callable[[str], Scored]
    seen: list[ResponseGroup] = field(default_factory=list)
    about = About("rule", sees_images=True)

    def score(self, groups: Sequence[ResponseGroup]) -> list[list[Scored]]:
        self.seen += groups
        return [[self.rule(response.text) for response in group.responses] for group in groups]


def oracle(text: str) -> Scored:
    return Score(1.0 if "good" in text else -1.0)


def mixed(text: str) -> Scored:
    """Right on rows 0-5, tied on 6, failing on 7-9 of ``make_pairs``."""
    number = int(text.split()[-1])
    if number >= 7:
        return Failure("too_long", "shorten it") if "good" in text else Score(1.0)
    return Score(0.0) if number == 6 else oracle(text)


def make_pairs(count: int = 10) -> list[PreferencePair]:
    return [
        PreferencePair(
            id=f"pair{number // 2}",
            source="even" if number % 2 == 0 else "odd",
            prompt=messages_from_text("Which?"),
            chosen=messages_from_text(f"good {number}", "assistant"),
            rejected=messages_from_text(f"bad {number}", "assistant"),
        )
        for number in range(count)
    ]


def swap(pairs: list[PreferencePair]) -> list[PreferencePair]:
    return [replace(pair, chosen=pair.rejected, rejected=pair.chosen) for pair in pairs]


def records_of(scorer: RuleScorer, pairs: Sequence[PreferencePair]) -> list[RowRecord]:
    return score_items(scorer, PairItems(pairs))


def summary_of(scorer: RuleScorer, pairs: Sequence[PreferencePair]) -> Summary:
    return summarize("pairs", DEFAULT_PROTOCOLS.get("official"), records_of(scorer, pairs))


def test_an_oracle_gets_one_and_its_swapped_labels_zero() -> None:
    assert summary_of(RuleScorer(oracle), make_pairs()).metrics["accuracy"].value == 1.0
    assert summary_of(RuleScorer(oracle), swap(make_pairs())).metrics["accuracy"].value == 0.0


def test_swapped_labels_give_one_minus_the_accuracy() -> None:
    pairs = make_pairs(200)
    scorer = RuleScorer(lambda text: Score(float(sum(map(ord, text)) % 7919 * 31 % 97)))
    metric, swapped = (summary_of(scorer, own).metrics["accuracy_ties_half"] for own in (pairs, swap(pairs)))
    assert metric.value is not None
    assert metric.high is not None
    assert 0.0 < metric.value < 1.0
    assert swapped.value == pytest.approx(1 - metric.value)
    assert swapped.low == pytest.approx(1 - metric.high)


def test_a_constant_scorer_only_ties() -> None:
    summary = summary_of(RuleScorer(lambda text: Score(0.5)), make_pairs())
    assert summary.ties == 10
    assert summary.metrics["accuracy"].value == 0.0
    assert summary.metrics["accuracy_ties_half"].value == 0.5


def metric(successes: float, n: int) -> Metric:
    # As many ones, then what is left, then zeros, each of a prompt of its own.
    values = [min(1.0, max(0.0, successes - place)) for place in range(n)]
    low, high = stratified_interval([Stratum(values, range(n))])
    return Metric(value=successes / n, n=n, low=low, high=high)


def test_failed_pairs_are_counted_and_never_guessed() -> None:
    summary = summary_of(RuleScorer(mixed), make_pairs())
    assert (summary.n, summary.failed, summary.ties, summary.coverage) == (10, 3, 1, 0.7)
    assert summary.metrics == {
        "accuracy": metric(6, 7),
        "accuracy_ties_half": metric(6.5, 7),
        "accuracy_of_all": metric(6, 10),
    }
    assert summary.groups == {"even": metric(3, 4), "odd": metric(3, 3)}
    records = records_of(RuleScorer(mixed), make_pairs())
    assert Counter(record.failure for record in records if record.failure) == {"too_long": 3}
    record = records[7]
    assert (record.outcome, record.correct, record.rejected, record.margin) == ("failed", (None,), (1.0,), None)
    assert record.failure_message == "shorten it"


def test_a_score_that_is_not_finite_is_a_failure() -> None:
    summary = summary_of(RuleScorer(lambda text: Score(float("nan"))), make_pairs(3))
    assert summary.metrics["accuracy"] == Metric(value=None, n=0, low=None, high=None)
    assert summary.coverage == 0.0
    assert {record.failure for record in records_of(RuleScorer(lambda text: Score(float("inf"))), make_pairs(3))} == {
        "not_finite"
    }


def test_responses_with_images_are_compared_across_groups() -> None:
    image_pair = replace(
        make_pairs(1)[0],
        chosen=messages_from_text("good 0", "assistant", images=1),
        rejected=messages_from_text("bad 0", "assistant", images=1),
        images=("a.png", "b.png"),
    )
    scorer = RuleScorer(oracle)
    records = records_of(scorer, [*make_pairs(2), image_pair, *make_pairs(2)])
    assert {record.outcome for record in records} == {"correct"}
    assert len(scorer.seen) == 6


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_the_batch_does_not_change_the_records(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = records_of(RuleScorer(mixed), make_pairs())
    monkeypatch.setattr(asking, "BATCH_ITEMS", batch)
    assert records_of(RuleScorer(mixed), make_pairs()) == expected


def test_the_scorer_sees_no_label() -> None:
    scorer, other = RuleScorer(oracle), RuleScorer(oracle)
    records_of(scorer, make_pairs())
    records_of(other, swap(make_pairs()))
    assert scorer.seen == other.seen
    assert all(isinstance(response, Response) for group in scorer.seen for response in group.responses)


def test_a_scorer_that_loses_scores_is_an_error() -> None:
    class Lossy(RuleScorer):
        def score(self, groups: Sequence[ResponseGroup]) -> list[list[Scored]]:
            return super().score(groups)[:-1]

    with pytest.raises(ScoringError, match="rule"):
        records_of(Lossy(oracle), make_pairs())


def test_no_pairs_are_an_error() -> None:
    with pytest.raises(DataError):
        summary_of(RuleScorer(oracle), [])


def test_a_record_is_read_again_from_its_line() -> None:
    for record in records_of(RuleScorer(mixed), make_pairs()):
        line = json.loads(json.dumps(dump_record(record)))
        assert (line["margin"], line["outcome"]) == (record.margin, record.outcome)
        assert parse_record(line) == record


def test_an_id_with_a_lone_surrogate_survives(tmp_path: Path) -> None:
    record = replace(records_of(RuleScorer(oracle), make_pairs(1))[0], id="\ud83d")
    write_lines(tmp_path / "records.jsonl", [dump_record(record)])
    assert list(map(parse_record, read_records(tmp_path / "records.jsonl"))) == [record]


def test_a_line_that_is_no_record_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"record of a row.*\(id: Field required"):
        parse_record({"row": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"value": float("nan")})
    assert list(tmp_path.iterdir()) == []
