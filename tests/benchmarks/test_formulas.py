"""Closed-form cases of the formulas: ties, intervals, names of partial means, missing rows."""

import math

import pytest

from basereward.benchmarks.formulas import Computed, Metric, combined_metric, scoped, win_value
from basereward.benchmarks.points import read_scores
from basereward.benchmarks.protocol import DEFAULT_PROTOCOLS, Protocol
from basereward.benchmarks.records import RowRecord
from basereward.benchmarks.registry import BENCHMARKS
from basereward.benchmarks.summary import summarize
from basereward.errors import DataError
from basereward.statistics import Stratum, stratified_interval, student_quantile, wilson_interval


def pair(row, chosen, rejected, subset="a", id=None, item=None):
    """A record of one pair; None as a score is a failed row."""
    failure = None if None not in (chosen, rejected) else "missing_score"
    item = row if item is None else item
    return RowRecord(row, id or str(row), subset, item, (chosen,), (rejected,), failure)


def official(name):
    """The official protocol of a benchmark."""
    return BENCHMARKS.get(name).protocol("official")


@pytest.mark.parametrize(
    ("ties", "expected"), [("strict", (0.0, 0.0)), ("half", (1 / 2, 1 / 3)), ("greater_or_equal", (1.0, 1.0))]
)
def test_a_tie_counts_as_the_policy_says(ties, expected):
    both = RowRecord(0, "0", "a", 0, (1.0,), (1.0,)), RowRecord(0, "0", "a", 0, (1.0,), (1.0, 1.0, 0.0))
    [rows] = read_scores(both).rows
    assert tuple(win_value(row, ties) for row in rows) == pytest.approx(expected)


def test_summary_has_exactly_the_promised_keys_and_counts_failed_rows():
    records = [pair(0, 2.0, 1.0), pair(1, 1.0, 1.0), pair(2, 0.0, 1.0), pair(3, None, 1.0)]
    summary = summarize("mine", DEFAULT_PROTOCOLS.get("official"), records)
    keys = {"benchmark", "protocol", "n", "failed", "coverage", "ties", "metrics", "groups", "definitions", "notes"}
    assert set(summary.model_dump()) == keys
    assert (summary.protocol.key, summary.protocol.ties, summary.protocol.judge) == ("official", "strict", None)
    assert set(summary.definitions) == set(summary.metrics)
    assert (summary.n, summary.ties, summary.failed, summary.coverage) == (4, 1, 1, 0.75)
    values = {name: (metric.value, metric.n) for name, metric in summary.metrics.items()}
    assert values == {
        "accuracy": (pytest.approx(1 / 3), 3),
        "accuracy_ties_half": (0.5, 3),
        "accuracy_of_all": (0.25, 4),
    }
    low, high = stratified_interval([Stratum([1.0, 0.0, 0.0], range(3))])
    assert summary.metrics["accuracy"].low == pytest.approx(low)
    assert summary.groups == {"a": Metric(value=1 / 3, n=3, low=low, high=high)}


def test_nothing_scored_gives_no_number():
    summary = summarize("mine", DEFAULT_PROTOCOLS.get("official"), [pair(0, None, 1.0)])
    assert summary.metrics["accuracy"] == Metric(value=None, n=0, low=None, high=None)
    assert summary.metrics["accuracy_of_all"].value == 0
    assert summary.coverage == 0


@pytest.mark.parametrize("name", BENCHMARKS.names())
def test_every_protocol_bears_rows_of_which_none_is_scored(name):
    for variant in BENCHMARKS.get(name).protocols.names():
        record = RowRecord(0, "ref:1", "Ties", 0, (None,) * 3, (None,) * 3, "image_missing", "gone")
        assert summarize(name, BENCHMARKS.get(name).protocol(variant), [record]).coverage == 0


def test_the_same_row_twice_and_an_unknown_policy_are_errors():
    protocol = DEFAULT_PROTOCOLS.get("official")
    with pytest.raises(DataError, match="several records"):
        summarize("mine", protocol, [pair(0, 1.0, 0.0), pair(0, 1.0, 0.0)])
    with pytest.raises(DataError, match="rule for ties"):
        summarize("mine", protocol, [pair(0, 1.0, 0.0)], "loose")
    with pytest.raises(DataError, match="no records"):
        summarize("mine", protocol, [])


def test_repeated_ids_are_different_rows():
    records = [pair(0, 1.0, 0.0, "mathverse", "mathverse_1"), pair(1, 0.0, 1.0, "mathverse", "mathverse_1")]
    summary = summarize("vl_rewardbench", official("vl_rewardbench"), records)
    assert summary.metrics["accuracy"].n == 2
    assert summary.groups["reasoning"].value == 0.5


def test_acc_plus_leaves_an_id_with_a_failed_pair_out():
    records = [
        pair(0, 1.0, 0.0, "mcq", "x", 0),
        pair(1, None, 0.0, "mcq", "x", 0),
        pair(2, 1.0, 0.0, "mcq", "y", 1),
        pair(3, 1.0, 1.0, "mcq", "z", 2),
    ]
    summary = summarize("mm_rlhf_rewardbench", official("mm_rlhf_rewardbench"), records)
    assert (summary.metrics["acc_plus"].value, summary.metrics["acc_plus"].n) == (0.5, 2)


