"""``basereward eval --bench``: the summary on stdout, tables, several benchmarks, scores made elsewhere, errors."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FIXTURES = Path(__file__).parents[1] / "benchmarks" / "fixtures"
DATA = Path(__file__).parents[3] / "shared" / "data"
KEYS = [
    *("benchmark", "protocol", "n", "failed", "coverage", "ties", "metrics", "groups", "definitions", "notes"),
]


def test_json_is_exactly_the_summary(command):
    ended = command("eval", "baseline:longer", "--bench", "mm_rlhf_rewardbench", "--data-root", FIXTURES, "--json")
    assert (ended.code, list(ended.json)) == (0, KEYS)
    assert list(ended.json["metrics"]["acc_plus"]) == ["value", "n", "low", "high"]
    assert list(ended.json["groups"]["mcq"]) == ["value", "n", "low", "high"]
    assert "hf download yifanzhang114/MM-RLHF-RewardBench" in ended.err
    folder = Path("runs/eval-baseline-longer/mm_rlhf_rewardbench")
    assert sorted(path.name for path in folder.iterdir()) == ["items.jsonl", "records.jsonl", "result.json"]


@pytest.mark.skipif(not DATA.is_dir(), reason=f"there is no real data in {DATA}")
def test_the_real_benchmark_in_one_command(command):
    ended = command("eval", "baseline:longer", "--bench", "mm_rlhf_rewardbench", "--data-root", DATA, "--json")
    assert round(100 * ended.json["metrics"]["accuracy"]["value"], 2) == 71.76


def test_tables_show_intervals_baselines_and_definitions(command):
    ended = command("eval", "baseline:shorter", "--bench", "rm_bench", "--data-root", FIXTURES, "--out", "out")
    assert ended.code == 0
    for text in (
        "95 % interval",
        "baseline:random",
        "overall[chat+math+safety]",
        "coverage 100.00 %",
        "mean over domains",
    ):
        assert text in ended.out
    assert ended.out.splitlines()[-2:] == ["out/rm_bench/result.json", "next     basereward report out/rm_bench"]


def test_several_benchmarks_and_a_file_of_pairs_in_one_call(command, tmp_path):
    sides = {"prompt": "Why?", "chosen": "Because it is.", "rejected": "No."}
    (tmp_path / "pairs.jsonl").write_text(json.dumps(sides) + "\n")
    benches = ("--bench", "rm_bench", "--bench", "judgebench", "--data-root", FIXTURES)
    ended = command("eval", "baseline:longer", *benches, "--data", "pairs.jsonl", "--json", "--out", "out")
    assert list(ended.json["results"]) == ["pairs.jsonl", "rm_bench", "judgebench"]
    assert list(ended.json["results"]["judgebench"]) == KEYS
    assert all(Path(folder, "result.json").is_file() for folder in ended.json["folders"].values())


def test_protocol_and_ties_are_chosen(command):
    call = ("eval", "baseline:longer", "--bench", "vl_rewardbench", "--data-root", FIXTURES, "--json")
    chosen = command(*call, "--protocol", "r1_reward", "--ties", "half").json
    assert (chosen["protocol"]["name"], chosen["protocol"]["ties"]) == ("r1_reward", "half")
    # Of the fixture, the RLAIF-V row is general here and hallucination there.
    assert [group["n"] for group in chosen["groups"].values()] == [2, 1]
    assert [group["n"] for group in command(*call, "--resume").json["groups"].values()] == [1, 1, 1]


def test_scores_made_elsewhere_need_no_model(command, tmp_path):
    (tmp_path / "scores.json").write_text(json.dumps([{"scores": [1, 0]}, {"scores": [0, 1]}, {"scores": [2, 2]}]))
    ended = command("eval", "--from-scores", "scores.json", "--bench", "judgebench", "--data-root", FIXTURES, "--json")
    assert (ended.json["ties"], ended.json["metrics"]["accuracy"]["value"]) == (1, pytest.approx(1 / 3))
    assert Path("runs/eval-scores/judgebench/result.json").is_file()


def test_a_benchmark_from_a_file(command, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from basereward.data.files import HubRepository\n"
        "from basereward.benchmarks.items import text_row\n"
        "from basereward.benchmarks.benchmark import Benchmark, BenchmarkPart\n"
        "PARTS = {'test': BenchmarkPart('mine', HubRepository('me/mine', 'MIT'))}\n"
        "MINE = Benchmark('mine', 'Mine', PARTS, lambda opened: [text_row('1', 's', 'Why?', ['So.'], ['I say no.'])])\n"
    )
    (tmp_path / "root" / "mine").mkdir(parents=True)
    ended = command("eval", "baseline:longer", "--bench", "mine.py:MINE", "--data-root", "root", "--json")
    assert (ended.json["benchmark"], ended.json["metrics"]["accuracy"]["value"]) == ("mine", 0.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("baseline:longer",), "--bench or --data"),
        (("--bench", "rm_bench"), "MODEL or --from-scores"),
        (("--from-scores", "x.jsonl", "--bench", "rm_bench", "--bench", "judgebench"), "exactly one --bench"),
        (("baseline:longer", "--bench", "rm_bench", "--partial"), "--partial goes with --from-scores"),
        (("baseline:longer", "--bench", "rm_bensh"), "Did you mean 'rm_bench'"),
        (("baseline:longer", "--bench", "rm_bench", "--protocol", "pool"), "Did you mean 'pooled'"),
        (("baseline:longer", "--bench", "rm_bench", "--data-root", "nowhere"), "hf download THU-KEG/RM-Bench"),
        (("baseline:longer", "--bench", "rm_bench", "--data-root", str(FIXTURES), "--ties", "x"), "rule for ties"),
        (("baseline:longer", "--data", "x.jsonl", "--ties", "half"), "--ties goes with --bench"),
        (("absent-model", "--bench", "rm_bench", "--ties", "x"), "rule for ties"),
    ],
)
def test_errors_say_what_to_do(arguments, message, command):
    ended = command("eval", *arguments)
    assert ended.code != 0
    # A box around the message may break its lines.
    assert message in " ".join(ended.err.replace("│", " ").split())
    assert "Traceback" not in ended.err


def test_baselines_start_without_torch(tmp_path):
    arguments = ["eval", "baseline:longer", "--bench", "rm_bench", "--data-root", str(FIXTURES), "--json"]
    code = (
        f"import sys\nfrom basereward.cli.main import main\nsys.argv = ['basereward', *{arguments!r}]\nmain()\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(ended.stdout)["n"] == 3


def test_a_model_fails_item_by_item_where_images_are_missing(command, tiny):
    call = ("eval", tiny.model, "--bench", "vl_rewardbench", "--data-root", FIXTURES, "--out", "out", "--json")
    ended = command(*call)
    # Nothing at all could be scored.
    assert ended.code == 1
    assert "All 3 rows of vl_rewardbench failed" in ended.err
    assert (ended.json["failed"], ended.json["coverage"]) == (3, 0.0)
    result = json.loads(Path("out/vl_rewardbench/result.json").read_text())
    assert result["failures"] == {"image_missing": 3}


def test_a_model_scores_a_text_benchmark(command, tiny):
    ended = command("eval", tiny.model, "--bench", "rm_bench", "--data-root", FIXTURES, "--out", "out", "--json")
    assert (ended.json["n"], ended.json["failed"], ended.json["coverage"]) == (3, 0, 1.0)


def test_a_second_call_computes_nothing_again(command, tiny, monkeypatch):
    from basereward.models.reward_model import RewardModel

    call = ("eval", tiny.model, "--bench", "rm_bench", "--data-root", FIXTURES, "--json")
    first = command(*call, "--out", "first").json
    monkeypatch.setattr(RewardModel, "forward", lambda *args, **batch: pytest.fail("computed again"))
    assert command(*call, "--out", "again").json == first
    pooled = command(*call, "--out", "pooled", "--protocol", "pooled").json
    assert pooled["metrics"]["accuracy"] == first["metrics"]["accuracy"]
    records = [Path(out, "rm_bench", "records.jsonl").read_text() for out in ("first", "again")]
    assert records[0] == records[1]
    result = json.loads(Path("again/rm_bench/result.json").read_text())
    assert {"weights", "template", "dtype"} <= result["identity"].keys()
    assert {"basereward", "python", "torch", "transformers"} == result["versions"].keys()
    with pytest.raises(pytest.fail.Exception, match="computed again"):
        command(*call, "--out", "anew", "--no-cache")
    with pytest.raises(pytest.fail.Exception, match="computed again"):
        command(*call, "--out", "other", "--dtype", "bfloat16")
