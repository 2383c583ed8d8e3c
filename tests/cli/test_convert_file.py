"""``basereward data convert FILE``: the format told, or the only one that the fields allow."""

import json

import pytest

from basereward.data.manifest import read_manifest


@pytest.fixture
def own(tmp_path):
    """``own.jsonl`` with two rankings, one of them a tie, ``pairs.jsonl`` with one pair, and two that give none."""
    rankings = [{"prompt": f"q{n}", "responses": ["a", "b", "c"], "scores": scores} for n, scores in enumerate(SCORES)]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, rankings)))
    pair = {"prompt": "q", "chosen": "a", "rejected": "b"}
    (tmp_path / "pairs.jsonl").write_text(json.dumps(pair))
    (tmp_path / "lost.jsonl").write_text(json.dumps({**pair, "image": "gone.png"}))
    (tmp_path / "notes.md").write_text("No records.")
    (tmp_path / "notes.jsonl").write_text(json.dumps({"note": "No pair."}))


SCORES = ([1, 2, 3], [2, 2, 2])


def test_a_file_is_converted_into_a_folder_of_its_name(command, own, tmp_path):
    ended = command("data", "convert", "pairs.jsonl")
    assert ended.code == 0, ended.err
    assert "pairs     1 of 1, 0 with images or videos" in ended.out
    assert read_manifest(tmp_path / "data" / "pairs").sources[0].repository == "pairs.jsonl (trl)"


@pytest.mark.parametrize(("form", "rows"), [("ranking", 3), ("ranking-adjacent", 2), ("ranking-best-worst", 1)])
def test_the_format_decides_what_a_file_gives(command, own, form, rows):
    told = command("data", "convert", "own.jsonl", "--format", form, "--json").json
    assert (told["rows"], told["drops"]["reasons"]["tie"]["count"]) == (rows, 1)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("data convert notes.jsonl", ["no format fits", "found the fields note", "ranking-adjacent", "--map"]),
        ("data convert pairs.jsonl --format rank", ["Unknown format 'rank'", "'ranking'"]),
        ("data convert pairs.jsonl --format swift", ["found the fields prompt, chosen, rejected", "expected messages"]),
        ("data convert none.jsonl", ["There is no file none.jsonl"]),
        ("data convert notes.md", ["notes.md", "found the suffix '.md'", ".parquet"]),
        ("data convert lost.jsonl", ["image_missing 1, the first: lost, record 0", "There is no gone.png"]),
        ("data convert shp --format trl", ["There is no file shp"]),
    ],
)
def test_what_cannot_be_told_is_one_line_that_says_what_to_do(command, own, line, words):
    ended = command(*line.split())
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.count("\n") == 1
    assert all(word in ended.err for word in words), ended.err


def test_a_file_says_what_it_was_recognised_as(command, own, tmp_path):
    told = command("data", "convert", "own.jsonl", "--json").json
    read_as = read_manifest(tmp_path / "data" / "own").steps[0]["read_as"]
    assert told["steps"][0]["read_as"] == read_as
    assert (read_as["format"], told["rows"]) == ("ranking", 3)
    assert "every two responses" in read_as["title"]


def test_columns_under_other_names_and_a_label_are_options(command, tmp_path):
    records = [{"q": "?", "one": "a", "two": "b", "better": side} for side in ("A>B", "B>A", "A=B", "C")]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, records)))
    options = ["--map", "prompt=q", "--choice", "better", "--a", "one", "--b", "two", "--json"]
    told = command("data", "convert", "own.jsonl", *options).json
    reasons = {name: found["count"] for name, found in told["drops"]["reasons"].items()}
    assert (told["rows"], reasons) == (2, {"tie": 1, "unknown_label": 1})
    assert told["steps"][0]["read_as"]["notes"] == ["better chooses between one and two", "prompt is the column q"]
    for wrong in (
        ["--map", "prompt"],
        ["--choice", "better", "--a", "one"],
        ["--choice", "better=1", "--a", "o", "--b", "t"],
    ):
        ended = command("data", "convert", "own.jsonl", *wrong)
        assert ended.code == 2
        assert "Traceback" not in ended.err


def test_a_file_has_no_data_root(command, own):
    ended = command("data", "convert", "pairs.jsonl", "--data-root", "raw")
    assert (ended.code, ended.out) == (2, "")
    assert "--data-root" in ended.err
