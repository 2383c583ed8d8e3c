"""The feature pass: what it says of rows, that it goes on where it stopped, and that workers change nothing."""

import dataclasses
import io
import json

import numpy as np
import pytest
from PIL import Image

from basereward.curation.fingerprints import features as module
from basereward.curation.fingerprints.features import REASONS, Features, compute_features
from basereward.curation.fingerprints.text import text_hashes
from basereward.data.storage import read_rows, write_rows


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BASEREWARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "CHUNK_ROWS", 4)


def png(shade: int) -> dict:
    buffer = io.BytesIO()
    Image.linear_gradient("L").point(lambda value: value ^ shade).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def row(prompt: str, chosen: str, rejected: str, images=(), **extra) -> dict:
    parts = [{"type": "image"} for _ in images] + [{"type": "text", "text": prompt}]
    return {
        "images": list(images),
        "prompt": [{"role": "user", "content": parts}],
        "chosen": chosen,
        "rejected": rejected,
        **extra,
    }


ROWS = [
    row("What is it?", "A cat.", "A dog.", [png(0)], source="a", scores=[4, 1]),
    row("what is it", "a cat", "a dog", [png(0)], source="b"),
    row("What is it?", "A cat.", "A dog.", [png(90)], source="a"),
    row("What is it?", "A cat.", "A dog.", source="a"),
    row("What is it?", "A dog.", "A cat.", source="a"),
    row("Why?", "", "Because.", source="a"),
    row("Why?", "So.", "Because.", [{"bytes": b"no image", "path": None}], source="b"),
    row("Why?", "So.", "Because.", source="c"),
    row("Where?", "Here.", "Over there.", source="c"),
]


@pytest.fixture
def rows(tmp_path):
    write_rows(ROWS[:6] + ROWS[7:], tmp_path / "rows.parquet")
    return read_rows(tmp_path / "rows.parquet")


def arrays(features: Features) -> dict[str, np.ndarray]:
    named = {field.name: getattr(features, field.name) for field in dataclasses.fields(features)}
    return {name: np.array(value) for name, value in named.items()}


def test_equal_content_has_equal_hashes(rows):
    found = compute_features(rows)
    assert [REASONS[code] for code in found.reason] == [None] * 5 + ["empty_response"] + [None] * 2
    assert found.content[0] == found.content[1]
    assert len(set(found.content[[0, 2, 3, 4]].tolist())) == 4
    assert found.prompt[0] == found.prompt[1] != found.prompt[2] != found.prompt[3]
    assert len(set(found.question[:5].tolist())) == 1
    assert found.question[0] == text_hashes(["What is it?"])[0]
    assert found.chosen[3] == found.rejected[4]
    assert found.lengths[7].tolist() == [6, 5, 11]
    assert found.scores[0].tolist() == [4, 1]
    assert np.isnan(found.scores[1:]).all()
    assert [found.sources[code] for code in found.source] == list("abaaaacc")
    assert found.images.tolist() == [1, 1, 1, 0, 0, 0, 0, 0]
    assert found.image[0] == found.image[1] != found.image[2]


def test_an_interrupted_pass_goes_on(rows, monkeypatch):
    whole = arrays(compute_features(rows))
    for path in (module.user_cache() / "features").rglob("*.npy"):
        path.unlink()
    fill, calls = module._fill_chunk, []

    def stop_after_one(*work):
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(work)
        return fill(*work)

    monkeypatch.setattr(module, "_fill_chunk", stop_after_one)
    with pytest.raises(KeyboardInterrupt):
        compute_features(rows)
    done = []
    monkeypatch.setattr(module, "_fill_chunk", lambda *work: done.append(work[-1]) or fill(*work))
    again = arrays(compute_features(rows))
    assert done == [1]
    assert all(np.array_equal(whole[name], again[name], equal_nan=name == "scores") for name in whole)


def test_workers_change_nothing(rows):
    alone = arrays(compute_features(rows))
    for path in (module.user_cache() / "features").rglob("*.npy"):
        path.unlink()
    shared = arrays(compute_features(rows, workers=2))
    assert all(np.array_equal(alone[name], shared[name], equal_nan=name == "scores") for name in alone)


def test_a_missing_image_is_looked_for_again(tmp_path):
    (tmp_path / "late.jsonl").write_text(json.dumps(row("What?", "This.", "That.", ["later.png"])))
    rows = read_rows(tmp_path / "late.jsonl")
    assert REASONS[compute_features(rows).reason[0]] == "image_missing"
    (tmp_path / "later.png").write_bytes(png(0)["bytes"])
    assert REASONS[compute_features(rows).reason[0]] is None


def test_progress_ends_at_all_rows(rows):
    seen = []
    compute_features(rows, on_progress=seen.append)
    assert seen == [4, 8]
