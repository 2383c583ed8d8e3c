"""What goes wrong is one line on stderr and exit code 1: what was found, what was expected, what to do."""

import errno
import json
import os
import signal

import pytest

from basereward.cli import main as cli
from basereward.data import storage
from basereward.data.work import open_work
from basereward.errors import StoppedError
from basereward.scoring import files

PAIR = {"prompt": "?", "chosen": "yes", "rejected": "no"}
# Arguments with names of fixtures in braces, and words of the message.
CASES = {
    "missing recipe": ("train none.yaml", ["none.yaml", "YAML"]),
    "misspelt key": ("train {recipe} optimizer.learning_rte=1", ["learning_rte", "Did you mean 'learning_rate'"]),
    "no override": ("train {recipe} optimizer", ["key.sub=value"]),
    "wrong value": ("train {recipe} optimizer.epochs=0", ["optimizer.epochs", "0"]),
    "missing training data": (
        "train {recipe} data.train=[none.jsonl] --out new",
        ["none.jsonl does not exist", ".parquet"],
    ),
    "missing backbone": ("train {recipe} model.backbone=./none --out new", ["./none"]),
    "existing run": ("train {recipe} --out {run}", ["already holds a run", "--resume", "--out"]),
    "existing demo": ("demo --out {run}", ["already holds a run", "--out"]),
    "missing model": ("score ./none {pairs} --out out.jsonl", ["./none"]),
    "bare backbone": (
        "score {backbone} {pairs} --out out.jsonl",
        ["Qwen2_5_VLForConditionalGeneration", "basereward train"],
    ),
    "unknown baseline": ("score baseline:lnger {pairs} --out out.jsonl", ["lnger", "'longer'"]),
    "address": ("score http://127.0.0.1:9 {pairs} --out out.jsonl", ["cannot be asked", "basereward serve"]),
    "missing file": ("score baseline:longer none.jsonl --out out.jsonl", ["none.jsonl"]),
    "wrong format": ("score baseline:longer {pairs} --out out.csv", ["'out.csv'", ".jsonl or .parquet"]),
    "wrong dtype": ("score {model} {pairs} --out out.jsonl --dtype fp8", ["fp8", "bfloat16"]),
    "wrong device": ("score {model} {pairs} --out out.jsonl --device gpu", ["gpu", "--device cpu"]),
    "wrong backend": ("score {model} {pairs} --out out.jsonl --backend fast", ["fast", "split"]),
    "no folder to write into": ("score baseline:longer {pairs} --out {pairs}/out.jsonl", ["pairs.jsonl"]),
    "eval missing model": ("eval ./none --data {pairs}", ["./none"]),
    "eval bare backbone": ("eval {backbone} --data {pairs}", ["not a reward model"]),
    "eval missing data": ("eval baseline:longer --data none.jsonl", ["none.jsonl does not exist"]),
    "eval bad rows": ("eval baseline:longer --data bad.jsonl", ["None of 1 rows", "empty_response 1"]),
    "eval misspelt column": ("eval baseline:longer --data misspelt.jsonl", ["'imges'", "'images'"]),
    "merge whole": ("merge {model} --out new", ["no adapters"]),
    "merge into": ("merge {model} --out {run}", ["holds something else", "--out"]),
    "report": ("report none", ["none"]),
    "speed dtype": ("speed score --dtype fp8", ["fp8", "bfloat16"]),
    "speed device": ("speed train --device gpu", ["gpu", "cannot be used here"]),
    "speed backend": ("speed score --backends fast", ["fast", "plain"]),
    "speed preset": ("speed score --preset huge", ["huge", "tiny"]),
    "lab family": ("lab backbone --out new --family qwen9", ["qwen9", "qwen3"]),
    "lab size": ("lab backbone --out new --size huge", ["huge", "demo"]),
    "lab rejected": ("lab world --out new.jsonl --pairs 1 --reasons --rejected none", ["none", "listed"]),
    "lab reasons": ("lab world --out new.jsonl --pairs 9 --reasons --text-share 1", ["'refusal'", "critiques"]),
    "lab suffix": ("lab world --out new.txt --pairs 1", [".txt", ".jsonl"]),
}


@pytest.fixture
def names(tiny, vl_backbone, tmp_path):
    (tmp_path / "bad.jsonl").write_text(json.dumps({**PAIR, "chosen": ""}))
    (tmp_path / "misspelt.jsonl").write_text(json.dumps({**PAIR, "imges": []}))
    return {**tiny._asdict(), "backbone": vl_backbone}


CALLS = [(case, line, words) for case, (line, words) in CASES.items()]
CALLS += [
    (f"{case}, json", f"{line} --json", words)
    for case, line, words in CALLS
    if line.split()[0] in ("train", "score", "eval", "demo", "speed")
]


