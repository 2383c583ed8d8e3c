"""Overlap of every kind is found, and what only looks like it is not."""

import random

import numpy as np
import pytest

from basereward.benchmarks.items import build_items, text_row
from basereward.curation.contamination.index import build_index
from basereward.curation.contamination.match import OWN_WORDS, find_matches
from basereward.curation.contamination.questions import LONG_WORDS
from basereward.curation.fingerprints.features import compute_features
from basereward.data.storage import read_rows, write_rows
from tests.curation.contamination.conftest import draw, encoded, item_row, pair

WORDS = [f"{first}{second}" for first in ("ba", "ko", "li", "mu", "ne", "ri", "to") for second in "bdfgklmnprstvz"]
QUESTION = "Which of the three boats in the harbour at dawn carries the red sail and two lanterns?"
LONG = " ".join(f"word{number}" for number in range(OWN_WORDS))


def sentence(generator: random.Random, words: int) -> str:
    return " ".join(generator.choice(WORDS) for _ in range(words))


def test_a_pair_of_the_benchmark_is_found_whatever_its_case_and_punctuation(match):
    bench = [item_row("1", QUESTION, "The first boat.", "None of them.")]
    assert match([pair(QUESTION.upper(), "the FIRST boat", "Other.")], b=bench) == {(0, 0): "same_pair"}
    assert match([pair(QUESTION, "Other.", "None of them!")], b=bench) == {(0, 0): "same_pair"}
    assert match([pair(QUESTION, "Other.", "And another.")], b=bench) == {(0, 0): "same_question"}


def test_a_question_with_a_few_edited_words_is_near(match):
    bench = [item_row("1", QUESTION, "The first.", "None.")]
    edited = QUESTION.replace("harbour", "bay")
    assert match([pair(edited, "A.", "B.")], b=bench) == {(0, 0): "near_question"}
    assert match([pair("Which boat?", "A.", "B.")], b=bench) == {}


def test_short_questions_are_not_near(match):
    bench = [item_row("1", "What is the capital of France", "Paris.", "Rome.")]
    assert len(bench[0].prompt[0].text.split()) < LONG_WORDS
    assert match([pair("What is the capital of Spain", "Madrid.", "Rome.")], b=bench) == {}


@pytest.mark.parametrize(
    "data", [encoded(draw(1)), encoded(draw(1), "JPEG", quality=60), encoded(draw(1).resize((300, 300)))]
)
def test_an_image_is_the_same_in_another_encoding_or_size(match, data):
    bench = [item_row("1", "What stands there?", "A pier.", "A bus.", [encoded(draw(1))])]
    asked = pair("What stands there?", "Nothing.", "Something.", [data])
    assert match([asked], b=bench) == {(0, 0): "same_question"}
    other = pair("How many birds are there?", "Nothing.", "Something.", [data])
    assert match([other], b=bench) == {(0, 0): "same_image_new_question"}


def test_a_near_question_about_the_same_image_is_near(match):
    bench = [item_row("1", QUESTION, "The first.", "None.", [encoded(draw(1))])]
    edited = pair(QUESTION.replace("dawn", "dusk"), "A.", "B.", [encoded(draw(1), "JPEG")])
    assert match([edited], b=bench) == {(0, 0): "near_question"}
    elsewhere = pair(QUESTION.replace("dawn", "dusk"), "A.", "B.", [encoded(draw(2))])
    assert match([elsewhere], b=bench) == {}


def test_a_generic_question_about_other_images_is_only_reported(match):
    generic = "Describe this image in detail."
    bench = [item_row(str(n), generic, f"Pier {n}.", f"Bus {n}.", [encoded(draw(n))]) for n in range(3)]
    pairs = [pair(generic, "A cat.", "A dog.", [encoded(draw(9))]), pair(generic, "A.", "B.")]
    assert set(match(pairs, b=bench).values()) == {"same_question_other_image"}


