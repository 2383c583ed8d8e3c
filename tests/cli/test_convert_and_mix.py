"""From raw files to a training run on the command line: convert, mix, plan, and what they print."""

import json

import pytest
from PIL import Image

from basereward.data.files import HubRepository
from basereward.data.io import read_records
from basereward.data.manifest import read_manifest
from basereward.data.source import Source
from basereward.sources.registry import SOURCES

RECIPE = "name: both\ninputs: [{source: questions, cap: 12}, {source: facts}]\n"


def parse(record, files):
    yield {"prompt": record["q"], "chosen": record["good"], "rejected": record["bad"]}


def make_source(name):
    def records(files):
        return read_records(files.find("raw.jsonl")[0])

    repository = HubRepository(f"someone/{name}", "MIT")
    return Source(name, name, repository, "text", "kept", "Invented.", records, parse)


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """A data root with two sources of 20 records each, one of them bad."""
    names = ("facts", "questions")
    monkeypatch.setattr(SOURCES, "_entries", {name: make_source(name) for name in names})
    for name in names:
        records = [{"q": f"{name} {n}?", "good": "yes", "bad": "no" if n != 7 else "yes"} for n in range(20)]
        (tmp_path / "raw" / name).mkdir(parents=True)
        (tmp_path / "raw" / name / "raw.jsonl").write_text("\n".join(map(json.dumps, records)))
    (tmp_path / "both.yaml").write_text(RECIPE)
    return tmp_path / "raw"


def test_convert_and_mix_end_in_a_folder_to_train_on(command, raw, tiny, tmp_path):
    for name in ("facts", "questions"):
        ended = command("data", "convert", name, "--data-root", raw)
        assert ended.code == 0, ended.err
        assert "pairs     19 of 20, 0 with images or videos" in ended.out
        assert "dropped   equal_responses 1" in ended.out
    planned = command("data", "mix", "both.yaml", "--plan")
    assert "19" in planned.out
    assert not (tmp_path / "data" / "both").exists()
    mixed = command("data", "mix", "both.yaml")
    assert mixed.code == 0, mixed.err
    manifest = read_manifest(tmp_path / "data" / "both")
    assert f"31 pairs -> data/both  (manifest {manifest.sha256[:12]})" in mixed.out
    trained = command("train", tiny.recipe, "data.train=[data/both]", "--plan", "--json")
    assert trained.json["pairs"] == 31


def test_json_is_the_manifest_and_nothing_else(command, raw, tmp_path):
    converted = command("data", "convert", "facts", "--data-root", raw, "--out", "here", "--json").json
    manifest = read_manifest(tmp_path / "here")
    assert converted == {"folder": "here", "manifest": manifest.sha256, **manifest.model_dump(mode="json")}
    assert (converted["rows"], converted["drops"]["total"]) == (19, 1)
    command("data", "convert", "facts", "--data-root", raw)
    command("data", "convert", "questions", "--data-root", raw, "--limit", 5)
    plan = command("data", "mix", "both.yaml", "--plan", "--json").json
    assert (plan["name"], plan["rows"]) == ("both", 24)
    assert [count["taken"]["text"] for count in plan["counts"]] == [5, 19]
    mixed = command("data", "mix", "both.yaml", "seed=4", "--out", "there", "--json").json
    assert mixed["manifest"] == read_manifest(tmp_path / "there").sha256
    assert mixed["steps"][0]["recipe"]["seed"] == 4
    assert mixed["steps"][0]["counts"] == plan["counts"]


def test_a_file_is_converted_by_its_format(command, tmp_path):
    file = tmp_path / "mine.jsonl"
    messages = [{"role": "user", "content": "<image>What?"}]
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    record = {"messages": [*messages, {"role": "assistant", "content": "yes"}], "rejected_response": "no"}
    file.write_text(json.dumps({**record, "images": ["a.png"]}))
    converted = command("data", "convert", file, "--format", "swift", "--json").json
    assert (converted["folder"], converted["rows"], converted["multimodal"]) == ("data/mine", 1, 1)
    assert converted["sources"][0]["repository"] == "mine.jsonl (swift)"
    again = command("data", "convert", file, "--format", "swift", "--json")
    assert again.json["manifest"] == converted["manifest"]
    file.write_text(json.dumps({**record, "rejected_response": "never", "images": ["a.png"]}))
    ended = command("data", "convert", file, "--format", "swift")
    assert ended.code == 1
    assert "sha256:" in ended.err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("data convert fact --data-root raw", ["Unknown source 'fact'", "'facts'"]),
        ("data convert facts --data-root none", ["none/facts", "hf download someone/facts"]),
        ("data convert none.jsonl", ["There is no file none.jsonl"]),
        ("data convert raw/facts/raw.jsonl", ["q, good, bad", "--map"]),
        ("data convert raw/facts/raw.jsonl --format swif", ["'swif'", "'swift'"]),
        ("data mix none.yaml", ["none.yaml"]),
        ("data mix both.yaml", ["no converted questions in data/questions", "basereward data convert questions"]),
        ("data mix both.yaml sise=3", ["'sise'", "'size'"]),
    ],
)
def test_what_is_missing_is_one_line_that_says_what_to_do(command, raw, line, words):
    ended = command(*line.split())
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.count("\n") == 1
    assert all(word in ended.err for word in words), ended.err


def test_values_that_are_no_choice_are_refused(command, raw):
    for option in ("--images", "--check"):
        ended = command("data", "convert", "facts", "--data-root", raw, option, "some")
        assert (ended.code, ended.out) == (2, "")
        assert option in ended.err
    assert command("data", "convert", raw / "facts" / "raw.jsonl", "--data-root", raw).code == 2
