"""``basereward data split``: its tables, its JSON, and what it refuses."""

import json


def write_pairs(path, count=40):
    rows = [{"prompt": f"What is {n // 2}?", "chosen": f"It is {n}.", "rejected": "Nothing."} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_split_is_planned_written_and_trained_on(command, tmp_path):
    pairs = write_pairs(tmp_path / "pairs.jsonl")
    common = ("data", "split", pairs, "--test", 0.2, "--sample", 5, "--workers", 1)
    planned = command(*common, "--plan", "--json").json
    assert planned["parts"]["test"] == {"wanted": 8, "rows": 8, "components": 4}
    assert planned["parts"]["sample"]["rows"] == 4
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.jsonl"]
    ended = command(*common, "--out", "out")
    assert ended.code == 0
    assert "20 components, the largest of 2, 2, 2, 2, 2 pairs" in ended.out
    assert "sample has 4 pairs, the closest to 5" in ended.err
    done = command(*common, "--out", "out", "--json").json
    assert done.pop("folders") == {"test": "out/test", "sample": "out/sample", "train": "out/train"}
    assert planned.pop("folders") == {}
    assert {key: done[key] for key in planned} == planned
    assert command("data", "show", "out/test", "--json").json["rows"] == 8
    assert command("data", "show", "out").code


def test_what_cannot_be_split_is_an_error(command, tmp_path):
    pairs = write_pairs(tmp_path / "pairs.jsonl")
    for arguments, message in (
        (["--out", "out"], "nothing is held out"),
        (["--test", 1.5, "--out", "out"], "a share below 1 or a whole number"),
        (["--test", 40, "--out", "out"], "leave nothing to train on"),
        (["--test", 1, "--out", "out"], "test cannot have 1 pairs"),
        (["--test", 0.2, "--out", pairs], "holds something else"),
        (["--test", 0.2, "--out", "out", "--group", "none", "--seed", -1], "seed"),
    ):
        ended = command("data", "split", pairs, "--workers", 1, *arguments)
        assert ended.code, arguments
        assert message in " ".join(ended.err.split()), (message, ended.err)
    assert not list(tmp_path.glob("out*"))