def test_a_short_response_needs_the_same_image_and_a_long_one_does_not(match):
    bench = [item_row("1", "Is it?", "Yes.", LONG, [encoded(draw(1))])]
    elsewhere = [encoded(draw(2))]
    assert match([pair("Is it?", "Yes.", "Maybe.", elsewhere)], b=bench) == {(0, 0): "same_question_other_image"}
    assert match([pair("Is it?", "Maybe.", LONG, elsewhere)], b=bench) == {(0, 0): "same_pair"}
    assert match([pair("Is it?", "Yes.", "Maybe.", [encoded(draw(1))])], b=bench) == {(0, 0): "same_pair"}


def test_flat_images_look_like_no_other(match):
    flat = draw(1).point(lambda value: 200)
    bench = [item_row("1", "What stands there?", "A pier.", "A bus.", [encoded(flat)])]
    white = encoded(flat.point(lambda value: 255))
    found = match([pair("What stands there?", "A.", "B.", [white])], b=bench)
    assert found == {(0, 0): "same_question_other_image"}


def test_images_that_cannot_be_read_are_no_match_and_no_absence(match):
    bench = [item_row("1", QUESTION, "A pier.", "A bus.", ["/nowhere/image.jpg"])]
    assert match([pair(QUESTION, "A.", "B.", [encoded(draw(1))])], b=bench) == {(0, 0): "same_question_other_image"}
    assert match([pair(QUESTION, "A.", "B.")], b=bench) == {(0, 0): "same_question_other_image"}


def test_rows_of_one_prompt_are_one_item(match):
    bench = [item_row("a", QUESTION, "One.", "Two."), item_row("b", QUESTION, "Three.", "Four.")]
    assert match([pair(QUESTION, "Four.", "Five.")], b=bench) == {(0, 0): "same_pair"}


def test_each_benchmark_is_matched_for_itself(match):
    first = [item_row("1", QUESTION, "The first.", "None.")]
    second = [item_row("2", "Why?", "So.", "No."), item_row("3", QUESTION, "The last.", "None of them.")]
    found = match([pair(QUESTION, "The last.", "B.")], first=first, second=second)
    assert found == {(0, 0): "same_question", (0, 1): "same_pair"}


def test_neither_order_nor_other_pairs_change_what_is_found(match):
    bench = [item_row(str(n), f"{QUESTION} {n}", f"Pier {n}.", f"Bus {n}.") for n in range(4)]
    pairs = [pair(f"{QUESTION} {n}", f"Pier {n}.", "B.") for n in range(3)]
    pairs += [pair(f"{QUESTION} {n}", "A.", "B.") for n in range(2, 6)]
    whole = match(pairs, b=bench)
    backwards = match(pairs[::-1], b=bench)
    assert {(len(pairs) - 1 - row, item): kind for (row, item), kind in backwards.items()} == whole
    for number, one in enumerate(pairs):
        alone = match([one], b=bench)
        assert alone == {(0, item): kind for (row, item), kind in whole.items() if row == number}


def test_only_the_kept_rows_are_matched(tmp_path):
    index = build_index({"b": build_items("b", [item_row("1", QUESTION, "A.", "B.")])})
    write_rows([pair(QUESTION, "A.", "B.")] * 3, tmp_path / "pairs.parquet")
    rows = read_rows(tmp_path / "pairs.parquet")
    found = find_matches(compute_features(rows), np.array([0, 2]), rows, index)
    assert found.pairs.tolist() == [0, 2]


def test_random_texts_share_nothing(match):
    generator = random.Random(0)
    texts = [[sentence(generator, size) for size in (30, 40, 40)] for _ in range(2000)]
    bench = [item_row(str(number), *own) for number, own in enumerate(texts[:1000])]
    assert match([pair(*own) for own in texts[1000:]], b=bench) == {}


def test_nothing_is_found_in_no_items(match):
    bench = [text_row("1", "s", "Why?", ["So."], ["No."])]
    assert match([pair("How?", "Thus.", "Not.")], b=bench) == {}
