"""Lengths of pairs before training: those of encoding, known without opening an image, and kept."""

import json

import pytest
from PIL import Image

from basereward.data.pairs import load_pairs
from basereward.encoding.measuring import measure_lengths
from basereward.models.inputs import load_template


@pytest.fixture
def pairs(tmp_path, monkeypatch):
    monkeypatch.setenv("BASEREWARD_CACHE", str(tmp_path / "cache"))
    names = [f"{place}.png" for place in range(5)]
    for name in names:
        Image.new("RGB", (64, 96)).save(tmp_path / name)
    Image.new("RGB", (150, 70)).save(tmp_path / "wide.png")
    media = [
        {},
        {"images": ["wide.png", "0.png"]},
        {"videos": [{"frames": names, "fps": 2.0}, {"frames": names[:2], "fps": None}]},
        {"videos": [{"frames": names[:1], "fps": 1.0}]},
        {"images": ["wide.png"], "videos": [{"frames": names[:3], "fps": 0.1}]},
    ]
    rows = []
    for own in media:
        kinds = ["image"] * len(own.get("images", [])) + ["video"] * len(own.get("videos", []))
        parts = [*({"type": kind} for kind in kinds), {"type": "text", "text": "What happens?"}]
        prompt = [{"role": "user", "content": parts}]
        rows.append({"prompt": prompt, "chosen": "This.", "rejected": "Not that.", **own})
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_pairs([tmp_path / "rows.jsonl"])


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "internvl"])
def test_lengths_equal_encoding(family, pairs, backbone_of, image_tokens):
    template = load_template(backbone_of(family))
    lengths = measure_lengths(pairs, template)
    assert list(measure_lengths(pairs, template)) == list(lengths)
    # Qwen3-VL's processor reads no video of a single frame.
    assert lengths.usable.tolist() == ([0, 1, 2, 4] if family == "qwen3_vl" else [0, 1, 2, 3, 4])
    assert all(row.problem[0] == "video" for row in lengths if row.problem)
    for place in lengths.usable.tolist():
        (group,) = pairs.pairs[place].comparison().groups
        (length,) = lengths[place].groups
        encoded = template.encode(group)
        assert (length.prefix, length.suffixes) == (len(encoded.prefix), tuple(map(len, encoded.suffixes)))
        assert length.image_tokens == image_tokens(encoded.images)