def test_a_mean_over_some_groups_says_which():
    assert scoped("macro", ["a", "b"], ["a", "b"]) == "macro"
    assert scoped("macro", ["b"], ["a", "b", "c"]) == "macro[b]"
    records = [pair(0, 1.0, 0.0, "mcq")]
    summary = summarize("multimodal_rewardbench", official("multimodal_rewardbench"), records)
    assert "macro" not in summary.metrics


def test_the_row_of_the_rm_bench_readme_is_the_mean_of_its_domains():
    domains = (0.8424, 0.7266, 0.9359, 0.9065)
    metric = combined_metric([Stratum([value], [number]) for number, value in enumerate(domains)])
    # 85.285: the README prints it cut off.
    assert math.floor(10000 * metric.value + 1e-6) / 100 == 85.28


def counted(*hits):
    """Records of ``(subset, right, rows)``."""
    records = []
    for subset, right, rows in hits:
        start = len(records)
        records += [pair(start + place, float(place < right), 0.5, subset) for place in range(rows)]
    return records


def test_the_released_results_of_ixc_reproduce():
    records = counted(("wildvision", 155, 183), ("RLAIF", 452, 749), ("mmmu", 200, 318))
    summary = summarize("vl_rewardbench", official("vl_rewardbench"), records)
    found = [round(100 * group.value, 3) for group in summary.groups.values()]
    assert found == [84.699, 60.347, 62.893]
    assert round(100 * summary.metrics["accuracy"].value, 2) == 64.56
    assert round(100 * summary.metrics["macro"].value, 3) == 69.313


def test_the_sum_of_the_papers_categories_is_its_overall():
    records = counted(("mathverse", 218, 318), ("hallucination", 413, 448), ("svit", 396, 484))
    protocol = BENCHMARKS.get("vl_rewardbench").protocol("r1_reward")
    summary = summarize("vl_rewardbench", protocol, records)
    assert round(100 * summary.metrics["accuracy"].value, 2) == 82.16
    assert round(100 * summary.groups["reasoning"].value, 2) == 68.55


def test_intervals_of_rows_that_share_prompts_are_wider_and_never_without_width():
    alone = combined_metric([Stratum([1.0, 0.0] * 20, range(40))])
    shared = combined_metric([Stratum([1.0] * 20 + [0.0] * 20, [number // 10 for number in range(40)])])
    assert alone.value == shared.value == 0.5
    assert shared.high - shared.low > alone.high - alone.low
    certain = combined_metric([Stratum([1.0] * 40, [number // 10 for number in range(40)])])
    assert (certain.low, certain.high) == pytest.approx((4 / (4 + student_quantile(0.975, 3) ** 2), 1.0))


def test_groups_of_one_row_have_an_interval_with_a_width():
    records = [pair(0, 1.0, 0.0, "general"), pair(1, 0.0, 1.0, "hallucination"), pair(2, 1.0, 0.0, "mmmu")]
    macro = summarize("vl_rewardbench", official("vl_rewardbench"), records).metrics["macro"]
    # One row tells nothing of its group: each mean lies anywhere in [0, 1].
    assert macro.low == pytest.approx(2 / 3 - (2 / 9) ** 0.5)
    assert macro.high == pytest.approx(1.0)


def test_a_group_that_is_all_right_adds_its_own_width_to_that_of_the_others():
    varied, certain = Stratum([1.0, 0.0] * 50, range(100)), Stratum([1.0] * 3, range(100, 103))
    both = combined_metric([varied, certain])
    assert both.value - both.low > (1 - wilson_interval(3, 3).low) / 2
    # All above comes from the group that varies.
    assert both.high - both.value == pytest.approx(0.05, abs=0.01)


def test_rows_that_all_have_the_same_part_right_are_not_certain():
    metric = combined_metric([Stratum([1 / 3] * 30, range(30))])
    # As ten right of thirty prompts, at the t quantile.
    square = student_quantile(0.975, 29) ** 2
    center, half = 1 / 3 + square / 60, (square * (2 / 9 / 30 + square / 3600)) ** 0.5
    assert (metric.low, metric.high) == pytest.approx(
        ((center - half) / (1 + square / 30), (center + half) / (1 + square / 30))
    )


def test_the_interval_over_all_rows_knows_that_rows_share_prompts():
    records = [pair(row, float(row < 20), 0.5, item=row // 10) for row in range(39)] + [pair(39, None, 0.5, item=3)]
    metrics = summarize("mine", DEFAULT_PROTOCOLS.get("official"), records).metrics
    assert metrics["accuracy_of_all"].value == pytest.approx(0.5)
    low, high = wilson_interval(20, 40)
    assert metrics["accuracy_of_all"].high - metrics["accuracy_of_all"].low > 2 * (high - low)


def test_a_protocol_without_an_accuracy_is_refused():
    protocol = Protocol("odd", "odd", lambda records, ties: Computed({"macro": []}, {}, {}))
    with pytest.raises(DataError, match="'odd' gives macro; expected 'accuracy'"):
        summarize("mine", protocol, [pair(0, 1.0, 0.0)])


def test_a_weighted_mean_and_its_interval_use_the_weights():
    parts = [Stratum([1.0, 0.0] * 10, range(20), 3.0), Stratum([1.0] * 5, range(5), 1.0)]
    metric = combined_metric(parts)
    assert metric.value == pytest.approx((3 * 0.5 + 1) / 4)
    assert metric.n == 25
    assert metric.low < metric.value < metric.high
