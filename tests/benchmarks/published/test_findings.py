"""What the published numbers say about themselves: which add up, which cannot be, and which averages they are."""

from math import isclose
from statistics import mean

import pytest

from basereward.benchmarks.published.tables import check_attainable, published_cells
from tests.benchmarks.published.conftest import published_table

VL_PARTITIONS = {"official": (183, 749, 318), "r1_reward": (484, 448, 318), "unifiedreward": (631, 301, 318)}
VL_GROUPS = ("groups.general", "groups.hallucination", "groups.reasoning")
TASKS = ("Correctness", "Preference", "Knowledge", "Math", "Coding")
OURS = ("BaseReward (Qwen 2 VL)", "BaseReward (Qwen 2.5 VL)", "BaseReward (Ensemble)")


def by_metric(table, row):
    """The cells of a row by our metric."""
    return {cell.metric: cell for cell in published_table(table).row(row).values()}


def values(table, row, *columns):
    """The printed numbers of some columns."""
    cells = published_table(table).row(row)
    return [cells[column].value for column in columns]


def count(cell):
    """The k of the nearest share."""
    return check_attainable(cell).k


def micro(cells):
    """The share over all items from the shares of groups."""
    return sum(cell.value * cell.n for cell in cells) / sum(cell.n for cell in cells)


def impossible(benchmark=None):
    """Table, row and column of each cell that no share prints as."""
    checked = [(cell, check_attainable(cell)) for cell in published_cells(benchmark)]
    return {(cell.table, cell.row, cell.column) for cell, found in checked if found and not found.is_attainable}


@pytest.mark.parametrize(
    ("row", "counts", "n"),
    [
        ("R1-Reward-7B", (309, 384, 206), 1250),
        ("MM-RLHF-Reward-7B", (218, 226, 183), 1250),
        ("VITA-1.5-7B", (107, 40, 59), 1250),
        ("BaseReward (Qwen 2.5 VL)", (396, 413, 218), 1250),
        ("BaseReward (Qwen 2 VL)", (400, 380, 182), 1225),
        ("BaseReward (Ensemble)", (413, 411, 210), 1225),
    ],
)
def test_table_9_adds_up_under_the_partition_of_r1_reward(row, counts, n):
    cells = by_metric("paper-9", row)
    assert tuple(count(cells[group]) for group in VL_GROUPS) == counts
    assert sum(cells[group].n for group in VL_GROUPS) == cells["accuracy"].n == n
    assert count(cells["accuracy"]) == sum(counts)
    assert mean(cells[group].value for group in VL_GROUPS) == pytest.approx(cells["macro"].value, abs=0.011)


def test_table_9_has_columns_the_other_way_round():
    cells = published_table("paper-9").row("BaseReward (Qwen 2.5 VL)")
    # 82.16 needs 218/318 + 413/448 + 396/484: as printed, General would be a share of 318 rows.
    assert round(100 * (218 + 413 + 396) / 1250, 2) == cells["Overall Acc"].value
    assert (cells["General"].metric, cells["Reasoning"].metric) == ("groups.reasoning", "groups.general")


def test_slime_adds_up_without_its_misprint():
    cells = by_metric("paper-9", "SliME-7B")
    assert count(cells["groups.general"]) + 125 + count(cells["groups.reasoning"]) == count(cells["accuracy"]) == 238
    assert round(100 * 125 / 448, 2) == 27.90
    assert ("paper-9", "SliME-7B", "Hallucination") in impossible()


def test_no_partition_gives_claude_and_no_mean_llava_critic():
    claude = published_table("paper-9").row("Claude-3.7-Sonnet")
    columns = ("General", "Hallucination", "Reasoning")
    for sizes in VL_PARTITIONS.values():
        parts = sum(claude[column].value * n for column, n in zip(columns, sizes, strict=True)) / sum(sizes)
        assert abs(parts - claude["Overall Acc"].value) > 0.5
    critic = values("paper-9", "LLaVA-Critic-8B", "General", "Hallucination", "Reasoning", "Macro Acc")
    assert (round(mean(critic[:3]), 2), critic[3]) == (50.67, 44.0)


def test_ixc_printed_more_than_it_released():
    printed, released = (
        by_metric(*place)
        for place in (("paper-9", "IXC-2.5-Reward-7B"), ("vl-rewardbench-ixc", "IXC-2.5-Reward, released results"))
    )
    assert sum(count(released[group]) for group in VL_GROUPS) == count(released["accuracy"]) == 807
    differing = {
        metric for metric in released if not isclose(printed[metric].value, released[metric].value, abs_tol=0.05)
    }
    assert differing == {"groups.hallucination", "accuracy", "macro"}


