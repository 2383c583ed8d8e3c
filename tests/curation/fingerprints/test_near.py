"""Candidates for near texts: planted ones are found, the work stays linear."""

import random

import numpy as np

from basereward.curation.fingerprints.near import candidates_within
from basereward.curation.fingerprints.text import signatures

RNG = random.Random(0)
VOCABULARY = [f"word{number}" for number in range(20_000)]


def draw(words: int = 150) -> list[str]:
    return RNG.choices(VOCABULARY, k=words)


def edit(words: list[str], share: float) -> list[str]:
    places = set(RNG.sample(range(len(words)), round(share * len(words))))
    return [RNG.choice(VOCABULARY) if place in places else word for place, word in enumerate(words)]


def test_edits_of_a_tenth_of_the_words_are_found() -> None:
    originals = [draw() for _ in range(1000)]
    edited = [edit(words, 0.1) for words in originals]
    found = candidates_within(signatures([" ".join(words) for words in (*originals, *edited)]), 0.5)
    pairs = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    planted = {(place, place + 1000) for place in range(1000)}
    assert len(pairs & planted) > 950
    assert not pairs - planted


def test_many_equal_texts_are_linked_in_linear_number() -> None:
    repeated = signatures([" ".join(draw())] * 5000)
    found = candidates_within(repeated, 0.5)
    assert len(found.first) < 2 * 5000
    assert set(found.second.tolist()) == set(range(1, 5000))
    assert (found.first < found.second).all()


def test_a_set_is_searched_in_the_same_way_from_disk(tmp_path) -> None:
    made = signatures([" ".join(draw())] * 3 + [" ".join(draw())])
    np.save(tmp_path / "s.npy", made)
    mapped = np.load(tmp_path / "s.npy", mmap_mode="r")
    for own, other in zip(candidates_within(made, 0.5), candidates_within(mapped, 0.5), strict=True):
        assert own.tolist() == other.tolist()


def test_an_empty_set_has_no_candidates() -> None:
    none = signatures([])
    assert len(candidates_within(none, 0.5).first) == 0


def test_of_many_equal_texts_those_with_like_images_are_linked() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(1, 2**64, 2000, dtype=np.uint64)
    # Copies that differ in up to two bits anywhere, as re-encoded images do.
    flips = np.bitwise_or.reduce(np.uint64(1) << rng.integers(0, 64, (2000, 2), dtype=np.uint64), axis=1)
    shown = np.concatenate([pictures, pictures ^ flips])
    found = candidates_within(np.repeat(signatures(["yes or no"]), 4000, axis=0), 0.5, shown)
    pairs = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    planted = {(place, place + 2000) for place in range(2000)}
    assert len(pairs & planted) >= 0.99 * len(planted)
    assert not pairs - planted
