"""Measurements of rows: sizes, text bytes, and problems that stay with their row."""

import json

import numpy as np
import pytest
from PIL import Image

from basereward.data.parts import WorkParts
from basereward.data.place_rows import open_rows
from basereward.data.survey import _pass, survey
from basereward.errors import DataError


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BASEREWARD_CACHE", str(tmp_path / "cache"))


def write_set(folder, images_of_rows):
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, images in enumerate(images_of_rows):
        parts = [{"type": "image"} for _ in images] + [{"type": "text", "text": "é?"}]
        row = {"id": str(number), "images": images, "prompt": [{"role": "user", "content": parts}]}
        lines.append(json.dumps({**row, "chosen": "yes", "rejected": "no"}))
    path = folder / "rows.jsonl"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def rows(tmp_path):
    for name, size in {"a": (8, 4), "b": (5, 7)}.items():
        Image.new("RGB", size).save(tmp_path / f"{name}.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (16, 8)).save(tmp_path / "turned.jpg", exif=exif)
    return open_rows(write_set(tmp_path, [["a.png"], [], ["b.png", "turned.jpg"], ["none.png"], ["b.png"]]))


def measure(rows, check="full", **options):
    return survey(rows, check, **options).sidecar


def same(one, other):
    arrays = ("image_sizes", "offsets", "video_sizes", "video_offsets", "digests", "shown")
    return one.problems == other.problems and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays
    )


def test_sizes_texts_and_problems_of_each_row(rows):
    sidecar = measure(rows)
    assert [sidecar.sizes(row) for row in range(5)] == [((8, 4),), (), ((5, 7), (8, 16)), (), ((5, 7),)]
    assert {row: problem.reason for row, problem in sidecar.problems.items()} == {3: "image_missing"}
    assert "none.png" in sidecar.problems[3].message


def test_header_and_full_agree_on_good_images(rows):
    full, header = measure(rows), measure(rows, "header")
    assert full.problems == header.problems
    assert full.image_sizes.tolist() == header.image_sizes.tolist()


def test_only_full_finds_truncated_files(tmp_path):
    path = tmp_path / "a.png"
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    path = write_set(tmp_path, [["a.png"]])
    cut = open_rows(path)
    assert measure(cut, "full").problems[0].reason == "image_unreadable"
    assert not measure(cut, "header").problems


def test_workers_do_not_change_the_result(tmp_path):
    names = [f"{width}.png" for width in range(2, 302)]
    for name in names:
        Image.new("L", (int(name[:-4]), 3)).save(tmp_path / name)
    path = write_set(tmp_path, [[name] for name in names])
    many = open_rows(path)
    seen = []
    parallel = measure(many, "header", workers=2, on_progress=seen.append)
    alone = _pass(open_rows(path), "header", 0, lambda rows: None, WorkParts(tmp_path / "other"))
    assert same(parallel, alone.sidecar)
    assert seen == [256, 300]


def test_selection_follows_the_rows(rows):
    sidecar = measure(rows)
    chosen = sidecar.select([4, 2, 3])
    assert [chosen.sizes(row) for row in range(3)] == [((5, 7),), ((5, 7), (8, 16)), ()]
    assert list(chosen.problems) == [2]
    assert len(sidecar.select([])) == 0
    same_rows, other_rows = sidecar.select(np.array([4, 2, 3])), sidecar.select([4, 2, 1])
    assert chosen.fingerprint == same_rows.fingerprint != other_rows.fingerprint


def test_repaired_rows_are_measured_again(rows, tmp_path):
    sidecar = measure(rows)
    Image.new("RGB", (9, 9)).save(tmp_path / "none.png")
    assert measure(rows).sizes(3) == ((9, 9),)
    assert not measure(rows).problems
    assert sidecar.problems


def test_unknown_check_is_refused(rows):
    with pytest.raises(DataError, match="'full' or 'header'"):
        measure(rows, "quick")
