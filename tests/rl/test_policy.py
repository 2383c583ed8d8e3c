"""Policies on external benchmarks: the calls, and numbers only from files whose layout is known."""

import json
import shlex
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from basereward.benchmarks.published.tables import published_cells
from basereward.cli.main import app
from basereward.errors import DataError, MissingExtraError, RewardError, UnknownNameError, WorkError
from basereward.reporting.policy_table import policy_lines, policy_table
from basereward.rl.policy.benchmarks import BENCHMARKS, TABLE, UNKNOWN_COLUMN, task_of
from basereward.rl.policy.command import (
    Installed,
    JudgeAddress,
    build_commands,
    check_installed,
    parse_judge,
    policy_model,
)
from basereward.rl.policy.results import read_results

JUDGE = JudgeAddress("http://localhost:8001/v1", "qwen")
ALL = list(BENCHMARKS)


def write(folder: Path, name: str, content: str | dict) -> Path:
    """Write a result file."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def write_vlmevalkit(folder: Path, name: str = "policy") -> Path:
    """The files of a run of VLMEvalKit in their layout, with invented numbers."""
    run = folder / name / "T20260801_Gabc"
    mcq = '"split","Overall","AR"\n"{}","{}","0.5"\n'
    write(run, f"{name}_MMBench_DEV_EN_V11_acc.csv", mcq.format("dev", "0.776"))
    write(run, f"{name}_MMStar_acc.csv", mcq.format("none", "0.551"))
    write(run, f"{name}_VStarBench_acc.csv", mcq.format("none", "0.743"))
    rating = {"Overall": 0.43, "Perception": {"OCR": {"x": 0.5, "Avg": 0.5}, "Avg": 0.46}, "Reasoning": {"Avg": 0.38}}
    write(run, f"{name}_MME-RealWorld-Lite_rating.json", rating)
    skills = '"Task&Skill","tot","prefetch","hit","prefetch_rate","acc"\n"Overall","1000","1","612","0.1","61.2"\n'
    write(run, f"{name}_MathVista_MINI_qwen_score.csv", skills)
    relative = '"split","Relative Score (main)","VLM Score","GPT4 Score"\n"overall","82.4","70.1","85.0"\n'
    write(run, f"{name}_LLaVABench_score.csv", relative + '"conv","80.0","70.0","80.0"\n')
    wins = '"Worse","Better","Tie","Much Better","Reward","Win Rate"\n"250","200","20","30","-3.0","0.46"\n'
    write(run, f"{name}_WildVision_qwen_score.csv", wins)
    return run


def write_lmms_eval(folder: Path, date: str = "20260801_120000", limit: int | None = None, **changes: object) -> Path:
    """The results of lmms-eval in their layout, with invented numbers."""
    results = {
        "mmstar": {"alias": "mmstar", "average,none": 0.551, "average_stderr,none": "N/A", "math,none": 0.4},
        "vstar_bench": {"alias": "vstar_bench", "vstar_overall_acc,none": 74.3},
        "mmerealworld_lite": {"alias": "mmerealworld_lite", "mme_realworld_score,none": 0.5},
        "mathvista_testmini_format": {"alias": "m", "llm_as_judge_eval,none": 61.2},
        "llava_in_the_wild": {"alias": "l", "gpt_eval_llava_all,none": 82.4, "gpt_eval_llava_conv,none": 80.0},
        "wildvision_0617": {"alias": "w", "win_rates,none": 46.0, "elo_scores,none": 44.0},
    } | changes
    samples = {name: {"original": 100, "effective": limit or 100} for name in results}
    answers = [("Perception", "A", "A"), ("Perception", "B", "C"), ("Reasoning", "D", "D")]
    lines = [
        {"mme_realworld_score": {"category": category, "answer": right, "pred_answer": given}}
        for category, right, given in answers
    ]
    write(
        folder / "policy", f"{date}_samples_mmerealworld_lite.jsonl", "".join(f"{json.dumps(own)}\n" for own in lines)
    )
    return write(folder / "policy", f"{date}_results.json", {"results": results, "n-samples": samples})


def test_every_column_of_the_table_but_the_unknown_one_is_measured() -> None:
    printed = {cell.column for cell in published_cells() if cell.table == TABLE}
    for program, without in (("vlmevalkit", set()), ("lmms-eval", {"MMBench v1.1 Overall"})):
        tasks = [own.tasks[program] for own in BENCHMARKS.values() if program in own.tasks]
        assert {column for task in tasks for column in task.columns} == printed - without - {UNKNOWN_COLUMN}
    [flag] = {cell.flag for cell in published_cells() if cell.column == UNKNOWN_COLUMN}
    assert "no benchmark" in flag


def test_vlmevalkit_is_called_once_without_and_once_with_the_judge(tmp_path: Path) -> None:
    model = policy_model("Qwen/Qwen2.5-VL-3B-Instruct", "vlmevalkit")
    ruled, judged = build_commands(model, "vlmevalkit", ALL, tmp_path, JUDGE, Installed("python3", tmp_path))
    assert ruled.arguments[-2:] == ("--judge", "exact_matching")
    assert judged.arguments[-4:] == ("--judge", "qwen", "--judge-base-url", "http://localhost:8001/v1")
    [config] = (json.loads(text) for text in judged.files.values())
    assert list(config["data"]) == ["LLaVABench", "WildVision", "MathVista_MINI"]
    assert config["model"]["Qwen2.5-VL-3B-Instruct"]["model_path"] == "Qwen/Qwen2.5-VL-3B-Instruct"
    assert shlex.split(ruled.line)[:5] == ["cd", str(tmp_path), "&&", "python3", "run.py"]


def test_lmms_eval_gets_its_judge_by_variables(tmp_path: Path) -> None:
    model = policy_model("me/policy", "lmms-eval")
    benchmarks = ["mmstar", "vstar", "llava_wild", "mathvista"]
    ruled, judged = build_commands(model, "lmms-eval", benchmarks, tmp_path, JUDGE)
    assert "--tasks mmstar,vstar_bench " in ruled.line
    assert ruled.variables == {}
    assert judged.variables == {"API_TYPE": "openai", "OPENAI_API_URL": JUDGE.url, "MODEL_VERSION": "qwen"}
    assert "KEY" not in judged.line
    [fixed] = build_commands(model, "lmms-eval", ["wildvision"], tmp_path, JUDGE._replace(model="gpt-4o"))
    assert fixed.variables["OPENAI_API_URL"] == f"{JUDGE.url}/chat/completions"


@pytest.mark.parametrize(
    ("program", "benchmark", "judge", "message"),
    [
        ("lmms-eval", "mmbench_v11", None, "--program vlmevalkit"),
        ("vlmevalkit", "mathvista", None, "needs a judge"),
        ("lmms-eval", "wildvision", JUDGE, "gpt-4o alone"),
        ("vlmevalkit", "wildvision", JUDGE._replace(model="a/b"), "without '/'"),
    ],
)
def test_what_a_program_cannot_measure_is_refused(program, benchmark, judge, message, tmp_path) -> None:
    with pytest.raises(RewardError, match=message):
        build_commands(policy_model("p", program), program, [benchmark], tmp_path, judge)


def test_names_and_judges_are_checked() -> None:
    with pytest.raises(UnknownNameError, match="mathvista"):
        task_of("mathvist", "vlmevalkit")
    assert parse_judge("judge:http://h:1/v1/#a/b") == ("http://h:1/v1", "a/b")
    with pytest.raises(RewardError, match="judge:http"):
        parse_judge("judge:runs/folder")
    with pytest.raises(RewardError, match="another name"):
        policy_model("a,b=c", "lmms-eval")


def test_programs_that_are_not_there_are_found_out_first(tmp_path: Path) -> None:
    with pytest.raises(MissingExtraError, match="--home"):
        check_installed("vlmevalkit", Installed())
    with pytest.raises(MissingExtraError, match="lmms_eval"):
        check_installed("lmms-eval", Installed(sys.executable))
    with pytest.raises(MissingExtraError, match="cannot be run"):
        check_installed("lmms-eval", Installed(str(tmp_path / "none")))


EXPECTED = {
    "MMBench v1.1 Overall": 77.6,
    "MME-RealWorld Perception": 46.0,
    "MME-RealWorld Reasoning": 38.0,
    "MMStar Overall": 55.1,
    "Vstar Overall": 74.3,
    "LLaVA-Wild Score": 82.4,
    "WildVision Win Rate": 46.0,
    "MathVista Acc": 61.2,
}


def test_results_of_vlmevalkit_become_percentages(tmp_path: Path) -> None:
    write_vlmevalkit(tmp_path)
    found = read_results("mine", "policy", "vlmevalkit", tmp_path, ALL)
    assert {score.column: score.value for score in found.scores} == pytest.approx(EXPECTED)
    assert found.missing == {}
    by_column = {score.column: score for score in found.scores}
    assert (by_column["MathVista Acc"].items, by_column["MathVista Acc"].judge) == (1000, "qwen")
    assert by_column["WildVision Win Rate"].items == 500
    assert "split" in by_column["MMBench v1.1 Overall"].notes[0]


def test_results_of_lmms_eval_become_percentages(tmp_path: Path) -> None:
    write_lmms_eval(tmp_path, limit=20)
    found = read_results("mine", "policy", "lmms-eval", tmp_path, ALL)
    expected = {**EXPECTED, "MME-RealWorld Perception": 50.0, "MME-RealWorld Reasoning": 100.0}
    del expected["MMBench v1.1 Overall"]
    assert {score.column: score.value for score in found.scores} == pytest.approx(expected)
    assert found.missing == {"mmbench_v11": "lmms-eval does not have it"}
    assert all("20 of 100 items" in score.notes for score in found.scores)


def test_the_newest_results_that_have_a_task_count(tmp_path: Path) -> None:
    write_lmms_eval(tmp_path, "20260801_120000")
    write(
        tmp_path / "policy",
        "20260901_120000_results.json",
        {"results": {"mmstar": {"average,none": 0.6}}, "n-samples": {}},
    )
    found = read_results("mine", "policy", "lmms-eval", tmp_path, ["mmstar", "vstar"])
    assert [score.value for score in found.scores] == pytest.approx([60.0, 74.3])


def test_failed_judgements_make_no_number(tmp_path: Path) -> None:
    write_lmms_eval(tmp_path, mathvista_testmini_format={"llm_as_judge_eval,none": None})
    scores = [{"gpt_eval_llava_all": {"scores": own}} for own in ([8, 7], [-1, -1])]
    lines = "".join(json.dumps(own) + "\n" for own in scores)
    write(tmp_path / "policy", "20260801_120000_samples_llava_in_the_wild.jsonl", lines)
    found = read_results("mine", "policy", "lmms-eval", tmp_path, ["llava_wild", "mathvista"])
    assert found.scores == ()
    assert found.missing["llava_wild"].startswith("1 of its judgements failed")
    assert found.missing["mathvista"].startswith("the program gave none")


def test_categories_need_the_samples(tmp_path: Path) -> None:
    write_lmms_eval(tmp_path)
    next(tmp_path.rglob("*.jsonl")).unlink()
    found = read_results("mine", "policy", "lmms-eval", tmp_path, ["mme_realworld_lite"])
    assert "--log_samples" in found.missing["mme_realworld_lite"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("policy_MMStar_acc.csv", "split,Total\nnone,0.5\n", "found the columns split, Total; expected Overall"),
        ("policy_MMStar_acc.csv", "split,Overall\nnone,55.1\n", "a number from 0 to 1"),
        ("policy_MMStar_acc.csv", "split,Overall\ndev,0.5\ntest,0.5\n", "splits dev, test"),
    ],
)
def test_another_layout_of_vlmevalkit_is_named(name, content, message, tmp_path) -> None:
    write(tmp_path, name, content)
    with pytest.raises(DataError, match=message):
        read_results("mine", "policy", "vlmevalkit", tmp_path, ["mmstar"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"scores": {}}, "expected results of tasks"),
        ({"results": {"mmstar": {"acc,none": 0.5}}, "n-samples": {}}, "found none for the metric 'average'"),
        ({"results": {"mmstar": {"average,none": 0.5, "average,other": 0.4}}}, "average,none, average,other"),
        ({"results": {"mmstar": {"average,none": "N/A"}}}, "found 'N/A'"),
    ],
)
def test_another_layout_of_lmms_eval_is_named(content, message, tmp_path) -> None:
    write(tmp_path, "x_results.json", content)
    with pytest.raises(DataError, match=message):
        read_results("mine", "policy", "lmms-eval", tmp_path, ["mmstar"])


def test_of_several_runs_the_linked_one_counts_and_of_several_judges_the_named_one(tmp_path: Path) -> None:
    first = write_vlmevalkit(tmp_path)
    other = write(tmp_path / "policy" / "T20260901", "policy_MMStar_acc.csv", "split,Overall\nnone,0.6\n")
    with pytest.raises(DataError, match="2 files for MMStar"):
        read_results("mine", "policy", "vlmevalkit", tmp_path, ["mmstar"])
    (tmp_path / "policy" / other.name).symlink_to(other)
    [score] = read_results("mine", "policy", "vlmevalkit", tmp_path, ["mmstar"]).scores
    assert score.value == 60.0
    better = '"Better","Win Rate"\n"9","0.9"\n'
    write(first, "policy_WildVision_other_score.csv", better)
    with pytest.raises(DataError, match="--judge"):
        read_results("mine", "policy", "vlmevalkit", tmp_path, ["wildvision"])
    [score] = read_results("mine", "policy", "vlmevalkit", tmp_path, ["wildvision"], judge="other").scores
    assert score.value == 90.0


def test_the_table_has_the_paper_beside_and_says_what_is_unknown(tmp_path: Path) -> None:
    write_vlmevalkit(tmp_path)
    found = read_results("mine", "policy", "vlmevalkit", tmp_path, ALL)
    table = policy_table(found)
    assert table.rows[0][:3] == ("mine", "-", "77.6")
    assert table.rows[-1] == (
        *("RL with BaseReward+Rule-Base (paper)", "47.5", "78.6", "48.3", "39.4"),
        *("56.9", "75.4", "85.0", "54.0", "64.3"),
    )
    lines = policy_lines(found)
    assert "WildVision Win Rate, MathVista Acc: judged by qwen" in lines
    assert lines[-1].startswith("Hallucination Overall: unknown")


# Stands for VLMEvalKit: writes the file that its argument names.
PROGRAM = """
import json, pathlib, sys
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
[name] = json.loads(pathlib.Path(options["--config"]).read_text())["model"]
place = pathlib.Path(options["--work-dir"]) / name
place.mkdir(parents=True)
(place / f"{name}_MMStar_acc.csv").write_text("split,Overall\\nnone,0.5\\n")
print("chatter")
"""


def test_the_command_runs_the_program_and_reads_what_it_wrote(tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text(PROGRAM)
    policy = tmp_path / "policy"
    write(policy, "config.json", "{}")
    out = tmp_path / "out"
    where = ["--home", str(tmp_path), "--python", sys.executable, "--out", str(out)]
    call = ["rl", "eval", str(policy), "--bench", "mmstar", *where, "--run", "--json"]
    ended = CliRunner().invoke(app, call)
    assert ended.exit_code == 0, ended.output
    found = json.loads((out / "policy-vlmevalkit.json").read_text())
    assert [score["value"] for score in found["scores"]] == [50.0]
    # The folder holds results of this policy; other weights under its name do not mix with them.
    write(policy, "config.json", '{"changed": 1}')
    for again in (call, [own for own in call if own != "--run"]):
        assert isinstance(CliRunner().invoke(app, again).exception, WorkError)


def test_without_run_the_calls_are_shown(tmp_path: Path) -> None:
    ended = CliRunner().invoke(app, ["rl", "eval", "me/policy", "--program", "lmms-eval", "--out", str(tmp_path)])
    assert ended.exit_code == 0
    assert "lmms_eval --model qwen2_5_vl --model_args pretrained=me/policy" in ended.stderr
    assert "LLaVA-Wild: missing" in ended.stdout
