"""Texts of chat templates read back: the conversation that gives them again, or a refusal."""

import pytest

from basereward.data.schema import Message, Part
from basereward.errors import RowError
from basereward.serving.rendered import RenderedReader

THINKING_TAIL = "{%- if add_generation_prompt %}{{ '<think>\\n' }}{% endif %}"


def say(role, *parts):
    return Message(role, tuple(Part("image") if part is None else Part("text", part) for part in parts))


CONVERSATIONS = [
    [say("user", "Hi")],
    [say("system", "Be brief."), say("user", "Hi")],
    [say("user", "Hi"), say("assistant", "Hello."), say("user", "Why?\n\nReally? ")],
    [
        say("system", ""),
        say("user", "1"),
        say("assistant", "2"),
        say("user", "3"),
        say("assistant", "4"),
        say("user", "5"),
    ],
]
WITH_IMAGES = [
    [say("user", None, "What?")],
    [say("user", None, None, "Left or right?"), say("assistant", "Left."), say("user", "And", None, "?")],
]


def same(found, expected):
    """Whether two conversations say the same; a default system prompt that is spelt out is part of the text."""
    spoken = [message for message in found if message.role != "system" or expected[0].role == "system"]
    return spoken == list(expected)


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("name", ["vl_template", "text_template"])
def test_prompts_are_read_back(request, name, conversation):
    template = request.getfixturevalue(name)
    reader = RenderedReader(template)
    prompt = template.render(tuple(conversation), prompt=True)
    for given in (None, prompt):
        found = reader.read(prompt + " a response", given)
        assert same(found.prompt, conversation)
        assert template.render(found.prompt, prompt=True) == prompt
        assert (found.response, found.is_rendered) == (" a response", True)


@pytest.mark.parametrize("conversation", WITH_IMAGES)
def test_images_are_read_back(vl_template, conversation):
    prompt = vl_template.render(tuple(conversation), prompt=True)
    for text in (prompt, prompt.replace("<|image_pad|>", "<|image_pad|>" * 4)):
        assert same(RenderedReader(vl_template).read(text + "a", text).prompt, conversation)


def test_a_thought_that_the_prompt_begins_belongs_to_the_response(text_template):
    from copy import copy

    from basereward.encoding.template import Template

    tokenizer = copy(text_template.tokenizer)
    tokenizer.chat_template = text_template.chat_template + THINKING_TAIL
    template = Template(tokenizer)
    prompt = template.render((say("user", "Hi"),), prompt=True)
    assert prompt.endswith("<think>\n")
    assert (
        RenderedReader(template).read(prompt + "Well.\n</think>\n\nHello.").response
        == "<think>\nWell.\n</think>\n\nHello."
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Hi",
        "<|im_start|>user\nHi<|im_end|>\n",
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>tool\nx<|im_end|>\n<|im_start|>assistant\na",
        "<|im_start|>assistant\nHi<|im_end|>\n<|im_start|>assistant\na",
        "<s>[INST] Hi [/INST] a",
        "x<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\na",
    ],
)
def test_what_the_template_did_not_write_is_refused(text_template, text):
    with pytest.raises(RowError, match="chat template wrote"):
        RenderedReader(text_template).read(text)
