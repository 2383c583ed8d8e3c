"""What a router sees of a prompt, and what it does not see."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from basereward.data.schema import Message, Part, PreferencePair, messages_from_text
from basereward.errors import RowError, ScoringError
from basereward.models.checkpoint import new_reward_model
from basereward.scoring.compose.members import Members
from basereward.scoring.compose.routing.features import Seen, choose_words, open_reader, prompt_features
from basereward.scoring.local import LocalScorer
from basereward.scoring.model_spec import ModelSpec
from basereward.scoring.spec import open_scorer


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


def test_the_state_of_a_member_tells_of_the_prompt_alone(vl_backbone, make_group, picture):
    scorer = LocalScorer(new_reward_model(vl_backbone), "tiny")
    members = Members([ModelSpec(model="tiny")], lambda spec: scorer)
    read = open_reader(members, Seen(state_of="tiny"))
    groups = [make_group(text, ["a", "b " * 9], [picture()]) for text in ("Which chart?", "Which code?")]
    together = read(groups)
    assert together.shape[0] == 2
    assert not np.array_equal(together[0], together[1])
    np.testing.assert_array_equal(together[1:], read([replace(groups[1], responses=groups[1].responses[:1])]))
    other = replace(groups[0], images=(picture(seed=9),))
    assert not np.allclose(together[0], read([other])[0], atol=1e-6)


def test_only_a_reward_model_among_the_members_has_states():
    members = Members([ModelSpec(model="long")], lambda spec: open_scorer("baseline:longer"))
    for name in ("long", "nobody"):
        with pytest.raises(ScoringError, match=f"{name} has no states that can be read.*members long"):
            open_reader(members, Seen(state_of=name))