def test_table_2_adds_up_but_for_tanh():
    for row in published_table("paper-2").rows():
        cells = published_table("paper-2").row(row)
        groups = [cells[name] for name in ("Reasoning", "Hallucination", "General")]
        adds_up = abs(micro(groups) - cells["Overall Acc"].value) <= 0.2
        is_mean = abs(mean(cell.value for cell in groups) - cells["Macro Acc"].value) <= 0.11
        assert (adds_up, is_mean) == ((row != "2 layers, Tanh"),) * 2, row


def test_reasoning_of_the_text_sets_in_table_8_is_no_measurement():
    for name in ("Others", "Tulu-3", "Olmo-2", "Ultra-Hard"):
        average, reasoning, *others = values(
            "paper-8", f"trained on {name}", "VL Avg", "VL Reasoning", "VL Hallucination", "VL General"
        )
        assert average == reasoning == pytest.approx(mean(others), abs=0.051)
        assert values("paper-5", f"trained on {name}", "VL Overall")[0] < average


def test_table_1_prints_means_under_other_names():
    rows = published_table("paper-1").rows()
    for row in rows:
        cells = published_table("paper-1").row(row)
        tasks = [cells[name].value for name in (*TASKS, "Safety/bias", "VQA")]
        assert mean(tasks) == pytest.approx(cells["General Avg"].value, abs=0.06)
        both = mean(cells[name].value for name in ("General Avg", "VL Avg"))
        assert (abs(both - cells["Overall"].value) < 0.06) == (row != "Critic-RM (MM-RLHF)")


def test_table_3_adds_up_but_for_two_rows_and_the_rounded_one():
    differing = set()
    for row in published_table("paper-3").rows():
        *groups, accuracy, _ = published_table("paper-3").row(row).values()
        if sum(map(count, groups)) != count(accuracy):
            differing.add(row)
    assert differing == {"SliME-8B", "VITA-1.5-7B", "MM-RLHF-Reward-7B"}
    assert [
        round(micro(list(published_table("paper-3").row(row).values())[:5]), 2) for row in sorted(differing)[1:]
    ] == [
        14.64,
        18.58,
    ]


def test_shares_of_mm_rlhf_rewardbench_that_no_count_gives():
    rounded = {entry for entry in impossible("mm_rlhf_rewardbench") if entry[1] == "MM-RLHF-Reward-7B"}
    assert len(rounded) == 6
    intern = [f"Intern-VL{name} as backbone" for name in ("2 8B", "3 1B", "3 2B", "3 8B")]
    mixed = [f"multimodal {share} text" for share in ("1:0", "1:0.5", "1:1", "1:2")]
    assert impossible("mm_rlhf_rewardbench") - rounded == {
        ("paper-2", "1 layer, no activation", "Acc+"),
        ("paper-2", "2 layers, Tanh", "Acc"),
        ("paper-3", "GPT-4o (2024-08-06)", "Acc+"),
        ("paper-3", "Claude-3.5-Sonnet (2024-06-22)", "Acc+"),
        *(("paper-3", "SliME-8B", column) for column in ("Video", "Acc", "Acc+")),
        *(("paper-3", "VITA-1.5-7B", column) for column in ("Mcq", "Video", "Acc+")),
        *(("paper-3", "BaseReward (Qwen 2.5 VL)", column) for column in ("Mcq", "Long", "Short")),
        *(("paper-5", "trained on MMIF", column) for column in ("Acc", "Acc+")),
        ("paper-5", "trained on R1-Reward", "Acc+"),
        ("paper-5", "trained on Tulu-3", "Acc+"),
        *(("paper-6", row, column) for row in intern for column in ("Acc", "Acc+")),
        ("paper-7", "InternVL 3 8B", "Acc"),
        ("paper-12", "4. Data Resampling", "MM-RLHF"),
        *(("paper-15", row, "MM-RLHF-Reward") for row in mixed),
    }


def test_no_partition_gives_hallucination_in_table_16():
    rows = published_table("paper-16").rows()
    assert {("paper-16", row, "VL Hallucination") for row in rows} <= impossible("vl_rewardbench")


