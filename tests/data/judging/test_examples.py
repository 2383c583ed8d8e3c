"""What judges and critics learn from pairs, and what pairs carry for them."""

import math

import pytest

from basereward.data.annotations import critiques_of, thoughts_of, weight_of
from basereward.data.judging.critiques import REQUESTS, ask_for_critiques, with_critiques
from basereward.data.judging.examples import judge_examples, question_of
from basereward.data.judging.formats import FORMATS
from basereward.data.judging.prompts import make_prompt
from basereward.data.parsing import parse_pair
from basereward.errors import RowError


def pair_of(**extra):
    record = {"prompt": "What colour?", "chosen": "red", "rejected": "blue", **extra}
    return parse_pair(record, "a")


@pytest.mark.parametrize("name", FORMATS.names())
@pytest.mark.parametrize("place", [0, 1])
def test_an_answer_is_read_as_it_is_written(name, place):
    form = FORMATS.get(name)
    for thought in ("", "Response 1 says red. It is."):
        assert form.read(form.write(thought, place)).choice == place


@pytest.mark.parametrize("answer", ["3", "1 or 2", "Response 1", "12", "", "1\n2"])
def test_a_digit_is_one_digit_and_nothing_else(answer):
    assert FORMATS.get("digit").read(answer).choice == "unparsable"


def test_both_orders_of_a_pair_are_asked_with_the_right_answer():
    first, second = judge_examples(pair_of(), make_prompt("digit"), needs_thoughts=False)
    texts = [example.asked[0].text for example in (first, second)]
    assert texts[0].index("red") < texts[0].index("blue")
    assert texts[1].index("blue") < texts[1].index("red")
    assert [(example.right[0].text, example.wrong[0].text) for example in (first, second)] == [("1", "2"), ("2", "1")]


def test_an_order_without_a_thought_is_no_example():
    pair = pair_of(thoughts={"rejected_first": "Blue is wrong."})
    (example,) = judge_examples(pair, make_prompt("think"), needs_thoughts=True)
    assert example.right[0].text == "<think>Blue is wrong.</think><answer>2</answer>"
    with pytest.raises(RowError, match="no thoughts"):
        judge_examples(pair_of(), make_prompt("think"), needs_thoughts=True)


@pytest.mark.parametrize(
    ("name", "thought"),
    [
        ("think", "<think>Blue is wrong.</think>"),
        ("think", "Blue is wrong.</think><answer>2</answer>"),
        ("answer_tag", "Blue is wrong, so <answer>2</answer>."),
        ("verdict_line", "Blue is wrong.\nVerdict: 1"),
    ],
)
def test_a_thought_with_tags_or_a_verdict_of_its_own_is_refused(name, thought):
    """It would teach answers that are unparsable, or two thoughts."""
    with pytest.raises(RowError, match="a verdict of its own") as error:
        judge_examples(pair_of(thoughts={"chosen_first": thought}), make_prompt(name), needs_thoughts=True)
    assert error.value.reason == "malformed"


def test_images_of_responses_follow_the_order_in_which_these_are_shown():
    said = [{"role": "assistant", "content": [{"type": "image"}, {"type": "text", "text": text}]} for text in "ab"]
    prompt = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}]
    record = {"prompt": prompt, "chosen": said[:1], "rejected": said[1:], "images": ["p", "c", "r"]}
    pair = parse_pair(record, "a")
    assert question_of(pair, True).images == ("p", "c", "r")
    assert question_of(pair, False).images == ("p", "r", "c")


def test_a_critique_stands_behind_the_response_that_it_is_about():
    (group,), *_ = pair_of().comparison()
    request = REQUESTS.get("short")
    asked = ask_for_critiques(group, request)
    assert [message.role for message in asked.responses[0].messages] == ["assistant", "user"]
    said = with_critiques(group, request, ["good", "bad"])
    assert [response.messages[-1].text for response in said.responses] == ["good", "bad"]
    assert [response.messages[0] for response in said.responses] == [one.messages[0] for one in group.responses]


@pytest.mark.parametrize(
    ("read", "extra"),
    [
        (critiques_of, {"critiques": {"chosen": "good"}}),
        (critiques_of, {"critiques": {"chosen": "good", "rejected": "  "}}),
        (critiques_of, {"critiques": "good"}),
        (critiques_of, {"critiques": {"chosen": "good", "rejected": 1}}),
        (thoughts_of, {"thoughts": {"first": "good"}}),
        (weight_of, {"weight": -1}),
        (weight_of, {"weight": math.inf}),
        (weight_of, {"weight": "1"}),
        (weight_of, {"weight": True}),
    ],
)
def test_annotations_of_another_form_are_refused(read, extra):
    with pytest.raises(RowError):
        read(pair_of(**extra))


def test_what_is_not_there_is_none_and_weighs_one():
    assert (critiques_of(pair_of()), thoughts_of(pair_of()), weight_of(pair_of())) == (None, None, 1.0)
    assert weight_of(pair_of(weight=0.25)) == 0.25
