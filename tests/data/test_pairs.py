"""Pairs as they are read: images in files of their own are those that were measured."""

import json
from pathlib import Path

import pytest
from PIL import Image

from basereward.data.cache import user_cache
from basereward.data.pairs import load_pairs
from basereward.errors import DataError


def _write(folder: Path, images: int) -> Path:
    for number in range(images):
        Image.new("RGB", (32, 32), (number, 0, 0)).save(folder / f"{number}.png")
    row = {"prompt": "What is it?", "chosen": "Red.", "rejected": "Blue."}
    lines = [json.dumps({**row, "images": [f"{number}.png"]}) for number in range(images)]
    (folder / "pairs.jsonl").write_text("\n".join(lines) + "\n")
    return folder / "pairs.jsonl"


@pytest.mark.parametrize("check", ["full", "header"])
def test_an_image_file_that_changes_is_refused_until_it_is_looked_at_again(check, tmp_path):
    path = _write(tmp_path, images=2)
    load_pairs([path], check=check)
    Image.new("RGB", (640, 640)).save(tmp_path / "1.png")
    pairs = load_pairs([path], check=check).pairs
    assert pairs[0].images
    with pytest.raises(DataError, match=r"1\.png, of which one changed"):
        pairs[1]
    for kept in (user_cache() / "surveys").glob("*.npz"):
        kept.unlink()
    again = load_pairs([path], check=check)
    assert again.pairs[1].images
    assert again.sidecar.sizes(1)[0].width == 640


def test_an_image_file_that_went_is_refused(tmp_path):
    path = _write(tmp_path, images=1)
    pairs = load_pairs([path]).pairs
    (tmp_path / "0.png").unlink()
    with pytest.raises(DataError, match="changed or went"):
        pairs[0]
