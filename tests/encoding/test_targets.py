"""What is learned of a tree: the last message of every conversation, to the token that ends the turn."""

import copy

import numpy as np
import pytest

from basereward.data.schema import Response, ResponseGroup
from basereward.encoding.collate import collate
from basereward.encoding.targets import collate_targets, encode_targets
from basereward.encoding.template import Template
from basereward.errors import TemplateError


@pytest.fixture
def group(say, picture):
    """``group(*answers)``: conversations about one image that end with these answers."""

    def make(*answers):
        asked = say("user", None, "Which is better?")
        responses = tuple(
            Response(str(place), (asked, say("assistant", answer))) for place, answer in enumerate(answers)
        )
        return ResponseGroup("g", (), responses, (picture(),))

    return make


def test_targets_are_the_answers_and_the_end_of_their_turn(vl_template, group):
    tokenizer = vl_template.tokenizer
    answers = ("red", "blue and green", "blue")
    tree, targets = encode_targets(vl_template, group(*answers))
    for suffix, target, answer in zip(tree.suffixes, targets, answers, strict=True):
        ids = suffix[target.start : target.end]
        assert ids[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(ids[:-1]) == answer
        # The token in front of the answer is in the suffix as well.
        assert target.start >= 1


def test_a_single_answer_is_no_part_of_the_prompt(vl_template, group):
    tree, (target,) = encode_targets(vl_template, group("blue and green"))
    whole = np.concatenate([tree.prefix, tree.suffixes[0]])
    assert np.array_equal(
        whole, vl_template.conversation_ids(group("blue and green").responses[0].messages, tree.images.expansions)
    )
    assert target.start == 1
    assert tree.positions.prefix.shape[1] == len(tree.prefix)


def test_places_weights_and_verdicts_of_a_row(vl_template, group, say):
    one = group("1", "2")
    others = tuple(
        (response.messages[0], say("assistant", text)) for response, text in zip(one.responses, "21", strict=True)
    )
    judged = encode_targets(vl_template, one, others)
    plain = encode_targets(vl_template, group("red and blue"))
    row = collate([judged.group, plain.group])
    found = collate_targets(row, [judged, plain], [2, 1])
    ids = row["input_ids"][0]
    decode = vl_template.tokenizer.decode
    told = [decode(ids[found["target_places"][found["target_owners"] == owner]][:-1]) for owner in range(3)]
    assert told == ["1", "2", "red and blue"]
    sums = [float(found["target_weights"][found["target_owners"] == owner].sum()) for owner in range(3)]
    assert sums == pytest.approx([0.5, 0.5, 1.0])
    places = found["target_places"][found["verdict_targets"]]
    assert [decode(ids[place]) for place in places] == ["1", "2"]
    assert [decode(token) for token in found["verdict_others"]] == ["2", "1"]


def test_a_template_that_opens_answers_in_another_way_is_refused(vl_template, group):
    processor = copy.copy(vl_template.processor)
    prompt = "add_generation_prompt %}{{ '<|im_start|>assistant\\n"
    processor.chat_template = vl_template.chat_template.replace(prompt, prompt + "red")
    assert processor.chat_template != vl_template.chat_template
    thinking = Template(processor, vl_template.vision, vl_template.axes)
    with pytest.raises(TemplateError, match="opens an answer"):
        encode_targets(thinking, group("blue"))