def test_overall_of_table_10_is_a_mean_of_tasks_for_the_others_and_micro_for_baserewards_rows():
    table = published_table("paper-10")
    micros = {}
    for row in table.rows():
        overall, *tasks = table.row(row).values()
        if row in OURS:
            micros[row] = round(micro(tasks), 2)
        else:
            assert mean(cell.value for cell in tasks) == pytest.approx(overall.value, abs=0.06), row
    assert len(table.rows()) - len(micros) == 14
    assert sum(cell.n for cell in tasks) == overall.n == 4711
    assert tuple(micros.values()) == (68.57, 72.83, 73.83)
    assert [table.row(row)["Overall"].value for row in OURS] == [68.7, 72.8, 73.6]


def test_like_for_like_only_the_ensemble_is_second_in_table_10():
    table = published_table("paper-10")
    means = {row: mean(cell.value for cell in list(table.row(row).values())[1:]) for row in table.rows()}
    assert [round(means[row], 2) for row in OURS[1:]] == [71.54, 72.53]
    assert sorted(means, key=means.get)[-2:] == ["BaseReward (Ensemble)", "R1-Reward-7B"]
    assert means["BaseReward (Qwen 2.5 VL)"] < means["Gemini 1.5 Pro"]


def test_average_of_table_8_is_micro_but_for_mmpr():
    table = published_table("paper-8")
    for row in table.rows():
        cells = table.row(row)
        parts = [cells[name] for name in (*TASKS, "Safety/bias", "VQA")]
        assert (abs(micro(parts) - cells["Avg"].value) <= 0.06) == (row != "trained on MMPR v1.2"), row


def test_the_board_of_multimodal_rewardbench_is_micro_over_5211():
    table = published_table("multimodal-rewardbench-board")
    assert len(table.rows()) == 8
    for row in table.rows():
        overall, *parts = table.row(row).values()
        assert sum(cell.n for cell in parts) == overall.n == 5211
        assert micro(parts) == pytest.approx(overall.value, abs=0.001)


@pytest.mark.parametrize(
    ("table", "overall", "parts", "tolerance"),
    [
        ("rm-bench-board", "Domain Avg", ("Chat", "Math", "Code", "Safety"), 0.101),
        ("rm-bench-board", "Difficulty Avg", ("Easy", "Normal", "Hard"), 0.101),
        ("rm-bench-readme", "All", ("Chat", "Math", "Code", "Safety"), 0.0051),
        ("rewardbench-board", "Overall Score", ("Chat", "Chat Hard", "Safety", "Reasoning"), 0.101),
        (
            "rewardbench2-board",
            "Score",
            ("Factuality", "Precise IF", "Math", "Safety", "Focus", "Ties"),
            0.0051,
        ),
        ("vl-rewardbench-board", "Macro Average Accuracy", ("General", "Hallucination", "Reasoning"), 0.101),
    ],
)
def test_boards_average_as_our_protocols_do(table, overall, parts, tolerance):
    checked = 0
    for row in published_table(table).rows():
        cells = published_table(table).row(row)
        if {overall, *parts} <= set(cells):
            assert mean(cells[part].value for part in parts) == pytest.approx(cells[overall].value, abs=tolerance), row
            checked += 1
    assert checked == len(published_table(table).rows()) or (table == "rm-bench-board" and checked > 30)


def test_the_board_of_rm_bench_marks_the_rows_whose_two_means_differ():
    table = published_table("rm-bench-board")
    rows = [table.row(row) for row in table.rows()]
    marked = {cells["Overall"].row for cells in rows if cells["Overall"].flag}
    both = [cells for cells in rows if {"Domain Avg", "Difficulty Avg", "Easy"} <= set(cells)]
    assert marked == {
        cells["Overall"].row for cells in both if abs(cells["Domain Avg"].value - cells["Difficulty Avg"].value) > 1
    }


def test_the_hard_score_of_deepseek_r1_is_not_the_mean_of_its_domains():
    hard, *domains = values(
        "rm-bench-readme", "DPSK-R1", "Hard All", "Hard Chat", "Hard Code", "Hard Math", "Hard Safety"
    )
    assert (hard, round(mean(domains), 2)) == (80.24, 79.92)


def test_rewardbench_of_the_paper_is_the_mean_of_four_sections():
    sections = [cell.value for cell in published_table("paper-14").row("Qwen2.5 VL, all data").values()]
    assert round(mean(sections), 1) == 80.9
    assert values("paper-7", "Qwen 2.5 VL 7B", "RewardBench Overall") == [80.9]
    assert values("paper-12", "1. BaseReward (Original)", "RewardBench") == [80.9]


def test_released_judgements_add_up():
    for row in published_table("judgebench-released").rows():
        *parts, overall = published_table("judgebench-released").row(row).values()
        assert sum(map(count, parts)) == count(overall)
        assert all(check_attainable(cell).is_rounded for cell in (*parts, overall))
