"""What commands print and write: tables for people, one JSON object for programs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from basereward import __version__
from basereward.configuration import run_folder
from basereward.evaluation.runs import read_evaluation

NOISE = ("Writing model shards", "Loading weights", "Warning", "Traceback")


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def is_tidy(text):
    """Whether stderr holds nothing but our own words."""
    return not any(noise in text for noise in NOISE)


def test_train_says_what_came_out(command, tiny, tmp_path):
    ended = command("train", tiny.recipe, "--out", "run")
    assert ended.code == 0
    assert "model    run/model" in ended.out
    assert "steps    2" in ended.out
    assert f"next     basereward eval run/model --data {tiny.recipe.parent}" in ended.out
    assert is_tidy(ended.err)
    assert {"recipe.yaml", "metrics.jsonl", "train.json", "model"} <= {
        path.name for path in (tmp_path / "run").iterdir()
    }


def test_train_prints_one_json_object(command, tiny):
    ended = command("train", tiny.recipe, "optimizer.max_steps=1", "--limit", 12, "--out", "run", "--json")
    assert (ended.json["folder"], ended.json["model"]) == ("run", "run/model")
    assert (ended.json["steps"], ended.json["pairs"]) == (1, 12)
    assert "train" in ended.err


def test_a_run_folder_is_a_recipe(command, tiny):
    ended = command("train", tiny.run, "optimizer.max_steps=1", "--json")
    assert (ended.json["folder"], ended.json["steps"]) == ("runs/tiny", 1)


def test_a_run_folder_that_goes_on_is_where_it_writes(command, tiny, tmp_path):
    assert command("train", tiny.recipe, "--out", "cells/first").code == 0
    # It is finished, and no other run begins.
    ended = command("train", "cells/first", "--resume")
    assert ended.code == 1
    assert "cells/first" in ended.err
    assert not (tmp_path / "runs").exists()
    assert (run_folder(None, "cells/first", "x", True), run_folder(None, "cells/first", "x", False)) == (
        Path("cells/first"),
        Path("runs/x"),
    )
    assert run_folder("out", "cells/first", "x", True) == Path("out")


def test_a_plan_with_its_data_here_is_measured(command, tiny, tmp_path):
    ended = command("train", tiny.recipe, "--plan", "--json")
    assert (ended.json["data"], ended.json["pairs"], ended.json["steps"]) == ("measured", 24, 2)
    shown = command("train", tiny.recipe, "--plan")
    assert "24 (measured; 0 dropped)" in shown.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("model", ["trained", "baseline:shorter"])
def test_score_writes_the_rows_with_scores(command, tiny, tmp_path, model):
    spec = str(tiny.model) if model == "trained" else model
    ended = command("score", spec, tiny.pairs, "--out", "out.jsonl", "--json")
    told = ended.json
    assert told.pop("read_as")["format"] == "trl"
    assert told == {"model": spec, "out": "out.jsonl", "rows": 24, "failed": 0}
    assert is_tidy(ended.err)
    scored = rows(tmp_path / "out.jsonl")
    assert [row["id"] for row in scored] == [row["id"] for row in rows(tiny.pairs)]
    assert len({row["chosen_score"] for row in scored}) > 1
    told = command("score", spec, tiny.pairs, "--out", "out.parquet").out.splitlines()
    assert told == ["24 rows, 0 with an error -> out.parquet", f"next     basereward eval {spec} --data {tiny.pairs}"]


def test_eval_prints_tables_and_where_the_result_is(command, tiny, tmp_path):
    ended = command("eval", tiny.model, "--data", tiny.pairs, "--out", "result")
    assert ended.code == 0
    assert all(name in ended.out for name in ("model", "image_blind", "baseline:longer", "95 % interval", "lab/"))
    name = f"{tiny.folder.name}-pairs"
    assert f"result/{name}/result.json" in ended.out
    assert len(read_evaluation(tmp_path / "result" / name).records) == 24
    assert is_tidy(ended.err)


def test_eval_prints_one_json_object(command, tiny, tmp_path):
    ended = command("eval", "baseline:longer", "--data", tiny.pairs, "--limit", 10, "--json")
    result = ended.json["results"][str(tiny.pairs)]
    assert (result["n"], result["scorer"]) == (10, "baseline:longer")
    folder = tmp_path / ended.json["folders"][str(tiny.pairs)]
    assert folder.parent == tmp_path / "runs" / "eval-baseline-longer"
    written = json.loads((folder / "result.json").read_text())["protocols"]["official"]["model"]
    assert written["metrics"] == result["metrics"]


def test_equally_named_data_sets_have_folders_of_their_own(command, tiny, tmp_path):
    other = tmp_path / tiny.folder.name / "pairs.jsonl"
    other.parent.mkdir()
    for row in rows(tiny.pairs)[:3]:
        row["images"] = [str(tiny.folder / name) for name in row["images"]]
        other.open("a").write(json.dumps(row) + "\n")
    ended = command("eval", "baseline:longer", "--data", tiny.pairs, "--data", other, "--json")
    folders = ended.json["folders"]
    assert folders[str(other)] == folders[str(tiny.pairs)] + "-2"
    assert [result["n"] for result in ended.json["results"].values()] == [24, 3]


def test_eval_of_failing_pairs_shows_dashes(command, tiny, tmp_path):
    long = [{"prompt": "?", "chosen": "yes " * 50, "rejected": "no " * 50}] * 2
    (tmp_path / "long.jsonl").write_text("".join(json.dumps(row) + "\n" for row in long))
    recipe = tmp_path / "short.yaml"
    recipe.write_text(tiny.recipe.read_text().replace("model: {", "model: {max_length: 60, "))
    assert command("train", recipe, "--out", "short", "optimizer.max_steps=1").code == 0
    ended = command("eval", "short/model", "--data", "long.jsonl")
    assert ended.code == 1
    assert "2 x too_long" in ended.out
    assert "All 2 rows of" in ended.err
    ended = command("eval", "short/model", "--data", "long.jsonl", "--resume", "--json")
    assert ended.code == 1
    assert ended.json["results"]["long.jsonl"]["coverage"] == 0


def test_an_interrupted_eval_goes_on(command, tiny):
    from basereward.evaluation.store import Store

    add = Store.add

    def stop(store, records):
        add(store, records)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "add", stop)
        assert command("eval", "baseline:longer", "--data", tiny.pairs).code != 0
    there = ("--data", tiny.pairs, "--out", "runs/eval-baseline-longer", "--resume")
    assert "holds work with" in command("eval", "baseline:random", *there).err
    ended = command("eval", "baseline:longer", "--data", tiny.pairs, "--resume", "--json")
    assert ended.json["results"][str(tiny.pairs)]["n"] == 24


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_the_demo_in_miniature(command, monkeypatch, tmp_path, as_json):
    from basereward.lab import demo

    monkeypatch.setattr(demo, "TRAIN_PAIRS", 48)
    monkeypatch.setattr(demo, "TEST_PAIRS", 12)
    ended = command("demo", "--out", "d", "--steps", 1, *["--json"] * as_json)
    assert ended.code == 0
    assert "drawing 48 pairs" in ended.err
    assert is_tidy(ended.err)
    result = json.loads((tmp_path / "d" / "result.json").read_text())
    if as_json:
        assert ended.json == result
        return
    assert ended.out.split()[:2] == ["accuracy", f"{result['accuracy']:.3f}"]
    assert "page                  d/report.html" in ended.out


def test_lab_and_report(command, tiny, tmp_path):
    ended = command("lab", "backbone", "--out", "bb", "--size", "test", "--family", "qwen3")
    assert (ended.code, ended.out.splitlines()[0], ended.err) == (0, "backbone bb", "")
    assert (tmp_path / "bb" / "model.safetensors").exists()
    ended = command("report", tiny.run)
    assert ended.out == f"{tiny.run / 'report.html'}\n"


def test_merge_makes_a_lora_checkpoint_whole(command, tiny, tmp_path):
    changes = ["model.lora.rank=2", "model.freeze_vision=true", "optimizer.learning_rate=0.1"]
    assert command("train", tiny.recipe, *changes, "--out", "lora").code == 0
    assert command("merge", "lora/model", "--out", "whole").out.startswith(
        "model    whole\nnext     basereward eval whole "
    )
    for name in ("lora/model", "whole"):
        assert command("score", name, tiny.pairs, "--out", f"{name.replace('/', '-')}.jsonl").code == 0
    adapted, whole = (rows(tmp_path / name) for name in ("lora-model.jsonl", "whole.jsonl"))
    for one, other in zip(adapted, whole, strict=True):
        assert one["chosen_score"] == pytest.approx(other["chosen_score"], rel=1e-3, abs=1e-5)


def test_the_module_runs_like_the_command():
    ended = subprocess.run(
        [sys.executable, "-m", "basereward", "--version"], capture_output=True, text=True, check=True
    )
    assert ended.stdout == f"{__version__}\n"
