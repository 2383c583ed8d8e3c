"""Invented benchmark items and training pairs, and the matches between them."""

import io

import numpy as np
import pytest
from PIL import Image

from basereward.benchmarks.items import build_items, text_row
from basereward.curation.contamination.index import build_index
from basereward.curation.contamination.match import find_matches
from basereward.curation.fingerprints.features import compute_features
from basereward.data.overlap import KINDS
from basereward.data.storage import read_rows, write_rows


def draw(seed: int, size: int = 96) -> Image.Image:
    """A picture of large coloured fields, another one for each seed."""
    fields = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(fields).resize((size, size), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, form: str = "PNG", **options) -> bytes:
    """The bytes of a picture."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def pair(prompt: str, chosen: str, rejected: str, images=(), **extra) -> dict:
    """A training pair; its images stand before the text."""
    parts = [{"type": "image"} for _ in images] + [{"type": "text", "text": prompt}]
    seen = [{"bytes": data, "path": None} for data in images]
    return {
        "images": seen,
        "prompt": [{"role": "user", "content": parts}],
        "chosen": chosen,
        "rejected": rejected,
        **extra,
    }


def item_row(identity: str, prompt: str, correct: str, rejected: str, images=(), subset: str = "s"):
    """A row of a benchmark."""
    return text_row(identity, subset, prompt, [correct], [rejected], images)


@pytest.fixture(autouse=True)
def own_caches(tmp_path, monkeypatch):
    """Features and indices of each test are computed anew."""
    monkeypatch.setenv("BASEREWARD_CACHE", str(tmp_path / "features"))
    monkeypatch.setenv("BASEREWARD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def match(tmp_path):
    """Matches pairs with the items of benchmarks and returns ``{(row, benchmark row): kind}``."""

    def run(pairs, **benchmarks):
        index = build_index({name: build_items(name, rows) for name, rows in benchmarks.items()})
        path = tmp_path / f"pairs-{len(list(tmp_path.iterdir()))}.parquet"
        write_rows(pairs, path)
        rows = read_rows(path)
        features = compute_features(rows)
        assert not features.reason.any()
        found = find_matches(features, np.arange(len(rows)), rows, index)
        return {
            (pair, index.rows[item][0]): KINDS[kind]
            for pair, item, kind in zip(*(values.tolist() for values in found), strict=True)
        }

    return run
