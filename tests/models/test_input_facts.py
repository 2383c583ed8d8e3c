"""The inputs of a checkpoint are known file by file: what has changed is named, what only looks different is not."""

import json
import shutil

import pytest
from transformers import AutoProcessor, AutoTokenizer

from basereward.errors import CheckpointError
from basereward.models.checkpoint import load_reward_model, new_reward_model, save_reward_model
from basereward.models.facts import read_facts
from basereward.models.hub import open_folder
from basereward.models.inputs import TemplateSettings, load_template

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_5", "internvl", "qwen3")


@pytest.fixture(scope="module")
def saved(backbone_of, tmp_path_factory):
    """``saved(family)``: the folder of a reward model; do not change it."""
    folders = {}

    def make(family):
        if family not in folders:
            settings = TemplateSettings(image_backend=None if family == "qwen3" else "pil")
            model = new_reward_model(backbone_of(family), template=settings)
            folders[family] = save_reward_model(model, tmp_path_factory.mktemp(family))
        return folders[family]

    return make


@pytest.fixture
def copy_of(saved, tmp_path):
    """A copy of a saved model to change."""
    return lambda family: shutil.copytree(saved(family), tmp_path / family)


def change(file, edit):
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))


def permute_vocabulary(content):
    vocabulary = content["model"]["vocab"]
    first, second = list(vocabulary)[300:302]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]


def halve_merges(content):
    content["model"]["merges"] = content["model"]["merges"][::2]


def forget_thoughts(content):
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] != "<think>"]


def split_otherwise(content):
    content["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {"Regex": " ?[a-z]+|."}


@pytest.mark.parametrize(
    ("edit", "name"),
    [
        (halve_merges, r"tokenizer\.merges"),
        (permute_vocabulary, r"tokenizer\.vocabulary"),
        (forget_thoughts, r"tokenizer\.added_tokens"),
        (split_otherwise, r"tokenizer\.rules"),
    ],
)
@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3"])
def test_another_tokenizer_is_named(family, edit, name, copy_of):
    folder = copy_of(family)
    change(folder / "tokenizer.json", edit)
    for load in (load_template, load_reward_model):
        with pytest.raises(CheckpointError, match=f"{name} changed") as caught:
            load(folder)
        assert str(folder) in str(caught.value)


def in_image(key, value):
    return lambda content: content["image_processor"].__setitem__(key, value)


@pytest.mark.parametrize(
    ("edit", "name"),
    [
        (in_image("image_mean", [0.1, 0.5, 0.4]), r"image_processor\.image_mean"),
        (in_image("resample", 2), r"image_processor\.resample"),
        (in_image("do_normalize", False), r"image_processor\.do_normalize"),
        (in_image("size", {"shortest_edge": 3136, "longest_edge": 50176}), r"image_processor\.size\.longest_edge"),
    ],
)
def test_other_pixels_are_named(edit, name, copy_of):
    folder = copy_of("qwen2_5_vl")
    change(folder / "processor_config.json", edit)
    with pytest.raises(CheckpointError, match=f"{name} changed"):
        load_template(folder)
    with pytest.raises(CheckpointError, match=name):
        load_template(folder, TemplateSettings(max_pixels=40000))


def test_several_changes_are_all_named(copy_of):
    folder = copy_of("internvl")
    change(folder / "tokenizer.json", halve_merges)
    change(folder / "processor_config.json", lambda content: content.__setitem__("image_seq_length", 9))
    (folder / "chat_template.jinja").write_text((folder / "chat_template.jinja").read_text() + " ")
    with pytest.raises(
        CheckpointError, match=r"chat_template, image_processor\.tile_tokens, tokenizer\.merges changed"
    ):
        load_template(folder)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("noise", ["format", "save", "save again"])
def test_what_only_looks_different_is_no_change(family, noise, copy_of):
    folder = copy_of(family)
    if noise == "format":
        for file in folder.glob("*.json"):
            content = json.loads(file.read_text())
            file.write_text(json.dumps(dict(reversed(content.items())), indent=7, ensure_ascii=True))
    auto = AutoTokenizer if family == "qwen3" else AutoProcessor
    for _ in range(("format", "save", "save again").index(noise)):
        auto.from_pretrained(folder).save_pretrained(folder)
    assert read_facts(open_folder(folder)).inputs == load_template(folder).facts
    resaved = save_reward_model(load_reward_model(folder), folder / "again")
    assert read_facts(open_folder(resaved)).inputs == load_template(folder).facts


def test_padding_and_truncation_that_were_asked_for_once_are_no_change(saved):
    tokenizer = AutoTokenizer.from_pretrained(saved("qwen3"))
    facts = load_template(saved("qwen3")).facts
    tokenizer(["a", "a longer one"], padding=True, truncation=True, max_length=3)
    assert type(load_template(saved("qwen3")))(tokenizer).facts == facts


def test_a_special_token_that_the_template_writes_counts(text_template):
    def facts(**tokens):
        tokenizer = type(text_template.tokenizer).from_pretrained(text_template.tokenizer.name_or_path)
        tokenizer.chat_template = "{{ eos_token }}{% for m in messages %}{{ m.content }}{% endfor %}"
        tokenizer.add_special_tokens(tokens)
        return type(text_template)(tokenizer).facts

    assert facts().differences(facts(eos_token="<|vision_pad|>")) == ["special_tokens.eos_token"]
    assert facts().differences(facts(pad_token="<|vision_pad|>")) == []


def test_another_version_of_the_encoding_is_refused(copy_of):
    folder = copy_of("qwen3")
    change(folder / "config.json", lambda content: content["reward"]["inputs"].__setitem__("encoding", 0))
    with pytest.raises(CheckpointError, match=r"encoding changed.*by basereward 0"):
        load_template(folder)


def test_a_folder_that_says_nothing_of_its_inputs_is_loaded_with_a_warning(copy_of, caplog):
    folder = copy_of("qwen3")
    change(folder / "config.json", lambda content: content["reward"].pop("inputs"))
    load_template(folder)
    assert "does not say with which tokenizer" in caplog.text


@pytest.mark.parametrize(
    ("edit", "name"),
    [
        (lambda section: section.__setitem__("pooling", "mean"), "pooling"),
        (lambda section: section["head"].__setitem__("activation", "swish"), r"head\.activation"),
        (lambda section: section.pop("head"), "head"),
    ],
)
def test_a_section_of_another_kind_is_refused_by_name(edit, name, copy_of):
    folder = copy_of("qwen3")
    change(folder / "config.json", lambda content: edit(content["reward"]))
    with pytest.raises(CheckpointError, match=f"config.json cannot be read: {name}"):
        load_reward_model(folder)
