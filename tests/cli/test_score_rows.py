"""What ``score`` adds to rows: the best response, and paths of images that lead on from where the rows now lie."""

import json
from pathlib import Path

from basereward.cli.score import _default_target


def test_the_best_response_and_paths_from_the_output(command, tmp_path, picture):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    picture(56, 56, 1).save(tmp_path / "in" / "a.png")
    asked = {"images": ["a.png"], "prompt": "Which color?", "responses": ["red", "dark blue", "no"]}
    (tmp_path / "in" / "rows.jsonl").write_text(json.dumps(asked) + "\n")
    assert command("score", "baseline:longer", "in/rows.jsonl", "--out", "out/scored.jsonl").code == 0
    row = json.loads((tmp_path / "out" / "scored.jsonl").read_text())
    assert row["best"] == 1
    assert row["images"] == ["../in/a.png"]
    assert command("score", "baseline:longer", "in/rows.jsonl", "--out", "in/scored.jsonl").code == 0
    assert json.loads((tmp_path / "in" / "scored.jsonl").read_text())["images"] == ["a.png"]


def test_two_inputs_have_two_places_by_default():
    folder = Path("runs/score-baseline-longer")
    places = {
        "pairs.jsonl": folder / "pairs.jsonl",
        "pairs.json": folder / "pairs.json.jsonl",
        "pairs.jsonl.gz": folder / "pairs.jsonl.gz.jsonl",
        "pairs.parquet": folder / "pairs.parquet",
        "in/pairs.jsonl": folder / "in-pairs.jsonl",
        "owner/name": folder / "owner-name",
    }
    assert {source: _default_target("baseline:longer", source, is_bulk=False) for source in places} == places
