"""What a router sees of a prompt, and what it does not see."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from basereward.data.schema import Message, Part, PreferencePair, messages_from_text
from basereward.errors import RowError
from basereward.scoring.compose.routing.features import choose_words, prompt_features


@pytest.fixture
def known(make_group):
    return choose_words([make_group("a chart of words", ["x"]) for _ in range(3)])


def features(group, known):
    return prompt_features([group], known)[0]


def test_words_of_few_prompts_are_not_learned(make_group):
    groups = [make_group(f"shared shared own{n}", ["x"]) for n in range(3)]
    # However often a single prompt says a word.
    assert len(choose_words([*groups, make_group("loud " * 9, ["x"])])) == 1


def test_responses_are_not_seen(make_group, known, picture):
    one = make_group("Which chart?", ["a", "b"], [picture()])
    other = replace(one, responses=one.responses[:1])
    np.testing.assert_array_equal(features(one, known), features(other, known))


def test_images_of_responses_are_not_seen(known, picture):
    prompt, image = messages_from_text("Draw a chart."), (Part("image"),)
    pair = PreferencePair("1", "s", prompt, (Message("assistant", image),), (Message("assistant", image),))
    shown = replace(pair, images=(picture(seed=1), picture(30, 90, seed=2)))
    groups, _, _ = shown.comparison()
    assert len(groups) == 2
    np.testing.assert_array_equal(features(groups[0], known), features(groups[1], known))


def test_words_and_images_are_seen_and_order_is_not(make_group, known, picture):
    said = [features(make_group(text, ["x"]), known) for text in ("chart of", "of chart", "chart chart")]
    np.testing.assert_array_equal(said[0], said[1])
    assert not np.array_equal(said[0], said[2])
    flat, noise = Image.new("RGB", (56, 56), "white"), picture()
    shown = [features(make_group("chart", ["x"], images), known) for images in ([], [flat], [noise], [flat, flat])]
    assert len({tuple(own.tolist()) for own in shown}) == 4
    assert np.isfinite(shown).all()


def test_a_broken_image_is_told(make_group, known):
    with pytest.raises(RowError):
        features(make_group("chart", ["x"], [b"no image"]), known)
