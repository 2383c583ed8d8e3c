"""The published tables as data: equal to the paper, in our words, and found again by benchmark and protocol."""

import re
from collections import Counter
from pathlib import Path

import pytest

from basereward.benchmarks import (
    judgebench,
    mm_rlhf_rewardbench,
    multimodal_rewardbench,
    multimodal_rewardbench2,
    rewardbench,
    rewardbench2,
    rm_bench,
    vl_rewardbench,
)
from basereward.benchmarks.averages import AVERAGES
from basereward.benchmarks.published import tables
from basereward.benchmarks.published.tables import (
    ANY,
    check_attainable,
    comparable_rows,
    published_cells,
)
from basereward.benchmarks.registry import BENCHMARKS
from tests.benchmarks.published.conftest import published_table, published_tables

PAPER = Path(__file__).parents[4] / "shared" / "paper.md"
# Columns of the paper that describe a row: its name, and number of parameters, layers, activation or data.
LABELS = {2: 2, 3: 2, 6: 2, 9: 2, 10: 2, 14: 2}
METRICS = {
    "vl_rewardbench": ({"accuracy", "macro"}, vl_rewardbench.CATEGORIES),
    "mm_rlhf_rewardbench": ({"accuracy", "acc_plus"}, mm_rlhf_rewardbench.SUBSETS),
    "multimodal_rewardbench": ({"accuracy", "macro"}, multimodal_rewardbench.TASKS),
    "rewardbench": ({"overall"}, rewardbench.SECTIONS),
    "rm_bench": (set(rm_bench.LEVELS), rm_bench.DOMAINS),
    "rewardbench2": ({"overall"}, rewardbench2.SUBSETS),
    "judgebench": ({"accuracy"}, judgebench.CATEGORIES.values()),
    "multimodal_rewardbench2": ({"accuracy", "macro"}, multimodal_rewardbench2.TASKS),
}
TABLE = {
    "title": "A table",
    "source": "nowhere",
    "defaults": {"benchmark": "mine", "n": 46},
    "columns": {"Acc": {"metric": "accuracy", "protocol": "official"}, "Other": {"flag": "Unknown."}},
    "rows": {"one": "50.00 12.5", "two": "85.58 ~"},
    "rules": [{"rows": ["two"], "flag": "A rule."}, {"columns": ["Other"], "n": None, "unit": "reward"}],
}


def build(**changes):
    """A table of its own from the raw one."""
    return tables._build_cells("mine", tables._Table.model_validate(TABLE | changes))


def printed_in_paper(number):
    """The numbers of a table of the paper, row by row; tags and markers of the text are dropped."""
    lines = PAPER.read_text(encoding="utf-8").splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith(f"Table {number}:")) + 2
    end = next(place for place in range(start, len(lines)) if not lines[place].strip())
    for line in lines[start:end]:
        cells = [re.sub(r"<[^>]+>", "", cell) for cell in line.split("\t")[LABELS.get(number, 1) :]]
        values = [cell for cell in cells if re.fullmatch(r"[+-]?\d+(\.\d+)?[kM]?", cell)]
        if values:
            yield values


@pytest.mark.skipif(not PAPER.is_file(), reason=f"there is no paper in {PAPER}")
@pytest.mark.parametrize("number", range(1, 17))
def test_every_number_of_the_paper_is_there_as_printed(number):
    table = published_table(f"paper-{number}")
    assert [[cell.printed for cell in table.row(row).values()] for row in table.rows()] == list(
        printed_in_paper(number)
    )


def test_tables_have_a_name_and_a_source_of_their_own():
    names = [table.name for table in published_tables()]
    assert max(Counter(names).values()) == 1
    assert sorted(names[-16:]) == sorted(f"paper-{number}" for number in range(1, 17))
    assert all(cell.source for table in published_tables() for cell in table.cells)


def test_cells_speak_our_words():
    for cell in published_cells():
        if cell.benchmark is None:
            assert cell.metric in {None, *AVERAGES.names()}, cell
            continue
        metrics, groups = METRICS[cell.benchmark]
        assert cell.metric in {None, *metrics, *(f"groups.{group}" for group in groups)}, cell
        assert cell.protocol in {None, ANY, *BENCHMARKS.get(cell.benchmark).protocols.names()}, cell
        assert cell.share is None or 0 <= cell.share <= 1.01, cell


def test_units_turn_into_shares():
    assert published_table("multimodal-rewardbench-board").row("Aria")["VQA"].share == 0.642
    assert published_table("paper-4").row("MMPR v1.2")["Size"].value == 2_000_000
    reward = published_table("paper-13").row("zero-coefficient 0")["Mean chosen"]
    assert (reward.value, reward.printed, reward.share) == (5.82, "+5.82", None)


def test_rules_replace_fields_and_add_flags():
    one, other, two = build()
    assert (one.benchmark, one.metric, one.protocol, one.n, one.flag) == ("mine", "accuracy", "official", 46, None)
    assert (other.n, other.unit, other.flag, other.share) == (None, "reward", "Unknown.", None)
    assert two.flag == "A rule. No k/46 prints as 85.58; the nearest is 39/46."
    assert check_attainable(two).k == 39
    assert check_attainable(other) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": {"one": "50.00"}, "rules": []}, "has 1 cells, expected 2"),
        ({"rows": {"one": "50.00 x"}, "rules": []}, "printed number"),
        ({"rules": [{"rows": ["three"], "n": 1}]}, "no rows or columns"),
        ({"rules": [{"row": ["two"], "n": 1}]}, "Extra inputs"),
    ],
)
def test_a_table_that_does_not_fit_is_an_error(changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)


def test_rows_of_one_model_that_contradict_each_other_are_flagged():
    board, readme = (
        published_table("rm-bench-board").row("DeepSeek R1"),
        published_table("rm-bench-readme").row("DPSK-R1"),
    )
    assert [board[name].value for name in ("Math", "Code")] == [72.7, 93.6]
    assert [readme[name].value for name in ("Code", "Math")] == [72.66, 93.59]
    for cells in (board, readme):
        assert {name for name, cell in cells.items() if cell.flag and "exchanges the columns" in cell.flag} == {
            "Math",
            "Code",
        }


def test_comparable_cells_mean_the_same_under_the_protocol():
    official, r1 = (comparable_rows("vl_rewardbench", name) for name in ("official", "r1_reward"))
    model = "BaseReward (Qwen 2.5 VL)"
    assert set(r1[model]) == {"accuracy", "macro", "groups.general", "groups.hallucination", "groups.reasoning"}
    # Accuracy over all rows is the same in every partition; the columns that are swapped come out right.
    assert list(official[model]) == ["accuracy"]
    assert (r1[model]["groups.general"].printed, r1[model]["groups.general"].column) == ("81.82", "Reasoning")
    assert "each other's column" in r1[model]["groups.general"].flag
    assert official["GPT-4o (2024-08-06)"]["macro"].share == 0.624


def test_a_model_of_two_tables_is_one_row_unless_they_differ():
    rows = comparable_rows("multimodal_rewardbench", "official")
    assert rows["trained on R1-Reward"]["accuracy"].table == "paper-5"
    assert rows["trained on R1-Reward (paper-8)"]["accuracy"].printed == "67.9"
    assert rows["trained on RLAIF-V"]["groups.math"].table == "paper-8"
    assert "GPT-4o (2024-08-06) (paper-9)" not in comparable_rows("vl_rewardbench", "official")
