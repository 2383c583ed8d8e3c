"""Duplicates: which rows repeat an earlier one, and which only seem to."""

import random

import numpy as np
import pytest

from basereward.curation.duplicates import exact_duplicates, near_duplicates
from basereward.curation.fingerprints.features import compute_features
from basereward.data.storage import read_rows, write_rows

RNG = random.Random(0)
VOCABULARY = [f"word{number}" for number in range(20_000)]


def draw(words: int) -> str:
    return " ".join(RNG.choices(VOCABULARY, k=words))


def edit(text: str, share: float) -> str:
    words = text.split()
    places = RNG.sample(range(len(words)), round(share * len(words)))
    return " ".join(RNG.choice(VOCABULARY) if place in places else word for place, word in enumerate(words))


def find(tmp_path, pairs: list[tuple[str, str, str]]):
    path = tmp_path / "pairs.parquet"
    write_rows([dict(zip(("prompt", "chosen", "rejected"), pair, strict=True)) for pair in pairs], path)
    rows = read_rows(path)
    features = compute_features(rows)
    kept = np.flatnonzero(features.reason == 0)
    return exact_duplicates(features, kept), near_duplicates(features, kept, rows)


def test_normalised_repeats_are_found_and_name_the_first(tmp_path):
    pair = ("What is this?", "A red ball.", "A blue ball.")
    other = ("What is this?", "A red ball.", "A green ball.")
    exact, _ = find(tmp_path, [other, pair, ("WHAT is this", "a red -- ball", "A blue, ball"), pair, other])
    assert exact.rows.tolist() == [2, 3, 4]
    assert exact.originals.tolist() == [1, 1, 0]


def test_planted_edits_are_found_with_recall_and_precision(tmp_path):
    originals = [(draw(60), draw(80), draw(80)) for _ in range(400)]
    edited = [tuple(edit(text, 0.1) for text in pair) for pair in originals]
    _, near = find(tmp_path, originals + edited)
    planted = set(zip(range(400, 800), range(400), strict=True))
    found = set(zip(near.rows.tolist(), near.originals.tolist(), strict=True))
    assert len(found & planted) >= 0.95 * len(planted)
    assert len(found & planted) >= 0.99 * len(found)


@pytest.mark.parametrize("shared", ["prompt and rejected", "responses", "swapped"])
def test_pairs_that_share_much_are_no_duplicates(tmp_path, shared: str):
    prompt, chosen, rejected = draw(300), draw(200), draw(300)
    others = {
        "prompt and rejected": (prompt, draw(100), rejected),
        "responses": (draw(100), chosen, rejected),
        "swapped": (prompt, rejected, chosen),
    }
    exact, near = find(tmp_path, [(prompt, chosen, rejected), others[shared]])
    assert not len(exact.rows)
    assert not len(near.rows)


def test_a_chain_of_edits_keeps_its_ends(tmp_path):
    first = (draw(100), draw(100), draw(100))
    second = tuple(edit(text, 0.06) for text in first)
    third = tuple(edit(text, 0.3) for text in second)
    _, near = find(tmp_path, [first, second, third])
    assert near.rows.tolist() == [1]


def test_the_same_text_on_another_picture_is_no_duplicate(tmp_path):
    rng = np.random.default_rng(0)
    from PIL import Image

    pixels = [rng.integers(0, 256, (8, 8, 3), dtype=np.uint8) for _ in range(2)]
    images = [Image.fromarray(block).resize((128, 128), Image.Resampling.BICUBIC) for block in pixels]
    names = []
    for number, image in enumerate([images[0], images[1], images[0].resize((96, 96))]):
        image.save(tmp_path / f"{number}.png")
        names.append(f"{number}.png")
    prompt = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": draw(30)}]}]
    pair = {"prompt": prompt, "chosen": draw(40), "rejected": draw(40)}
    write_rows([{**pair, "images": [str(tmp_path / name)]} for name in names], tmp_path / "seen.parquet")
    rows = read_rows(tmp_path / "seen.parquet")
    features = compute_features(rows)
    kept = np.arange(3)
    assert not len(exact_duplicates(features, kept).rows)
    near = near_duplicates(features, kept, rows)
    assert near.rows.tolist() == [2]
    assert near.originals.tolist() == [0]


def test_another_sign_is_another_question(tmp_path):
    less, greater = ("Is 3 < 4?", "Yes.", "No."), ("Is 3 > 4?", "Yes.", "No.")
    exact, near = find(tmp_path, [less, greater])
    assert not len(exact.rows)
    assert not len(near.rows)
