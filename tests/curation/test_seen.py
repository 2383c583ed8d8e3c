"""Training pairs are known again by their fingerprints, wherever and in whatever form they are stored."""

import json

import numpy as np
from PIL import Image

from basereward.benchmarks.pairs import PairItems
from basereward.curation.seen import count_seen, item_fingerprints, pack, pair_fingerprints, seen_rows
from basereward.data.pairs import load_pairs
from basereward.data.storage import read_rows, write_rows


def pair(number: int, image: str | None = None, **changes) -> dict:
    content = [{"type": "image"}] * bool(image) + [{"type": "text", "text": f"What is {number}?"}]
    shown = {"images": [image]} if image else {}
    prompt = [{"role": "user", "content": content}]
    return {"prompt": prompt, "chosen": f"Number {number}.", "rejected": "A letter.", **shown, **changes}


def test_a_pair_has_one_fingerprint_in_any_file_and_either_way_round(tmp_path):
    for name, shade in {"a.png": 30, "b.png": 200}.items():
        noise = np.random.default_rng(shade).integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((20 + shade, 20)).save(tmp_path / name)
    rows = [pair(0), pair(1, "a.png"), pair(1, "b.png"), pair(2, chosen="A letter.", rejected="Number 2.")]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    plain = read_rows(tmp_path / "rows.jsonl")
    write_rows([dict(row) for row in plain], tmp_path / "rows.parquet")
    found = pair_fingerprints(load_pairs([tmp_path / "rows.jsonl"]).pairs)
    assert len(set(found.tolist())) == 4
    assert pair_fingerprints(load_pairs([tmp_path / "rows.parquet"]).pairs).tolist() == found.tolist()
    (tmp_path / "turned.jsonl").write_text(json.dumps(pair(2)) + "\n")
    assert pair_fingerprints(load_pairs([tmp_path / "turned.jsonl"]).pairs).tolist() == found[3:].tolist()

    items = PairItems(load_pairs([tmp_path / "rows.parquet"]).pairs)
    assert [item_fingerprints(item)[row].tolist() for row, item in enumerate(items)] == [
        [one] for one in found.tolist()
    ]
    assert seen_rows(items, pack(found[[1, 3]])) == [1, 3]
    assert seen_rows(items, b"") == []
    assert count_seen(found, pack(found[:2])) == 2


def test_equal_words_about_images_of_one_size_are_different_pairs(tmp_path):
    for name, color in {"a.bmp": "red", "b.bmp": "blue"}.items():
        Image.new("RGB", (90, 90), color).save(tmp_path / name)
    assert (tmp_path / "a.bmp").stat().st_size == (tmp_path / "b.bmp").stat().st_size > 3 * 4096
    rows = [pair(1, "a.bmp"), pair(1, "b.bmp")]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert len(set(pair_fingerprints(load_pairs([tmp_path / "rows.jsonl"]).pairs).tolist())) == 2
