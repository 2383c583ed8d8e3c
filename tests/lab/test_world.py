"""The world: what is true is in the image alone, and the knobs do what they say."""

from collections import Counter, defaultdict
from random import Random

import numpy as np
import pytest

from basereward.data.parsing import check_columns, parse_pair
from basereward.data.schema import PAIR_KEYS
from basereward.errors import RecipeError, UnknownNameError
from basereward.lab.drawing import COLORS, Thing, draw_things
from basereward.lab.questions import AXES, KINDS, draw_item
from basereward.lab.world import (
    QUICK_KINDS,
    WorldConfig,
    draw_pairs,
    draw_prompts,
    draw_rows,
    odd_answer,
    world_texts,
)

IMAGE_KINDS = tuple(kind for kind in KINDS.names() if KINDS.get(kind).has_image)


def texts(pair):
    return pair.prompt[0].text, pair.chosen[0].text, pair.rejected[0].text


def table_accuracy(train, test):
    """Accuracy of the best text-only guess: how often an answer was chosen for this question and these two."""
    won = Counter()
    for question, chosen, rejected in map(texts, train):
        won[question, chosen] += 1
        won[question, rejected] -= 1
    margins = [won[question, chosen] - won[question, rejected] for question, chosen, rejected in map(texts, test)]
    return float(np.mean([0.5 + 0.5 * np.sign(margin) for margin in margins]))


@pytest.mark.parametrize("kind", IMAGE_KINDS)
def test_text_alone_says_nothing(kind):
    config = WorldConfig(kinds=(kind,))
    accuracy = table_accuracy(list(draw_pairs(4000, 1, config)), list(draw_pairs(4000, 2, config)))
    assert 0.45 < accuracy < 0.55


def test_a_text_table_finds_the_length_bias():
    config = WorldConfig(padded_share=1.0, length_bias=0.9)
    assert table_accuracy(list(draw_pairs(4000, 1, config)), list(draw_pairs(1000, 2, config))) > 0.8


@pytest.mark.parametrize("kind", IMAGE_KINDS)
def test_every_answer_occurs_on_both_sides(kind):
    sides = defaultdict(set)
    for question, chosen, rejected in map(texts, draw_pairs(2000, 3, WorldConfig(kinds=(kind,)))):
        sides[question, chosen].add("chosen")
        sides[question, rejected].add("rejected")
    assert all(len(side) == 2 for side in sides.values())


def test_pairs_are_a_function_of_seed_and_index():
    short, long, other = list(draw_pairs(5, 7)), list(draw_pairs(9, 7)), list(draw_pairs(5, 8))
    assert [pair.id for pair in short] == [f"lab-7-{index}" for index in range(5)]
    for left, right in zip(short, long[:5], strict=True):
        assert texts(left) == texts(right)
        assert left.images[0].tobytes() == right.images[0].tobytes()
    assert [pair.images[0].tobytes() for pair in short] != [pair.images[0].tobytes() for pair in other]


def test_images_do_not_repeat_between_seeds():
    seen = {pair.images[0].tobytes() for pair in draw_pairs(2000, 0)}
    assert not any(pair.images[0].tobytes() in seen for pair in draw_pairs(500, 1))


def test_sources_name_axis_and_kind():
    pairs = list(draw_pairs(300, 0, WorldConfig(kinds=IMAGE_KINDS, text_share=0.3)))
    assert {pair.source for pair in pairs} == {f"lab/{KINDS.get(kind).axis}/{kind}" for kind in KINDS.names()}
    assert {KINDS.get(kind).axis for kind in KINDS.names()} == set(AXES)
    for pair in pairs:
        assert pair.source == f"lab/{pair.extra['axis']}/{pair.extra['kind']}"
        assert pair.is_multimodal == KINDS.get(pair.extra["kind"]).has_image


def test_default_world_is_multimodal_clean_and_unpadded():
    pairs = list(draw_pairs(500, 0))
    assert {pair.extra["kind"] for pair in pairs} == set(QUICK_KINDS)
    for pair in pairs:
        assert pair.images[0].size == (56, 56)
        assert pair.chosen[0].text == pair.extra["truth"] != pair.rejected[0].text
        assert (pair.extra["flipped"], pair.extra["padded"]) == (False, "neither")


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_shares_are_met(share):
    config = WorldConfig(text_share=share, padded_share=share, length_bias=share, label_noise=share)
    pairs = list(draw_pairs(3000, 4, config))
    padded = [pair for pair in pairs if pair.extra["padded"] != "neither"]
    assert np.mean([not pair.images for pair in pairs]) == pytest.approx(share, abs=0.03)
    assert np.mean([pair.extra["flipped"] for pair in pairs]) == pytest.approx(share, abs=0.03)
    assert len(padded) / len(pairs) == pytest.approx(share, abs=0.03)
    if padded:
        longer = [pair.extra["padded"] == "chosen" for pair in padded]
        assert np.mean(longer) == pytest.approx(share, abs=0.06)


