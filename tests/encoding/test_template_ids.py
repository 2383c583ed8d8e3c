"""Our ids are those of ``apply_chat_template`` on the whole conversation, for templates of real models."""

import copy
from importlib.util import find_spec
from pathlib import Path

import pytest

from basereward.encoding.template import Template
from basereward.errors import TemplateError

NATIVE_VISION = ("qwen2_5_vl", "qwen3_vl")
NATIVE_TEXT = ("qwen2_5", "qwen3", "qwen3_instruct_2507", "llama3", "llama3_1", "llama3_2", "phi3", "deepseekv3")
CONTROL = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|end|>", "<|user|>", "<|assistant|>"]


@pytest.fixture(scope="module")
def read_jinja():
    spec = find_spec("trl")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("trl, which ships the templates of real models, is not installed")
    folder = Path(spec.submodule_search_locations[0]) / "chat_templates"

    def read(name):
        path = folder / f"{name}.jinja"
        if not path.exists():
            pytest.skip(f"this trl has no {name}.jinja")
        return path.read_text(encoding="utf-8")

    return read


@pytest.fixture(scope="module")
def vision_template(vl_template, read_jinja):
    def make(name):
        processor = copy.copy(vl_template.processor)
        processor.chat_template = read_jinja(name)
        return Template(processor, vl_template.vision, axes=3)

    return make


@pytest.fixture(scope="module")
def flat_template(text_template, read_jinja):
    def make(name):
        tokenizer = copy.deepcopy(text_template.tokenizer)
        tokenizer.add_special_tokens({"bos_token": "<s>", "additional_special_tokens": CONTROL})
        tokenizer.chat_template = read_jinja(name)
        return Template(tokenizer)

    return make


@pytest.fixture(scope="module")
def conversations(say):
    turn = say("user", "What color is the object?"), say("assistant", "It is red.")
    system = say("system", "You are a careful judge.\nBe brief.")
    return {
        "one turn": turn,
        "system": (system, *turn),
        "several turns": (system, *turn, say("user", "And its shape?\n"), say("assistant", "A circle,\n\nI think.")),
        "several parts": (say("user", "What ", "color ", "is it?"), say("assistant", "red", ".")),
    }


def flattened(messages):
    return [{"role": message.role, "content": message.text} for message in messages]


CASES = ("one turn", "system", "several turns", "several parts")


@pytest.mark.parametrize("name", NATIVE_TEXT)
@pytest.mark.parametrize("case", CASES)
def test_text_ids_equal_the_chat_template(name, case, flat_template, conversations):
    template, messages = flat_template(name), conversations[case]
    expected = template.tokenizer.apply_chat_template(flattened(messages), tokenize=True, return_dict=False)
    assert template.conversation_ids(messages).tolist() == expected
    opening = template.tokenizer.apply_chat_template(
        flattened(messages[:-1]), tokenize=True, add_generation_prompt=True, return_dict=False
    )
    assert template.conversation_ids(messages[:-1], prompt=True).tolist() == opening


@pytest.mark.parametrize("name", NATIVE_VISION)
@pytest.mark.parametrize("case", CASES)
def test_vision_ids_of_text_equal_the_chat_template(name, case, vision_template, conversations):
    template, messages = vision_template(name), conversations[case]
    plain = [message.to_dict() for message in messages]
    expected = template.tokenizer.apply_chat_template(
        plain, chat_template=template.chat_template, tokenize=True, return_dict=False
    )
    assert template.conversation_ids(messages).tolist() == expected


@pytest.mark.parametrize("name", NATIVE_VISION)
def test_ids_with_images_equal_the_processor(name, vision_template, say, picture):
    template = vision_template(name)
    images = [picture(56, 56), picture(100, 40), picture(30, 120)]
    messages = (
        say("system", "Look closely."),
        say("user", "First ", None, " then ", None, "?"),
        say("assistant", "Red."),
        say("user", None, "and this?"),
        say("assistant", "Blue."),
    )
    text = template.tokenizer.apply_chat_template(
        [message.to_dict() for message in messages], chat_template=template.chat_template, tokenize=False
    )
    expected = template.processor(text=[text], images=images, return_tensors="pt")["input_ids"][0]
    expansions = template.vision.encode(images).expansions
    assert template.conversation_ids(messages, expansions).tolist() == expected.tolist()


def test_list_content_that_a_text_template_renders_empty_is_not_lost(flat_template, conversations):
    template, messages = flat_template("qwen3"), conversations["one turn"]
    as_lists = [message.to_dict() for message in messages]
    assert messages[0].text not in template.tokenizer.apply_chat_template(as_lists, tokenize=False)
    assert messages[0].text in template.tokenizer.decode(template.conversation_ids(messages))


def test_a_thought_is_text_of_the_response(flat_template, say):
    """Qwen3's template cuts thoughts out of answers and strips them; a thought that was answered is scored whole."""
    template = flat_template("qwen3")
    messages = (
        say("user", "1 + 1?"),
        say("assistant", "<think>\nlong thought\n</think>\n\nTwo."),
        say("user", "Sure?"),
        say("assistant", "<think>another\n\n</think>Yes."),
    )
    text = template.tokenizer.decode(template.conversation_ids(messages))
    assert all(message.text in text for message in messages)


@pytest.mark.parametrize("text", ["Fine.", "<think>hm</think>"])
def test_a_template_that_loses_text_is_refused(text_template, say, text):
    tokenizer = copy.deepcopy(text_template.tokenizer)
    tokenizer.chat_template = "{% for m in messages %}{% if m.role != 'system' %}{{ m.content }}{% endif %}{% endfor %}"
    messages = (say("system", "Only this is lost."), say("user", text))
    with pytest.raises(TemplateError, match="loses"):
        Template(tokenizer).conversation_ids(messages)


def test_a_backbone_without_a_chat_template_is_refused(text_template):
    tokenizer = copy.deepcopy(text_template.tokenizer)
    tokenizer.chat_template = None
    with pytest.raises(TemplateError, match="chat template"):
        Template(tokenizer)


def test_the_hash_knows_template_and_added_tokens(text_template):
    other, more = (copy.deepcopy(text_template.tokenizer) for _ in range(2))
    other.chat_template += " "
    more.add_tokens(["<answer>"])
    hashes = {Template(tokenizer).hash for tokenizer in (text_template.tokenizer, other, more)}
    assert len(hashes) == 3
    assert Template(copy.deepcopy(text_template.tokenizer)).hash == text_template.hash
