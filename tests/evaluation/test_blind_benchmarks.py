"""A model beside itself without the right images, on items of a benchmark; and whose records are resumed."""

import json

import pytest

from basereward.benchmarks.benchmark import Benchmark, BenchmarkPart
from basereward.benchmarks.items import text_row
from basereward.data.digests import image_digest
from basereward.data.files import HubRepository
from basereward.data.outcomes import About, Failure, Score
from basereward.errors import ScoringError, WorkError
from basereward.scoring.baselines import BASELINES
from tests.evaluation.conftest import run


class Looking:
    """Right if the response names the image's hash; an image that is not there fails."""

    def __init__(self, calls=None, **identity):
        self.left = calls
        self.about = About("looking", sees_images=True, identity=identity or None)

    def score(self, groups):
        if self.left == 0:
            raise ScoringError("the machine went away")
        if self.left is not None:
            self.left -= 1
        return [[self._score(group, response.text) for response in group.responses] for group in groups]

    def _score(self, group, text):
        digests = [image_digest(image) for image in group.images]
        if None in digests:
            return Failure("image_missing", "gone")
        return Score(float(text in digests if digests else text == "right"))


@pytest.fixture
def shown(tmp_path):
    """``shown(images)``: a benchmark of one row for each list of names; a file is there unless it is called gone."""
    (tmp_path / "data" / "shown").mkdir(parents=True)

    def make(images):
        def read(opened):
            for number, names in enumerate(images):
                paths = [opened["test"].folder / name for name in names]
                for path in paths:
                    if path.name != "gone":
                        path.write_text(path.name)
                good = image_digest(paths[0]) or "right" if paths else "right"
                yield text_row(str(number), "s", f"What is {number}?", [good], ["nothing"], paths)

        return Benchmark("shown", "Shown", {"test": BenchmarkPart("shown", HubRepository("me/shown", "MIT"))}, read)

    return make


def accuracy(summary):
    return summary.metrics["accuracy"].value, summary.n


def test_a_model_that_looks_falls_without_the_right_images(shown, tmp_path):
    calls = []
    chosen = shown([["a"], ["b"], ["c"], []])
    watch = {"root": tmp_path / "data", "on_progress": lambda *count: calls.append(count)}
    result = run(Looking(), chosen, tmp_path / "out", **watch)
    evaluations = result.main.summaries
    assert list(evaluations)[:2] == ["model", "image_blind"]
    assert accuracy(evaluations["model"]) == (1.0, 4)
    # The row of text alone is still right.
    assert accuracy(evaluations["image_blind"]) == (0.25, 4)
    assert result.notes == []
    assert calls == [(4, 8), (8, 8)]


def test_items_that_cannot_be_exchanged_are_left_out_and_counted(shown, tmp_path):
    chosen = shown([["a"], ["b"], ["c", "d"], ["gone"]])
    result = run(Looking(), chosen, tmp_path / "out", root=tmp_path / "data")
    assert accuracy(result.main.references["image_blind"]) == (0.0, 2)
    notes = " ".join(result.notes)
    assert "1 items with a failed row are not in the image-blind accuracy" in notes
    assert "1 of 3 prompts with images or videos are not in the image-blind accuracy" in notes


@pytest.mark.parametrize("images", [[[], []], [["a"], []], [["gone"], []]])
def test_without_images_to_exchange_there_is_no_such_number(shown, tmp_path, images):
    result = run(Looking(), shown(images), tmp_path / "out", root=tmp_path / "data")
    assert "image_blind" not in result.main.references


def test_who_sees_nothing_is_not_tested_for_looking(shown, tmp_path):
    place = {"root": tmp_path / "data"}
    result = run(BASELINES.get("longer"), shown([["a"], ["b"]]), tmp_path / "out", **place)
    assert "image_blind" not in result.main.references
    result = run(Looking(), shown([["a"], ["b"]]), tmp_path / "quiet", **place, references=False)
    assert result.main.references == {}


def test_records_of_other_weights_are_not_resumed(shown, tmp_path, monkeypatch):
    monkeypatch.setattr("basereward.evaluation.asking.BATCH_ITEMS", 1)
    chosen = shown([["a"], ["b"], ["c"]])
    place = {"root": tmp_path / "data", "resume": True}
    with pytest.raises(ScoringError):
        run(Looking(calls=1, weights="old"), chosen, tmp_path / "out", **place)
    with pytest.raises(WorkError, match=r"weights\.weights 'old', not 'new'"):
        run(Looking(weights="new"), chosen, tmp_path / "out", **place)
    result = run(Looking(weights="old"), chosen, tmp_path / "out", **place)
    assert result.identity == {"weights": "old"}
    assert json.loads((tmp_path / "out" / "result.json").read_text())["seeds"] == {"sign_flips": 0, "image_blind": 0}
