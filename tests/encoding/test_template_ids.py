"""Our ids are those of ``apply_chat_template`` on the whole conversation, for templates of real models."""

import copy

import pytest
from tokenizers.processors import TemplateProcessing

from basereward.encoding.template import Template
from basereward.errors import TemplateError
from basereward.models.inputs import load_template

NATIVE_VISION = ("qwen2_5_vl", "qwen3_vl")
NATIVE_TEXT = ("qwen2_5", "qwen3", "qwen3_instruct_2507", "llama3", "llama3_1", "llama3_2", "phi3", "deepseekv3")
CONTROL = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|end|>", "<|user|>", "<|assistant|>"]


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


@pytest.mark.parametrize("writes_first", [False, True])
@pytest.mark.parametrize("prompt", [False, True])
def test_the_first_token_stands_where_the_processor_puts_it(writes_first, prompt, backbone_of, say, picture):
    """The tokenizer of a Llama text model puts a token before every text, unless the template wrote it already."""
    loaded = load_template(backbone_of("internvl"))
    processor = copy.deepcopy(loaded.processor)
    tokenizer = processor.tokenizer
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    first = ("<s>", tokenizer.bos_token_id)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[first])
    processor.chat_template = "{{ bos_token }}" * writes_first + processor.chat_template
    template = Template(processor, loaded.vision)
    images = [picture(56, 56), picture(100, 40)]
    messages = (say("user", "First ", None, " then ", None, "?"), say("assistant", "Red <think>."))[: 2 - prompt]
    plain = [message.to_dict() for message in messages]
    shown = iter(images)
    for part in plain[0]["content"]:
        if part["type"] == "image":
            part["image"] = next(shown)
    expected = processor.apply_chat_template(plain, tokenize=True, return_dict=True, add_generation_prompt=prompt)
    ids = template.conversation_ids(messages, template.vision.encode(images).expansions, prompt=prompt).tolist()
    assert ids == expected["input_ids"][0]
    assert ids.count(tokenizer.bos_token_id) == 1
    assert ids[0] == tokenizer.bos_token_id


def test_list_content_that_a_text_template_renders_empty_is_not_lost(flat_template, conversations):
    template, messages = flat_template("qwen3"), conversations["one turn"]
    as_lists = [message.to_dict() for message in messages]
    assert messages[0].text not in template.tokenizer.apply_chat_template(as_lists, tokenize=False)
    assert messages[0].text in template.tokenizer.decode(template.conversation_ids(messages))


@pytest.mark.parametrize("text", ["Fine.", "<think>hm</think>"])
def test_a_template_that_loses_text_is_refused(text_template, say, text):
    tokenizer = copy.deepcopy(text_template.tokenizer)
    tokenizer.chat_template = "{% for m in messages %}{% if m.role != 'system' %}{{ m.content }}{% endif %}{% endfor %}"
    messages = (say("system", "Only this is lost."), say("user", text))
    with pytest.raises(TemplateError, match="loses"):
        Template(tokenizer).conversation_ids(messages)


@pytest.mark.parametrize(
    "source", ["{{ 'a' + messages }}", "{{ raise_exception('no') }}", "{{ messages[9].content.x }}"]
)
def test_a_template_that_fails_refuses_the_conversation(source, text_template, say):
    tokenizer = copy.deepcopy(text_template.tokenizer)
    tokenizer.chat_template = source
    with pytest.raises(TemplateError, match="refuses this conversation"):
        Template(tokenizer).conversation_ids((say("user", "q"), say("assistant", "a")))


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
