"""A benchmark evaluated into a folder: files, resuming, failures, scores made elsewhere, third-party benchmarks."""

import json

import pytest

from basereward.benchmarks.items import build_items, text_row
from basereward.benchmarks.plugins import open_benchmark
from basereward.benchmarks.registry import BENCHMARKS
from basereward.errors import DataError, MissingFileError, ScoringError, UnknownNameError, WorkError
from basereward.evaluation.given import read_scores
from basereward.evaluation.opened import Opened
from basereward.scoring.baselines import BASELINES
from tests.evaluation.conftest import Counting, run

PLUGIN = """
from basereward.data.files import HubRepository
from basereward.benchmarks.items import text_row
from basereward.benchmarks.benchmark import Benchmark, BenchmarkPart

def read(opened):
    yield text_row("1", "short", "Why?", ["Because."], ["No."])
    yield text_row("1", "long", "Why not?", ["No."], ["Because."])

MINE = Benchmark("mine", "Mine", {"test": BenchmarkPart("mine", HubRepository("me/mine", "MIT"))}, read)
OTHER = 3
"""


def read_lines(path):
    """The JSON objects of a file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def plain(count):
    """Items of two responses each."""
    rows = (text_row(str(n), "s", f"Question {n}?", ["yes!"], ["no"]) for n in range(count))
    return Opened("plain", build_items("plain", rows))


def test_a_run_leaves_records_and_a_result_and_no_partial_file(tmp_path):
    result = run(BASELINES.get("longer"), "mm_rlhf_rewardbench", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["items.jsonl", "records.jsonl", "result.json"]
    assert json.loads((tmp_path / "result.json").read_text()) == result.model_dump(mode="json")
    records = read_lines(tmp_path / "records.jsonl")
    assert [(record["row"], record["id"], record["outcome"]) for record in records] == [
        (0, "a_1", "correct"),
        (1, "a_1", "correct"),
        (2, "b_2", "correct"),
    ]
    assert list(result.main.summaries) == ["model", *(f"baseline:{name}" for name in BASELINES.names())]
    assert result.main.model.metrics["acc_plus"].value == 1
    assert set(result.main.model.definitions) == set(result.main.model.metrics)
    assert "hf download yifanzhang114/MM-RLHF-RewardBench" in result.notes[0]


def test_each_response_is_scored_once(tmp_path):
    scorer = Counting()
    run(scorer, "mm_rlhf_rewardbench", tmp_path)
    assert len(scorer.seen) == len(set(scorer.seen)) == 5


def test_a_failure_is_counted_with_its_reason(tmp_path):
    scorer = Counting(fails=["Nothing."])
    result = run(scorer, "mm_rlhf_rewardbench", tmp_path)
    assert (result.main.model.failed, result.failures) == (1, {"image_missing": 1})
    assert result.main.model.coverage == pytest.approx(2 / 3)
    [failed] = [record for record in read_lines(tmp_path / "records.jsonl") if record["outcome"] == "failed"]
    assert (failed["rejected"], failed["margin"]) == ([None], None)
    assert "no image of" in failed["failure_message"]


def test_an_interrupted_run_goes_on_by_item_and_gives_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("basereward.evaluation.asking.BATCH_ITEMS", 1)
    whole = run(Counting(), "rm_bench", tmp_path / "whole")
    folder = tmp_path / "cut"
    with pytest.raises(ScoringError):
        run(Counting(breaks_after=6), "rm_bench", folder)
    partial = folder / "records.partial.jsonl"
    assert len(read_lines(partial)) == 1
    # A crash may cut the last line.
    partial.write_text(partial.read_text() + '{"row": 1, "id"')
    scorer = Counting()
    assert run(scorer, "rm_bench", folder, resume=True) == whole
    assert len(scorer.seen) == 11
    assert sorted(path.name for path in folder.iterdir()) == ["items.jsonl", "records.jsonl", "result.json"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_records_of_another_scorer_or_other_data_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("basereward.evaluation.asking.BATCH_ITEMS", 1)
    with pytest.raises(ScoringError):
        run(Counting(breaks_after=1), "rm_bench", tmp_path)
    with pytest.raises(WorkError, match=r"weights\.name 'counting', not 'baseline:longer'"):
        run(BASELINES.get("longer"), "rm_bench", tmp_path, resume=True)
    with pytest.raises(WorkError, match=r"inputs\.0"):
        run(Counting(), "judgebench", tmp_path, resume=True)


def test_what_a_folder_holds_is_neither_overwritten_nor_asked_again(tmp_path, monkeypatch):
    monkeypatch.setattr("basereward.evaluation.asking.BATCH_ITEMS", 1)
    with pytest.raises(ScoringError):
        run(Counting(breaks_after=1), "rm_bench", tmp_path)
    with pytest.raises(WorkError, match="an interrupted evaluation: --resume goes on from it, --overwrite"):
        run(Counting(), "rm_bench", tmp_path)
    first = run(Counting(), "rm_bench", tmp_path, resume=True)
    before = (tmp_path / "result.json").read_text()
    with pytest.raises(WorkError, match="a finished evaluation: --resume asks again for what failed alone"):
        run(Counting(), "rm_bench", tmp_path)
    with pytest.raises(WorkError, match=r"something else: weights\.name"):
        run(BASELINES.get("longer"), "rm_bench", tmp_path, resume=True)
    assert (tmp_path / "result.json").read_text() == before
    again = Counting()
    assert run(again, "rm_bench", tmp_path, resume=True) == first
    assert again.seen == []
    other = run(BASELINES.get("shorter"), "rm_bench", tmp_path, overwrite=True)
    assert other.scorer == "baseline:shorter"


def test_only_failed_rows_of_a_finished_run_are_asked_again(tmp_path):
    first = run(Counting(fails=["Nothing."]), "mm_rlhf_rewardbench", tmp_path)
    assert first.main.model.failed == 1
    scorer = Counting()
    again = run(scorer, "mm_rlhf_rewardbench", tmp_path, resume=True)
    assert (again.main.model.failed, {group for group, _ in scorer.seen}) == (0, {"mm_rlhf_rewardbench-2"})
    assert again == run(Counting(), "mm_rlhf_rewardbench", tmp_path / "whole")


def test_a_finished_run_is_read_under_another_protocol_without_asking(tmp_path):
    run(Counting(), "vl_rewardbench", tmp_path)
    scorer = Counting()
    again = run(scorer, "vl_rewardbench", tmp_path, protocol="r1_reward", ties="half", resume=True, references=False)
    assert (scorer.seen, again.main.model.protocol.name, again.main.model.protocol.ties) == ([], "r1_reward", "half")


def test_a_second_writer_is_refused(tmp_path):
    class Nested(Counting):
        def score(self, groups):
            run(Counting(), "rm_bench", tmp_path / "out")
            return super().score(groups)

    with pytest.raises(WorkError, match="is being written by process"):
        run(Nested(), "rm_bench", tmp_path / "out")


@pytest.mark.parametrize("name", BENCHMARKS.names())
def test_every_benchmark_runs_and_its_records_give_the_same_again(name, tmp_path):
    for variant in BENCHMARKS.get(name).protocols.names():
        result = run(BASELINES.get("longer"), name, tmp_path / "a", variant, overwrite=True)
        again = run(tmp_path / "a" / "records.jsonl", name, tmp_path / "b", variant, overwrite=True)
        assert again.main.model == result.main.model
        assert (tmp_path / "a" / "records.jsonl").read_text() == (tmp_path / "b" / "records.jsonl").read_text()


def test_one_folder_holds_all_protocols_that_read_the_same_files(tmp_path):
    result = run(BASELINES.get("longer"), "vl_rewardbench", tmp_path, "r1_reward")
    assert list(result.protocols) == ["r1_reward", "official", "unifiedreward"]
    alone = {
        name: run(BASELINES.get("longer"), "vl_rewardbench", tmp_path / name, name).main for name in result.protocols
    }
    assert result.protocols == alone
    # The Prior Sets are other files.
    assert list(run(BASELINES.get("longer"), "rewardbench", tmp_path / "x").protocols) == ["official", "unweighted"]
    assert list(run(BASELINES.get("longer"), "rewardbench", tmp_path / "y", "prior_sets").protocols) == ["prior_sets"]


def test_ties_and_limit_are_options(tmp_path):
    result = run(BASELINES.get("longer"), "rm_bench", tmp_path, limit=1, ties="half", references=False)
    assert (result.n, result.items, list(result.main.summaries)) == (1, 1, ["model"])
    assert (result.main.model.protocol.ties, result.data.limit) == ("half", 1)
    assert "overall[chat]" in result.main.model.metrics


@pytest.mark.parametrize(
    "lines",
    [
        [{"chosen_score": 2, "rejected_score": 1}, {"chosen_score": 1, "rejected_score": 1}],
        [{"row": 1, "scores": [1, 1]}, {"row": 0, "id": "0", "scores": [2.0, 1.0]}],
        [{"row": 0, "correct": [2], "rejected": [1]}, {"row": 1, "correct": [1], "rejected": [1]}],
        [{"id": "0", "scores": [3, 2]}, {"id": "1", "scores": [4, 4]}],
    ],
)
def test_scores_made_elsewhere_have_three_forms(lines, tmp_path):
    path = tmp_path / "scores.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [record.margin for record in read_scores(path, plain(2)).records] == [1.0, 0.0]


def test_missing_and_broken_scores_fail_their_row_and_no_other(tmp_path):
    path = tmp_path / "scores.jsonl"
    path.write_text('{"row": 0, "scores": [1, 0]}\n{"row": 1, "scores": [NaN, 0]}\n{"row": 2, "scores": [1, null]}\n')
    records = read_scores(path, plain(3)).records
    assert [record.failure for record in records] == [None, "not_finite", "missing_score"]


def test_scores_of_some_rows_are_refused_or_all_numbers_are_of_these_rows(tmp_path):
    path = tmp_path / "scores.jsonl"
    path.write_text("".join(json.dumps({"row": row, "scores": [1, 0]}) + "\n" for row in (2, 0)))
    with pytest.raises(DataError, match=r"scores of 2 of the 3 rows of vl_rewardbench; --partial"):
        run(path, "vl_rewardbench", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    result = run(path, "vl_rewardbench", tmp_path / "out", partial=True)
    assert (result.n, result.items, result.data.part_of) == (2, 2, 3)
    assert {name: summary.n for name, summary in result.main.summaries.items()} == dict.fromkeys(
        ["model", *(f"baseline:{name}" for name in BASELINES.names())], 2
    )
    assert [line["row"] for line in read_lines(tmp_path / "out" / "items.jsonl")] == [0, 2]
    whole = run(BASELINES.get("longer"), "vl_rewardbench", tmp_path / "whole")
    assert (whole.data.part_of, whole.data.sha256 == result.data.sha256) == (None, False)


def test_rows_are_found_by_ids_that_one_row_alone_has(tmp_path):
    path = tmp_path / "scores.jsonl"
    path.write_text('{"id": "3", "scores": [1, 0]}\n{"id": "0", "scores": [0, 1]}\n')
    opened, records = read_scores(path, plain(4), partial=True)
    assert [(record.row, record.outcome) for record in records] == [(0, "wrong"), (3, "correct")]
    assert opened.part_of == 4
    path.write_text('{"id": "3", "scores": [1, 0]}\n{"id": "3", "scores": [0, 1]}\n')
    with pytest.raises(DataError, match="'id' in each that one row alone has"):
        read_scores(path, plain(4), partial=True)


def test_a_number_that_no_float_holds_is_not_finite(tmp_path):
    path = tmp_path / "scores.jsonl"
    path.write_text(
        "".join(json.dumps({"scores": scores}) + "\n" for scores in ([10**400, 0], [1, -(10**400)], [1e308, 0]))
    )
    assert [record.failure for record in read_scores(path, plain(3)).records] == ["not_finite"] * 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"scores": [1, 0]}\n', "expected as many"),
        ('{"row": 0, "scores": [1, 0]}\n{"row": 0, "scores": [1, 0]}\n', "twice"),
        ('{"row": 9, "scores": [1, 0]}\n', "rows 0 to 1"),
        ('{"row": 0, "scores": [1, 0]}\n{"row": 1, "sco', "line 2 is not JSON"),
        ('{"row": 0, "id": "x", "scores": [1, 0]}\n', "benchmark has '0'"),
        ('{"row": 0, "scores": [1]}\n', "expected 1, 1"),
        ('{"row": 0, "scores": ["a", 0]}\n', "number or null"),
        ('{"row": 0, "reward": 1}\n', "expected 'correct'"),
        ('{"row": [0], "scores": [1, 0]}\n', r"row \[0\], but the benchmark"),
        ('{"row": 0, "scores": [1, 0], "failure": ["x"]}\n', r"failure \[\"x\"\]; expected a text"),
        ('{"row": 0, "correct": [1], "rejected": [0], "judged": []}\n', "verdicts of a judge"),
    ],
)
def test_scores_that_do_not_fit_are_refused(text, message, tmp_path):
    path = tmp_path / "scores.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_scores(path, plain(2))
    with pytest.raises(MissingFileError):
        read_scores(tmp_path / "absent.jsonl", plain(2))


def test_a_third_party_brings_a_benchmark_in_a_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN)
    (tmp_path / "data" / "mine").mkdir(parents=True)
    result = run(BASELINES.get("longer"), f"{path}:MINE", tmp_path / "out", root=tmp_path / "data")
    assert {name: group.value for name, group in result.main.model.groups.items()} == {"long": 0.0, "short": 1.0}
    with pytest.raises(DataError, match="expected a Benchmark"):
        open_benchmark(f"{path}:OTHER")
    with pytest.raises(UnknownNameError, match="Benchmarks in it: MINE"):
        open_benchmark(f"{path}:YOURS")
    with pytest.raises(MissingFileError):
        open_benchmark(f"{tmp_path / 'absent.py'}:MINE")


def test_an_installed_package_brings_a_benchmark(monkeypatch):
    class Entry:
        name = "theirs"

        def load(self):
            return BENCHMARKS.get("judgebench")

    monkeypatch.setattr("basereward.benchmarks.plugins.entry_points", lambda group: [Entry()])
    assert open_benchmark("theirs").name == "judgebench"
    with pytest.raises(UnknownNameError, match="theirs"):
        open_benchmark("their")


def test_unknown_names_list_close_ones():
    with pytest.raises(UnknownNameError, match="'vl_rewardbench'"):
        open_benchmark("vl_rewardbensh")
    with pytest.raises(UnknownNameError, match="r1_reward"):
        open_benchmark("vl_rewardbench").protocol("r1_rewards")


@pytest.mark.parametrize("name", ["multimodal_rewardbench2", "rmhackbench", "mr2bench", "omni_rewardbench"])
def test_every_protocol_of_a_benchmark_evaluates_a_baseline(name, tmp_path):
    for protocol in BENCHMARKS.get(name).protocols.names():
        result = run(BASELINES.get("longer"), name, tmp_path / protocol, protocol)
        assert result.main.model.failed == 0
        assert (
            result.main.model.metrics["accuracy"].n == result.n == len(read_lines(tmp_path / protocol / "items.jsonl"))
        )
        assert set(result.main.model.definitions) == set(result.main.model.metrics)


def test_a_label_that_is_a_tie_is_recorded_and_read_again(tmp_path):
    first = run(BASELINES.get("shorter"), "omni_rewardbench", tmp_path, "with_ties")
    lines = read_lines(tmp_path / "records.jsonl")
    assert [(line["id"], line.get("tied", False), line["outcome"]) for line in lines] == [
        ("o1", False, "correct"),
        ("o2", False, "wrong"),
        ("o3", True, "wrong"),
        ("o4", False, "wrong"),
    ]
    # All margins of a task are equal: with them all as ties the label tie is right, and no other.
    assert {name: own.value for name, own in first.main.model.groups.items()} == {
        "text_to_text": pytest.approx(1 / 3),
        "text_image_to_text": 0.0,
    }
    # No margin is the log odds of a tie.
    assert first.reliability.n == 3
    again = run(BASELINES.get("shorter"), "omni_rewardbench", tmp_path, "with_ties", resume=True)
    assert again == first
