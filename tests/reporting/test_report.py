"""The page of a run: complete, self-contained, and robust against what a folder lacks."""

import json
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from basereward.data.io import write_json
from basereward.errors import DataError, MissingExtraError, MissingFileError
from basereward.evaluation.pairs import read_pairs
from basereward.evaluation.runner import evaluate
from basereward.reporting.reports import write_report
from basereward.reporting.thumbnails import make_thumbnail
from basereward.scoring.baselines import BASELINES


def write_run_report(folder: Path) -> Path:
    [path] = write_report(folder)
    return path


def items_of(page: str) -> dict[str, Any]:
    """The items that are embedded in a page."""
    [text] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


def write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def make_pairs(folder: Path) -> Path:
    """Twelve pairs of two sources, all about one picture."""
    (folder / "data").mkdir(parents=True)
    Image.new("RGB", (640, 480), "teal").save(folder / "data" / "cat.png")
    prompt = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Which?"}]}]
    rows = [
        {
            "id": f"pair{index}",
            "source": "even" if index % 2 == 0 else "odd",
            "prompt": prompt,
            "images": ["cat.png"],
            "chosen": "x" * (index % 3 + 1),
            "rejected": "yy",
        }
        for index in range(12)
    ]
    write_lines(folder / "data" / "pairs.jsonl", rows)
    return folder / "data" / "pairs.jsonl"


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "my-run"
    evaluate(BASELINES.get("longer"), read_pairs(make_pairs(tmp_path)), folder / "evaluation")
    write_json(
        folder / "result.json", {"accuracy": 0.875, "image_blind_accuracy": 0.5125, "pairs": 3600, "seconds": 75}
    )
    (folder / "recipe.yaml").write_text("objective: bradley_terry\n")
    write_lines(
        folder / "metrics.jsonl",
        [{"step": step, "loss": 1 / step, "learning_rate": 1e-3} for step in range(1, 9)]
        + [{"step": 4, "eval_accuracy": 0.7}, {"step": 8, "eval_accuracy": 0.8, "accuracy": 0.9}],
    )
    return folder


def test_a_full_run_has_every_part(run_folder: Path) -> None:
    path = write_run_report(run_folder)
    page = path.read_text(encoding="utf-8")
    assert path == run_folder / "report.html"
    for text in ("my-run", "87.5 %", "51.2 %", "3,600", "1 min 15 s", "baseline:shorter", "objective: bradley_terry"):
        assert text in page
    assert re.findall("<h2>(.*)</h2>", page) == [
        *(
            "Training",
            "Metrics beside trivial scorers",
            "By group",
            "Margins",
            "Reliability",
            "Rows",
            "Also in result.json",
        )
    ]
    assert page.count("<svg") == 5
    embedded = items_of(page)
    items = embedded["items"]
    # Of each three responses one is shorter than the other side's, one as long, one longer.
    assert [item["outcome"] for item in items] == ["tie"] * 4 + ["wrong"] * 4 + ["correct"] * 4
    assert items[4]["answers"] == [["correct", "x", [1.0]], ["rejected", "yy", [2.0]]]
    # The image of all pairs is there once.
    assert [item["images"] for item in items] == [[0]] * 12
    assert [image[1:] for image in embedded["images"]] == [[256, 192]]


def test_the_page_is_self_contained(run_folder: Path) -> None:
    page = write_run_report(run_folder).read_text(encoding="utf-8")
    loaded = re.findall(r"""(?:(?:src|href)\s*=|url\()\s*["'(]?([^"')\s>]+)""", page)
    assert [address for address in loaded if not address.startswith(("data:image/", "#"))] == []
    assert "<link" not in page
    assert "@import" not in page


def test_text_of_a_data_set_is_never_markup(run_folder: Path) -> None:
    attack = "<script>alert('x')</script>"
    path = run_folder / "evaluation" / "items.jsonl"
    line = json.loads(path.read_text().splitlines()[0])
    write_lines(path, [{**line, "prompt": attack, "id": attack, "correct": [attack]}])
    page = write_run_report(run_folder).read_text(encoding="utf-8")
    assert attack not in page
    [item] = items_of(page)["items"]
    assert [item["id"], item["prompt"], item["answers"][0][1]] == [attack] * 3


@pytest.mark.parametrize("kept", [["metrics.jsonl"], ["result.json"], ["evaluation"], ["result.json", "recipe.yaml"]])
def test_missing_files_leave_their_part_out(run_folder: Path, kept: list[str]) -> None:
    for path in run_folder.iterdir():
        if path.name not in kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    page = next(path for path in write_report(run_folder) if path.parent == run_folder).read_text(encoding="utf-8")
    assert ("<h2>Training</h2>" in page) == ("metrics.jsonl" in kept)
    assert ("<h2>Benchmarks</h2>" in page) == (kept == ["evaluation"])
    assert "<h2>Rows</h2>" not in page


def test_sparse_results_are_reported(run_folder: Path) -> None:
    write_json(run_folder / "result.json", {"note": "stopped", "evaluations": {"model": {}}})
    write_lines(run_folder / "metrics.jsonl", [{"epoch": 1}, {"step": 1, "accuracy": 0.5}])
    shutil.rmtree(run_folder / "evaluation")
    page = write_run_report(run_folder).read_text(encoding="utf-8")
    assert "stopped" in page


def test_a_run_that_still_writes_can_be_reported(run_folder: Path) -> None:
    with (run_folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "lo')
    write_run_report(run_folder)


def test_nothing_to_report_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no-run"):
        write_run_report(tmp_path / "no-run")
    with pytest.raises(DataError, match=r"metrics\.jsonl"):
        write_run_report(tmp_path)
    (tmp_path / "result.json").write_text("[1]")
    with pytest.raises(DataError, match="JSON object"):
        write_run_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_thumbnails_are_small_and_keep_their_shape(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 900, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    Image.new("RGB", (56, 56)).save(tmp_path / "tiny.png")
    photo, tiny = make_thumbnail(tmp_path / "noise.png"), make_thumbnail(tmp_path / "tiny.png")
    assert photo is not None
    assert tiny is not None
    assert photo[1:] == (256, 85)
    assert photo.address.startswith("data:image/jpeg;base64,")
    assert tiny[1:] == (56, 56)
    assert tiny.address.startswith("data:image/png;base64,")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG broken")
    assert make_thumbnail(tmp_path / "broken.png") is None
    assert make_thumbnail(tmp_path) is None


def test_a_missing_extra_is_named(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=re.escape("pip install 'basereward[report]'")):
        write_run_report(run_folder)
