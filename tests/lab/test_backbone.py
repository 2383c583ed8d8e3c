"""The tiny backbones load like real ones, offline, and their tokenizer loses nothing."""

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
)

from basereward.errors import UnknownNameError
from basereward.lab.backbone import write_backbone
from basereward.lab.tokenizer import ADDED_TOKENS, SPECIAL_TOKENS
from basereward.lab.world import world_texts

QUESTION = "What color is the object?"
USER = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}


@pytest.fixture(scope="module")
def vision(tmp_path_factory):
    return write_backbone(tmp_path_factory.mktemp("vision") / "backbone", "qwen2_5_vl", "test")


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return write_backbone(tmp_path_factory.mktemp("text") / "backbone", "qwen3", "test")


@pytest.fixture(scope="module", params=["vision", "text"])
def tokenizer(request):
    return AutoTokenizer.from_pretrained(request.getfixturevalue(request.param))


@pytest.mark.parametrize(
    ("folder", "auto"),
    [
        ("vision", AutoModel),
        ("vision", AutoModelForImageTextToText),
        ("text", AutoModel),
        ("text", AutoModelForCausalLM),
    ],
)
def test_folder_loads_with_nothing_missing(folder, auto, request):
    _, report = auto.from_pretrained(request.getfixturevalue(folder), output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["mismatched_keys"]
    assert set(report["unexpected_keys"]) <= {"lm_head.weight"}


def test_weights_have_the_hub_layout(vision):
    names = load_file(vision / "model.safetensors")
    assert {name.split(".")[0] for name in names} == {"lm_head", "model", "visual"}
    assert "model.embed_tokens.weight" in names


@pytest.mark.parametrize("backend", ["pil", "torchvision"])
def test_a_small_image_becomes_four_tokens(vision, backend):
    processor = AutoProcessor.from_pretrained(vision)
    processor.image_processor = AutoImageProcessor.from_pretrained(vision, backend=backend)
    text = processor.apply_chat_template([USER], add_generation_prompt=True)
    batch = processor(text=[text], images=[Image.new("RGB", (56, 56))], return_tensors="pt")
    pad = processor.tokenizer.convert_tokens_to_ids("<|image_pad|>")
    assert batch["pixel_values"].shape == (16, 3 * 2 * 14 * 14)
    assert (batch["input_ids"] == pad).sum() == 4
    assert batch["image_grid_thw"].tolist() == [[1, 4, 4]]


def test_a_forward_pass_sees_the_image(vision):
    model, processor = AutoModel.from_pretrained(vision), AutoProcessor.from_pretrained(vision)
    text = processor.apply_chat_template([USER])
    images = [Image.new("RGB", (84, 56), color) for color in ("red", "blue")]
    batch = processor(text=[text, text], images=images, return_tensors="pt")
    with torch.no_grad():
        first, second = model(**batch).last_hidden_state[:, -1]
    assert torch.isfinite(first).all()
    assert (first - second).abs().max() > 1e-3


def test_equal_seeds_give_equal_weights(tmp_path):
    before = torch.random.get_rng_state()
    folders = [write_backbone(tmp_path / str(index), size="test", seed=seed) for index, seed in enumerate((1, 1, 2))]
    first, same, other = (load_file(folder / "model.safetensors") for folder in folders)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["model.embed_tokens.weight"], other["model.embed_tokens.weight"])
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    "sample",
    [
        "What color is the object?",
        "  two  spaces,\ttabs\r\n\n and lines \n",
        "naïve café: 東京 🙂👩‍👩‍👧 \u202eabc",
        "e\u0301 is not \u00e9, \u212b is not \u00c5",
        "\x00\x7f\ufeff\ufffd",
        "<|im_end|> and <think> inside",
    ],
)
def test_any_text_round_trips(tokenizer, sample):
    assert tokenizer.decode(tokenizer(sample)["input_ids"]) == sample


def test_no_character_is_lost(tokenizer):
    everything = "".join(map(chr, [*range(0x250), *range(0x4E00, 0x4F00), *range(0x1F600, 0x1F650)]))
    assert tokenizer.decode(tokenizer(everything)["input_ids"]) == everything


def test_added_tokens_are_single_and_special_as_declared(tokenizer):
    for token in (*SPECIAL_TOKENS, *ADDED_TOKENS):
        ids = tokenizer(token)["input_ids"]
        assert len(ids) == 1
        assert tokenizer.added_tokens_decoder[ids[0]].special == (token in SPECIAL_TOKENS)
    assert tokenizer.decode(tokenizer("<think>red<|im_end|>")["input_ids"], skip_special_tokens=True) == "<think>red"
    assert (tokenizer.pad_token, tokenizer.eos_token) == ("<|endoftext|>", "<|im_end|>")


def test_words_of_the_world_are_single_tokens(tokenizer):
    assert len(tokenizer) < 1000
    for word in {word.strip("?.,") for text in world_texts() for word in text.split()}:
        assert min(len(tokenizer(form)["input_ids"]) for form in (word, f" {word}")) == 1, word


def test_vision_template(vision):
    processor = AutoProcessor.from_pretrained(vision)
    start = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
    image = "<|vision_start|><|image_pad|><|vision_end|>"
    answer = [USER, {"role": "assistant", "content": [{"type": "text", "text": "red"}]}]
    turn = f"{start}{image}{QUESTION}<|im_end|>\n<|im_start|>assistant\n"
    assert processor.apply_chat_template([USER], add_generation_prompt=True) == turn
    assert processor.apply_chat_template(answer) == f"{turn}red<|im_end|>\n"
    own = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "video"}]}]
    assert processor.apply_chat_template(own) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\n<|vision_start|><|video_pad|><|vision_end|><|im_end|>\n"
    )


def test_text_template_takes_string_content_only(text):
    tokenizer = AutoTokenizer.from_pretrained(text)
    user = {"role": "user", "content": QUESTION}
    turn = f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.apply_chat_template([user], add_generation_prompt=True, tokenize=False) == turn
    answered = tokenizer.apply_chat_template([user, {"role": "assistant", "content": "red"}], tokenize=False)
    assert answered == f"{turn}<think>\n\n</think>\n\nred<|im_end|>\n"
    parts = {"role": "user", "content": [{"type": "text", "text": QUESTION}]}
    assert QUESTION not in tokenizer.apply_chat_template([parts], tokenize=False)


def test_own_texts_shape_the_vocabulary(tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(write_backbone(tmp_path, "qwen3", "test", texts=["xylophone"] * 3))
    assert len(tokenizer("xylophone")["input_ids"]) == 1


@pytest.mark.parametrize("change", [{"family": "qwen"}, {"size": "tests"}])
def test_unknown_names_are_refused(tmp_path, change):
    with pytest.raises(UnknownNameError, match="Did you mean"):
        write_backbone(tmp_path / "never", **change)
    assert not (tmp_path / "never").exists()
