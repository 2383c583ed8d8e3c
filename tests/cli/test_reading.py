"""Columns under other names and a label that chooses: the same options for train, score, eval and convert."""

import json

import pytest

from basereward.data.manifest import read_manifest

RECORDS = [
    {"question": f"What is {n}?", "response_0": "a" * (n + 2), "response_1": "b", "better_response_id": n % 2}
    for n in range(20)
]
OPTIONS = ["--map", "prompt=question", "--choice", "better_response_id", "--a", "response_0", "--b", "response_1"]
KEYS = [
    "data.map={prompt: question}",
    "data.choice={label: better_response_id, a: response_0, b: response_1}",
]


@pytest.fixture
def labelled(tmp_path):
    """``labelled.jsonl``: in every other record the first and longer response is the better one."""
    path = tmp_path / "labelled.jsonl"
    path.write_text("\n".join(map(json.dumps, RECORDS)))
    return path


def test_evaluation(command, labelled, tmp_path):
    ended = command("eval", "baseline:longer", "--data", labelled, *OPTIONS, "--json", "--out", "e")
    assert ended.code == 0, ended.err
    [path] = (tmp_path / "e").rglob("result.json")
    result = json.loads(path.read_text())
    assert result["data"]["read_as"]["notes"][0] == "better_response_id chooses between response_0 and response_1"
    [protocol] = result["protocols"].values()
    assert protocol["model"]["metrics"]["accuracy"]["value"] == 0.5


def test_scoring(command, labelled, tmp_path):
    told = command("score", "baseline:longer", labelled, "--out", "out.jsonl", *OPTIONS, "--json").json
    assert (told["rows"], told["failed"], told["read_as"]["format"]) == (20, 0, "trl")
    scored = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    for number, row in enumerate(scored):
        lengths = (number + 2.0, 1.0)
        assert (row["chosen_score"], row["rejected_score"]) == (lengths if number % 2 == 0 else lengths[::-1])
        assert row["response_0"] == RECORDS[number]["response_0"]


def test_training(command, labelled, tiny):
    told = command("train", tiny.recipe, "--plan", "--json", f"data.train=[{labelled}]", *KEYS).json
    assert (told["data"], told["pairs"]) == ("measured", 20)
    ended = command("train", tiny.recipe, "--plan", f"data.train=[{labelled}]")
    assert ended.code == 1
    assert "--choice better_response_id --a response_0 --b response_1 --map prompt=question" in ended.err


def test_conversion(command, labelled, tmp_path):
    assert command("data", "convert", labelled, *OPTIONS).code == 0
    manifest = read_manifest(tmp_path / "data" / "labelled")
    assert (manifest.rows, manifest.steps[0]["read_as"]["format"]) == (20, "trl")


@pytest.mark.parametrize(
    "wrong",
    [
        "--map prompt",
        "--map =question",
        "--choice better --a one",
        "--a one --b two",
        "--choice better=1 --a one --b two",
    ],
)
def test_options_that_do_not_go_together_are_refused(command, labelled, wrong):
    for words in (f"data convert {labelled}", f"score baseline:longer {labelled} --out out.jsonl"):
        ended = command(*words.split(), *wrong.split())
        assert (ended.code, ended.out) == (2, "")
        assert "--map" in ended.err or "--choice" in ended.err
