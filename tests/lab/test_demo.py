"""The demo: in miniature what it writes, and (slowly) that it learns to look."""

import json
import sys

import pytest

from basereward.errors import MissingExtraError, TrainingError
from basereward.evaluation.runs import read_evaluation
from basereward.lab import demo


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A demo of three steps: its folder, what it returned and what it said."""
    folder, said = tmp_path_factory.mktemp("demo") / "run", []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "TRAIN_PAIRS", 96)
        patch.setattr(demo, "TEST_PAIRS", 24)
        result = demo.run_demo(folder, steps=3, say=said.append)
    return folder, result, said


def test_the_result_says_how_good_and_how_long(small):
    folder, result, _ = small
    assert json.loads((folder / "result.json").read_text()) == json.loads(json.dumps(result))
    assert result["pairs"] == 24
    assert 0 <= result["accuracy"] <= 1
    assert 0 <= result["image_blind_accuracy"] <= 1
    assert 0 < result["training"]["seconds"] < result["seconds"]
    assert result["training"]["steps"] == 3
    baselines = {"baseline:first", "baseline:longer", "baseline:random", "baseline:shorter"}
    assert set(result["evaluations"]) == {"model", "image_blind"} | baselines


def test_the_run_folder_is_complete(small):
    folder, _, said = small
    assert {"result.json", "metrics.jsonl", "recipe.yaml", "evaluation", "report.html", "scene.png"} <= {
        path.name for path in folder.iterdir()
    }
    assert (folder / "model" / "config.json").exists()
    assert len(read_evaluation(folder / "evaluation").records) == 24
    assert [text.split()[0] for text in said] == ["drawing", "training", "evaluating"]
    assert "96 pairs" in said[0]


def test_the_items_show_every_pair_with_its_picture(small):
    folder, _, _ = small
    lines = [json.loads(line) for line in (folder / "evaluation" / "items.jsonl").read_text().splitlines()]
    assert len(lines) == 24
    for line in lines:
        assert line["prompt"]
        assert line["correct"] != line["rejected"]
        assert all((folder / "evaluation" / name).is_file() for name in line["images"])
    assert any(line["images"] for line in lines)


def test_the_page_shows_the_accuracy(small):
    folder, result, _ = small
    assert f"{100 * result['accuracy']:.1f}" in (folder / "report.html").read_text()


def test_a_second_call_is_refused_before_anything_is_drawn(small, tmp_path):
    folder, _, _ = small
    before = (folder / "data" / "train.parquet").stat().st_mtime_ns
    with pytest.raises(TrainingError, match="already holds a run"):
        demo.run_demo(folder, steps=3)
    (tmp_path / "metrics.jsonl").touch()
    with pytest.raises(TrainingError, match="already holds a run"):
        demo.run_demo(tmp_path, steps=3)
    assert (folder / "data" / "train.parquet").stat().st_mtime_ns == before
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_the_recipe_is_the_papers_but_for_size(tmp_path):
    recipe = demo.demo_recipe("x", tmp_path, tmp_path / "a", tmp_path / "b", 600, 3)
    assert (recipe.model.head.layers, recipe.model.head.activation) == (2, "silu")
    assert (recipe.objective.zero_coefficient, recipe.objective.length_normalization) == (0.0, False)
    assert recipe.optimizer.epochs * demo.TRAIN_PAIRS >= 600 * recipe.optimizer.pairs_per_step
    assert (recipe.run.seed, recipe.hardware.use_cpu) == (3, True)


def test_what_the_page_needs_is_missed_before_the_training(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match="matplotlib"):
        demo.run_demo(tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_whole_demo_learns_to_look(tmp_path):
    result = demo.run_demo(tmp_path / "demo")
    assert result["accuracy"] >= 0.95
    assert result["image_blind_accuracy"] <= 0.60
