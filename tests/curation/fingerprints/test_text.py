"""Hashes and signatures of texts: what is equal, what is near, and that nothing else matters."""

import random

import numpy as np
import pytest

from basereward.curation.fingerprints.text import (
    PERMUTATIONS,
    SHINGLE_WORDS,
    count_shared,
    hash_words,
    normalise,
    shingle_sets,
    signatures,
    text_hashes,
)

# What changes these makes every fingerprint stored on a disk worthless: change the version of the features with it.
GOLDEN = ["0x11b6356ea6a8b5c3", "0xea1828acb7903497", "0xb4b2797457a0a6e4", "0x258dfd3a1d0cfc9f"]
GOLDEN_SIGNATURE = [46733, 47651, 54449, 38045]
VOCABULARY = [f"word{number}" for number in range(5000)]


def jaccard(left, right) -> float:
    """The plain way."""
    return len({*left} & {*right}) / len({*left} | {*right})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello,  WORLD!\n", "hello world"),
        ("it's_fine", "it s fine"),
        ("Straße \ufb01ne \uff21\uff22", "strasse fine ab"),
        ("Été \u2014 déjà", "été déjà"),
        ("漢字 and かな", "漢 字 and か な"),
        ("x=3.5", "x = 3 5"),
        ("Is 3<4? **Yes**", "is 3 < 4 yes"),
        ("3\u00d74 \u2264 5\u20146+1", "3 \u00d7 4 \u2264 5 6 + 1"),
        ("?!", ""),
    ],
)
def test_normalised_texts_are_their_words(text: str, expected: str) -> None:
    assert normalise(text).split() == expected.split()


def test_hashes_are_the_same_on_every_machine_and_version() -> None:
    found = [hex(number) for number in text_hashes(["hello world", "漢字", "", "?!"]).tolist()]
    assert found == GOLDEN
    assert signatures(["one two three four"])[0, :4].tolist() == GOLDEN_SIGNATURE


def test_equal_words_are_equal_and_another_order_is_not() -> None:
    same, also, other, part = text_hashes(["A red-hot thing", "a RED hot\tthing.", "a hot red thing", "a red hot"])
    assert same == also
    assert len({int(same), int(other), int(part)}) == 3


def test_texts_without_words_differ_by_their_characters() -> None:
    plus, minus, again = text_hashes(["+", "-", " + "])
    assert plus == again != minus
    assert jaccard(*shingle_sets(["+", "-"])) == 0.0


def test_a_text_has_the_same_fingerprints_in_any_batch() -> None:
    rng = random.Random(0)
    texts = [" ".join(rng.choices(VOCABULARY, k=rng.randrange(0, 400))) for _ in range(3000)]
    together, order = text_hashes(texts), list(range(3000))
    rng.shuffle(order)
    assert (text_hashes([texts[place] for place in order]) == together[order]).all()
    assert (signatures([texts[7]]) == signatures(texts)[7]).all()
    assert len(set(together.tolist())) == len(set(texts))


def test_words_are_hashed_by_their_letters_alone() -> None:
    words = hash_words(["one two one", "two"])
    assert words.starts.tolist() == [0, 3, 4]
    one, two, again, alone = words.hashes
    assert one == again != two == alone


def test_agreement_of_signatures_estimates_jaccard_similarity() -> None:
    rng = random.Random(1)
    errors = []
    for _ in range(200):
        words = rng.choices(VOCABULARY, k=150)
        edited = [word if rng.random() > 0.1 else rng.choice(VOCABULARY) for word in words]
        texts = [" ".join(words), " ".join(edited)]
        left, right = signatures(texts)
        errors.append(np.mean(left == right) - jaccard(*shingle_sets(texts)))
    # A share of 128 places at about 0.57 has the standard deviation 0.044.
    assert abs(np.mean(errors)) < 4 * 0.044 / 200**0.5
    assert np.std(errors) == pytest.approx(0.044, rel=0.2)


def test_sets_are_compared_by_word_triples() -> None:
    left, right = shingle_sets(["a b c d", "b c d e"])
    assert len(left) == 4 - SHINGLE_WORDS + 1
    assert jaccard(left, right) == 1 / 3
    assert count_shared(left, shingle_sets(["x a b c d y"])[0]) == len(left)
    assert count_shared(shingle_sets([""])[0], left) == 0


def test_a_text_shorter_than_a_triple_is_one_shingle() -> None:
    short, same, longer = shingle_sets(["red ball", "Red ball!", "red ball here now"])
    assert jaccard(short, same) == 1.0
    assert jaccard(short, longer) == 0.0


def test_nothing_gives_empty_arrays() -> None:
    assert text_hashes([]).shape == (0,)
    assert signatures([]).shape == (0, PERMUTATIONS)
    assert signatures(["", ""]).shape == (2, PERMUTATIONS)