@pytest.mark.parametrize(("line", "words"), [call[1:] for call in CALLS], ids=[call[0] for call in CALLS])
def test_an_error_is_one_line(command, names, line, words):
    ended = command(*line.format(**names).split())
    assert ended.code == 1
    assert ended.out == ""
    assert ended.err.count("\n") == 1
    assert ended.err.startswith("error: ")
    assert all(word in ended.err for word in words), ended.err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("train", "name a recipe, or give --model and --data"),
        ("score baseline:longer", "Missing argument"),
        ("eval baseline:longer", "--data"),
        ("eval baseline:longer --data x --limit 0", "--limit"),
        ("tain", "No such command 'tain'"),
        ("demo --stps 3", "No such option"),
        ("lab world --pairs 1 --corrupted 0.5", "--corrupted goes with --reasons"),
        ("speed loader --workers two", "expected numbers by comma"),
    ],
)
def test_a_wrong_call_is_explained_with_code_two(command, line, words):
    ended = command(*line.split())
    assert (ended.code, ended.out) == (2, "")
    assert words in " ".join(ended.err.replace("│", " ").split())


def test_a_file_of_which_nothing_could_be_scored_ends_with_status_one_and_the_commonest_reason(command, tmp_path):
    rows = [{**PAIR, "chosen": ""}, {**PAIR, "prompt": [], "images": ["a.png"]}, {**PAIR, "chosen": ""}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ended = command("score", "baseline:longer", "in.jsonl", "--out", "out.jsonl", "--json")
    assert (ended.code, ended.out) == (1, "")
    assert "error: None of 3 rows could be scored; most often: empty_response: " in ended.err
    assert "(2 of empty_response)" in ended.err
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 3
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, PAIR]))
    assert command("score", "baseline:longer", "in.jsonl", "--out", "out.jsonl").code == 0
    (tmp_path / "in.jsonl").write_text("")
    assert command("score", "baseline:longer", "in.jsonl", "--out", "out.jsonl").code == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_command_with_its_status_and_frees_the_output(command, tmp_path, monkeypatch, number, status):
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(PAIR) + "\n" for _ in range(200)))
    score_rows, calls = files.score_rows, iter(range(9))

    def stop(*arguments):
        if next(calls) == 1:
            os.kill(os.getpid(), number)
        return score_rows(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(files, "score_rows", stop)
        ended = command("score", "baseline:longer", "in.jsonl", "--out", "out.jsonl")
    assert ended.code == status
    assert "Traceback" not in ended.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl.partial"]
    assert command("score", "baseline:longer", "in.jsonl", "--out", "out.jsonl").code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


def test_a_stopped_run_ends_with_the_status_of_its_signal_and_says_how_to_go_on(command, monkeypatch):
    def stopped(**options):
        raise StoppedError(signal.SIGTERM, "SIGTERM ended the run. Go on: basereward train x")

    monkeypatch.setattr(cli, "app", stopped)
    ended = command("train")
    assert (ended.code, ended.out) == (143, "")
    assert ended.err == "stopped: SIGTERM ended the run. Go on: basereward train x\n"


def test_nothing_is_left_behind_by_a_call_that_fails(command, tiny, tmp_path):
    for line in (
        "score ./none {pairs} --out out.jsonl",
        "eval ./none --data {pairs}",
        "score baseline:longer none.jsonl --out out.jsonl",
    ):
        command(*line.format(**tiny._asdict()).split())
    assert list(tmp_path.iterdir()) == []


def test_two_mistakes_are_two_lines(command, tiny):
    ended = command("train", tiny.recipe, "optimizer.learning_rte=1", "modl.backbone=x")
    assert [line.partition(" ")[0] for line in ended.err.splitlines()] == ["error:", "error:"]


def test_a_bug_of_ours_keeps_its_traceback(command, monkeypatch):
    def broken(**options):
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "app", broken)
    with pytest.raises(ZeroDivisionError):
        command("demo")


def test_what_must_be_set_before_torch_is_set(command, monkeypatch):
    seen = {}
    monkeypatch.setattr(cli, "app", lambda **options: seen.update(os.environ))
    command()
    assert (seen["OMP_WAIT_POLICY"], seen["TOKENIZERS_PARALLELISM"]) == ("PASSIVE", "false")


def test_a_world_that_another_call_draws_is_refused_and_a_full_disk_is_named(command, monkeypatch):
    with open_work("world.parquet"):
        ended = command("lab", "world", "--out", "world.parquet", "--pairs", 1)
    assert ended.code == 1
    assert "world.parquet is being written by process" in ended.err

    def fill(rows, path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(storage, "write_rows", fill)
    ended = command("lab", "world", "--out", "world.parquet", "--pairs", 1)
    assert ended.code == 1
    assert ended.err.startswith("error: The disk is full while ")
    assert ended.err.count("\n") == 1
