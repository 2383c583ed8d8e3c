"""Named averages: the paper's own come out of its cells, intervals are honest, and nothing is averaged around."""

import pytest

from basereward.benchmarks.averages import AVERAGES, compute_average, missing_members
from basereward.benchmarks.formulas import Metric
from basereward.benchmarks.summary import Summary, UsedProtocol
from basereward.errors import DataError, UnknownNameError
from tests.benchmarks.published.conftest import published_table

COLUMNS = {
    ("vl_rewardbench", "macro"): "VL Overall",
    ("mm_rlhf_rewardbench", "accuracy"): "Acc",
    ("mm_rlhf_rewardbench", "acc_plus"): "Acc+",
    ("multimodal_rewardbench", "accuracy"): "MMRB Overall",
    ("multimodal_rewardbench", "macro"): "General Avg",
    ("rewardbench", "overall"): "RewardBench Overall",
    ("rm_bench", "overall"): "RM-Bench Overall",
}


def summary_of(benchmark, protocol, metrics):
    """A summary with these metrics under a protocol."""
    return Summary(
        benchmark=benchmark,
        protocol=UsedProtocol(name=protocol, text="text", ties="strict"),
        n=100,
        failed=0,
        coverage=1,
        ties=0,
        metrics=metrics,
        groups={},
        definitions={},
    )


def summaries_of(average, value_of):
    """Summaries with the value, low and high that ``value_of`` gives to each member of an average."""
    found = {}
    for member in average.members:
        value, low, high = value_of(member)
        own = found.setdefault(member.benchmark, {}).setdefault(member.protocol, {})
        own[member.metric] = Metric(value=value, n=100, low=low, high=high)
    return {
        benchmark: {protocol: summary_of(benchmark, protocol, metrics) for protocol, metrics in own.items()}
        for benchmark, own in found.items()
    }


@pytest.mark.parametrize(
    ("number", "name", "column", "rows"),
    [
        (5, "paper-t5", "Multi-Modal Avg", 11),
        (6, "mean4", "Multi-Modal Avg", 8),
        (7, "mean3", "Multi-Modal Avg", 6),
        (5, "pure-text", "Pure Text Avg", 11),
        (6, "pure-text", "Pure Text Avg", 8),
        (7, "pure-text", "Pure Text Avg", 6),
    ],
)
def test_every_printed_average_comes_out_of_its_row(number, name, column, rows):
    table, average = published_table(f"paper-{number}"), AVERAGES.get(name)
    assert len(table.rows()) == rows
    for row in table.rows():
        cells = table.row(row)
        summaries = summaries_of(average, lambda member: (cells[COLUMNS[member[:2]]].share,) * 3)  # noqa: B023
        assert 100 * compute_average(average, summaries).value == pytest.approx(cells[column].value, abs=0.061), row
        assert cells[column].metric == name


def test_overall_of_table_1_is_a_named_average_but_for_one_row():
    table, average = published_table("paper-1"), AVERAGES.get("paper-t1")
    columns = {**COLUMNS, ("vl_rewardbench", "macro"): "VL Avg"}
    differing = {}
    for row in table.rows():
        cells = table.row(row)
        summaries = summaries_of(average, lambda member: (cells[columns[member[:2]]].share,) * 3)  # noqa: B023
        found = 100 * compute_average(average, summaries).value
        assert cells["Overall"].metric == "paper-t1"
        if abs(found - cells["Overall"].value) > 0.061:
            differing[row] = round(found, 2)
    assert differing == {"Critic-RM (MM-RLHF)": 63.35}


def test_the_average_of_table_5_is_not_that_of_table_6():
    cells = published_table("paper-5").row("trained on MMIF")
    summaries = summaries_of(AVERAGES.get("paper-t5"), lambda member: (cells[COLUMNS[member[:2]]].share,) * 3)
    found = [round(100 * compute_average(AVERAGES.get(name), summaries).value, 2) for name in ("mean4", "mean3")]
    assert found == [51.88, 48.37]


def test_intervals_of_independent_benchmarks_add_in_squares():
    found = compute_average(
        AVERAGES.get("pure-text"),
        summaries_of(
            AVERAGES.get("pure-text"),
            lambda member: (0.8, 0.74, 0.83) if member.benchmark == "rewardbench" else (0.6, 0.52, 0.64),
        ),
    )
    assert found[:3] == pytest.approx((0.7, 0.7 - (0.03**2 + 0.04**2) ** 0.5, 0.7 + (0.015**2 + 0.02**2) ** 0.5))


def test_intervals_of_one_benchmark_add_up():
    average = AVERAGES.get("mean4")
    found = compute_average(
        average,
        summaries_of(
            average, lambda member: (0.5, 0.4, 0.6) if member.benchmark == "mm_rlhf_rewardbench" else (0.5,) * 3
        ),
    )
    assert found[:3] == pytest.approx((0.5, 0.45, 0.55))


def test_a_missing_member_is_named_and_nothing_is_averaged_around_it():
    average = AVERAGES.get("mean4")
    summaries = summaries_of(average, lambda member: (0.5, 0.4, 0.6))
    assert missing_members(average, summaries) == []
    del summaries["multimodal_rewardbench"]
    del summaries["mm_rlhf_rewardbench"]["official"].metrics["acc_plus"]
    summaries["vl_rewardbench"] = {"official": summaries["vl_rewardbench"].pop("r1_reward")}
    expected = [
        "macro of vl_rewardbench under r1_reward (found official)",
        "acc_plus of mm_rlhf_rewardbench under official (found accuracy)",
        "accuracy of multimodal_rewardbench under official",
    ]
    assert missing_members(average, summaries) == expected
    with pytest.raises(DataError, match="mean4 needs macro of vl_rewardbench"):
        compute_average(average, summaries)


def test_a_mean_over_some_domains_is_no_member():
    average = AVERAGES.get("pure-text")
    summaries = summaries_of(average, lambda member: (0.5, 0.4, 0.6))
    metrics = summaries["rm_bench"]["official"].metrics
    metrics["overall[chat+code+safety]"] = metrics.pop("overall")
    assert missing_members(average, summaries) == [
        "overall of rm_bench under official (found overall[chat+code+safety])"
    ]
    metrics["overall"] = Metric(value=None, n=0, low=None, high=None)
    assert len(missing_members(average, summaries)) == 1


def test_averages_say_what_they_are():
    assert AVERAGES.names() == ["mean3", "mean4", "paper-t1", "paper-t5", "pure-text"]
    assert all(AVERAGES.get(name).definition for name in AVERAGES.names())
    with pytest.raises(UnknownNameError, match="mean4"):
        AVERAGES.get("mean")