def test_padding_makes_the_named_side_longer():
    for pair in draw_pairs(300, 5, WorldConfig(padded_share=1.0, length_bias=0.5)):
        _, chosen, rejected = texts(pair)
        side, other = (chosen, rejected) if pair.extra["padded"] == "chosen" else (rejected, chosen)
        assert len(side.split()) == len(other.split()) + 3


def test_knobs_leave_scenes_and_questions_alone():
    noisy = WorldConfig(label_noise=0.4, padded_share=0.5, length_bias=0.9)
    for clean, knobbed in zip(draw_pairs(300, 6), draw_pairs(300, 6, noisy), strict=True):
        assert clean.prompt == knobbed.prompt
        assert clean.images[0].tobytes() == knobbed.images[0].tobytes()
        assert clean.extra["truth"] == knobbed.extra["truth"]
        swapped = clean.extra["truth"] not in knobbed.chosen[0].text
        assert swapped == knobbed.extra["flipped"]


def test_rows_are_canonical_records():
    config = WorldConfig(text_share=0.5, label_noise=0.5)
    rows, pairs = list(draw_rows(40, 1, config)), list(draw_pairs(40, 1, config))
    check_columns(rows[0], PAIR_KEYS, "a row")
    for row, pair in zip(rows, pairs, strict=True):
        parsed = parse_pair(row, "fallback")
        assert (parsed.id, parsed.source, parsed.prompt) == (pair.id, pair.source, pair.prompt)
        assert (parsed.chosen, parsed.rejected, dict(parsed.extra)) == (pair.chosen, pair.rejected, pair.extra)
        assert len(parsed.images) == len(pair.images)
        assert all(image["bytes"].startswith(b"\x89PNG") for image in parsed.images)


def test_colors_are_where_they_are_said_to_be():
    for color, rgb in COLORS.items():
        image = draw_things([Thing(color, "square", "normal", (42, 14))], Random(0))
        inside, outside = np.array(image.getpixel((42, 14))), np.array(image.getpixel((14, 42)))
        assert np.abs(inside - np.array(rgb)).max() <= 12
        assert outside.max() <= 50


def test_world_texts_hold_every_word_of_the_world():
    words = {word for text in world_texts() for word in text.replace("?", " ").split()}
    config = WorldConfig(kinds=IMAGE_KINDS, text_share=0.3, padded_share=0.5)
    for pair in draw_pairs(2000, 11, config):
        for text in texts(pair):
            assert set(text.replace("?", " ").split()) <= words


@pytest.mark.parametrize("change", [{"label_noise": 1.5}, {"text_share": -0.1}, {"kinds": ()}, {"kinds": ("refusal",)}])
def test_bad_configs_are_refused(change):
    with pytest.raises(RecipeError, match=next(iter(change))):
        WorldConfig(**change)


def test_unknown_kinds_name_close_ones():
    with pytest.raises(UnknownNameError, match="Did you mean 'color1'"):
        WorldConfig(kinds=("colour1",))
    with pytest.raises(UnknownNameError, match="kind of question"):
        draw_item("nothing", Random(0))


def test_odd_answers_are_none_of_the_kind_and_change_nothing_else():
    plain, odd = list(draw_pairs(600, 3)), list(draw_pairs(600, 3, WorldConfig(odd_share=0.25)))
    for one, other in zip(plain, odd, strict=True):
        assert (one.prompt, one.chosen, one.images[0].tobytes()) == (
            other.prompt,
            other.chosen,
            other.images[0].tobytes(),
        )
        listed = KINDS.get(other.extra["kind"]).answers
        assert (other.rejected[0].text in listed) is not other.extra["odd"]
    assert 0.2 < np.mean([pair.extra["odd"] for pair in odd]) < 0.3


def test_an_odd_answer_is_never_right_or_empty():
    rng = Random(0)
    for kind in KINDS.names():
        for _ in range(60):
            item = draw_item(kind, rng)
            text = odd_answer(kind, item, rng)
            assert text.strip()
            assert text not in (item.truth, *KINDS.get(kind).answers)


def test_prompts_ask_what_the_pairs_ask():
    config = WorldConfig(kinds=("describe1", "count"))
    for prompt, pair in zip(draw_prompts(30, 4, config), draw_pairs(30, 4, config), strict=True):
        assert prompt["prompt"] == [message.to_dict() for message in pair.prompt]
        assert prompt["answer"] == pair.chosen[0].text
        assert prompt["kind"] == pair.extra["kind"]
