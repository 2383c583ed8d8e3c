"""Descriptions say the same in many wordings, and their grade counts what is true."""

from random import Random

import pytest

from basereward.lab.descriptions import Facts, change_one, describe, draw_facts, grade, read_facts


def test_every_wording_says_the_facts():
    rng = Random(0)
    for _ in range(50):
        facts = draw_facts(rng)
        texts = {describe(facts, rng) for _ in range(20)}
        assert len(texts) == 3
        assert {read_facts(text) for text in texts} == {facts}


def test_one_changed_attribute_costs_a_third():
    rng = Random(1)
    for _ in range(50):
        facts = draw_facts(rng)
        truth, wrong = describe(facts, rng), describe(change_one(facts, rng), rng)
        assert grade(describe(facts, rng), truth) == 1
        assert grade(wrong, truth) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("A BIG red circle!", 1),
        ("circle", 1 / 3),
        ("a big red blue circle", 2 / 3),
        ("big small red blue circle square", 0),
        ("", 0),
        ("yes", 0),
    ],
)
def test_grade(response, expected):
    assert grade(response, "a big red circle") == pytest.approx(expected)


def test_a_text_without_facts_is_refused():
    with pytest.raises(ValueError, match="does not name one size"):
        read_facts("a big circle")
    assert Facts("big", "red", "circle") == read_facts("red circle, big")
