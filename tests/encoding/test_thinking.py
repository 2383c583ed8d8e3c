"""Thoughts in answers: the ids of the template, characters that it leaves out counted, no way to smuggle tokens in."""

import copy
import random
import re

import pytest

from basereward.encoding.template import Template
from basereward.errors import TemplateError

REASONING = ("qwen3", "qwen3_5_think", "deepseek_r1_distill", "glm4moe", "nemotron_3_nano")
ANSWERS = (
    *("<think>{0}</think>{1}", "<think>\n{0}\n</think>\n\n{1}", "{0}</think>{1}", "<think>{0}{1}", "{0}{1}<think>"),
    *("<think></think>{0}{1}", "<think>{0}</think>{1}<think>again</think>more", "{0}<think>{1}</think>", "{0}{1}"),
)
# Also between the wide bars of DeepSeek.
CONTROL = r"<[|\uff5c/]?[A-Za-z_|\uff5c\u2581]+[|\uff5c]?>|\[/?[A-Z_]+\]"
WORDS = ("red", "a circle", "I think so.", "  two", "\n", "\n\n", "end ", "Zürich", "{x}", "7 + 3", "< think>")


@pytest.fixture(scope="module")
def template_of(text_template, jinja_folder):
    """``template_of(name)``: a template of a real model, whose control strings are added tokens."""

    def make(name):
        source = (jinja_folder / f"{name}.jinja").read_text(encoding="utf-8")
        tokenizer = copy.deepcopy(text_template.tokenizer)
        tokenizer.add_special_tokens({"bos_token": "<s>"})
        tokenizer.add_tokens(sorted(set(re.findall(CONTROL, source))))
        tokenizer.chat_template = source
        return Template(tokenizer)

    return make


def draw(rng, extra=()):
    """A conversation of one to three turns as plain text, with thoughts in most answers."""

    def text():
        return "".join(rng.choices((*WORDS, *extra), k=rng.randint(1, 5))) or "x"

    said = [("system", text())] if rng.random() < 0.3 else []
    for _ in range(rng.randint(1, 3)):
        said += [("user", text()), ("assistant", rng.choice(ANSWERS).format(text(), text()))]
    return said


def judged(template, say, said, prompt):
    """Our ids and those of ``apply_chat_template``, None where either refuses."""
    plain = [{"role": role, "content": text} for role, text in said]
    options = {"tokenize": True, "return_dict": False, "add_generation_prompt": prompt}
    try:
        theirs = template.tokenizer.apply_chat_template(plain, **options)
    except Exception:  # templates refuse in their own ways
        theirs = None
    try:
        ours = template.conversation_ids(tuple(say(*each) for each in said), prompt=prompt).tolist()
    except TemplateError:
        ours = None
    return ours, theirs


def test_ids_of_all_templates_equal_the_chat_template(jinja_folder, template_of, say):
    compared = 0
    for path in sorted(jinja_folder.glob("*.jinja")):
        template, rng = template_of(path.stem), random.Random(path.stem)
        for _ in range(6):
            prompt = rng.random() < 0.2
            said = draw(rng)[: -1 if prompt else None]
            ours, theirs = judged(template, say, said, prompt)
            assert ours is None or ours == theirs, (path.stem, said)
            compared += ours is not None
    # Templates that take content as a list of parts alone render nothing of a text backbone, and are refused.
    assert compared > 350


def without_control(template, role, text):
    spared = {"<think>", "</think>"} if role == "assistant" else set()
    strings = sorted(template._encoder.control - spared, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, strings)), "word", text)


@pytest.mark.parametrize("name", REASONING)
def test_other_control_strings_stay_text_beside_thoughts(name, template_of, say):
    template, rng = template_of(name), random.Random(name)
    added = template.tokenizer.added_tokens_decoder
    for _ in range(40):
        said = draw(rng, extra=sorted(template._encoder.control)[::3])
        words = [(role, without_control(template, role, text)) for role, text in said]
        ids, plain = (template.conversation_ids(tuple(say(*each) for each in own)).tolist() for own in (said, words))
        assert [own for own in ids if own in added] == [own for own in plain if own in added]


@pytest.mark.parametrize("name", REASONING)
def test_prompts_are_shared_whatever_the_answers_hold(name, template_of, make_group):
    template = template_of(name)
    answers = ["red", "<think>hm</think>red", "<|im_end|>", "x<think>", "</think>", "\n\nred"]
    group = make_group("\nWhat <tool_call> color?\n<think>", answers)
    encoded = template.encode(group)
    opening = template.conversation_ids(group.prompt, prompt=True)
    assert len(encoded.prefix) >= len(opening) - 3
    for response, suffix in zip(group.responses, encoded.suffixes, strict=True):
        whole = template.conversation_ids(group.prompt + response.messages)
        assert [*encoded.prefix, *suffix] == whole.tolist()


def test_what_the_template_leaves_out_is_counted(template_of, make_group, say):
    template = template_of("qwen3")
    kept = "<think>\nlong thought\n</think>\n\nTwo."
    history = (say("user", "1 + 1?"), say("assistant", kept), say("user", "Sure?"))
    hiding = "<think>a</think>hidden words<think>b</think>Yes."
    encoded = template.encode(make_group(history, ["Yes.", "<think>hm</think>Yes.", hiding]))
    assert encoded.removed.prompt == len("long thought")
    assert encoded.removed.responses[:2] == (0, 0)
    text = template.tokenizer.decode([*encoded.prefix, *encoded.suffixes[2]])
    lost = [part for part in ("a", "hidden words", "b", "Yes.") if f"{part}\n" not in text and f"{part}<" not in text]
    assert "hidden words" in lost
    assert encoded.removed.responses[2] == sum(map(len, lost))
    assert encoded.removed.total == encoded.removed.prompt + encoded.removed.responses[2]
    measured = template.measure(make_group(history, ["Yes.", "<think>hm</think>Yes.", hiding]), [])
    assert measured.removed == encoded.removed.total


def test_control_strings_in_what_is_left_out_count_as_written(template_of, make_group):
    template = template_of("deepseek_r1_distill")
    encoded = template.encode(make_group("Which?", ["<think>not <|im_end|> seen</think>This.", "This."]))
    assert encoded.removed.responses == (len("not <|im_end|> seen"), 0)
    assert encoded.suffixes[0].tolist() == encoded.suffixes[1].tolist()


def test_pieces_that_the_template_joins_make_no_control_token(text_template, say):
    """A template that cuts thoughts out would put ``<|im_`` and ``end|>`` together."""
    tokenizer = copy.deepcopy(text_template.tokenizer)
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.content.split('<think>')[0] + m.content.split('</think>')[-1] }}{% endfor %}"
    )
    template = Template(tokenizer)
    joined = (say("user", "q"), say("assistant", "fine<think>gone</think> words"))
    assert template.tokenizer.decode(template.conversation_ids(joined)).endswith("fine words")
    with pytest.raises(TemplateError, match="control token of an answer"):
        template.conversation_ids((say("user", "q"), say("assistant", "<|im_<think>x</think>end|>")))


def test_a_template_that_cuts_inside_a_thought_is_refused(text_template, say):
    tokenizer = copy.deepcopy(text_template.tokenizer)
    tokenizer.chat_template = "{% for m in messages %}{{ m.content | replace('secret', '') }}{% endfor %}"
    with pytest.raises(TemplateError, match="cuts text"):
        Template(tokenizer).conversation_ids((say("user", "q"), say("assistant", "<think>a secret b</think>c")))
