"""A checkpoint in InternVL's own layout gives the ids, pixels and hidden states that its own code would give."""

import json

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from transformers import AutoProcessor

from basereward.data.schema import Message, Part, Response, ResponseGroup
from basereward.encoding.collate import collate
from basereward.errors import CheckpointError, DataError
from basereward.models.checkpoint import load_reward_model, new_reward_model, save_reward_model
from basereward.models.hub import open_folder
from basereward.models.importing.run import import_checkpoint
from basereward.models.inputs import TemplateSettings
from tests.models.importing.conftest import (
    ADDED,
    CONVERSATIONS,
    PIECES,
    RENAMED,
    SYSTEM,
    Reference,
    segment,
    sentencepiece,
    tiles_of,
)

WQKV = "language_model.model.layers.0.attention.wqkv.weight"
SPECIAL = {name: len(PIECES) - 2 + place for place, name in enumerate([*RENAMED, *ADDED])} | {"<s>": 1}


def ids_of(*parts):
    """The ids of texts and special tokens, each text on its own, as a tokenizer in Python splits them."""
    return [number for part in parts for number in ([SPECIAL[part]] if part in SPECIAL else segment(part))]


@pytest.fixture
def group(picture):
    image = picture(130, 60, 3)
    prompt = (Message("user", (Part("image"), Part("text", "the red circle,  at? _\u4f60"))),)
    answers = [Response(text, (Message("assistant", (Part("text", text),)),)) for text in ("red", " In the circle.")]
    return ResponseGroup("g", prompt, tuple(answers), (image,))


@pytest.mark.parametrize(
    ("vision", "text"),
    [({}, {}), ({"qk_normalization": True, "norm_type": "rms_norm", "qkv_bias": False}, {"bias": True})],
)
@torch.no_grad()
def test_rewards_are_read_where_its_own_code_computes(vision, text, write_tiny, group, tmp_path):
    source, weights = write_tiny(vision, text)
    if vision:
        for layer in range(2):
            weights.pop(f"vision_model.encoder.layers.{layer}.attn.qkv.bias")
        for file in source.glob("*.safetensors"):
            save_file({k: v for k, v in load_file(file).items() if k in weights}, file)
    out = import_checkpoint(source, tmp_path / "out")
    # As its own code resizes; torchvision's pixels differ by a grey level here and there.
    model = new_reward_model(out, template=TemplateSettings(image_backend="pil")).eval()
    reference = Reference(weights, bool(vision), vision.get("norm_type", "layer_norm"))
    encoded = model.template.encode(group)
    tiles = tiles_of(group.images[0])
    assert len(tiles) == 3
    torch.testing.assert_close(encoded.images.tensors["pixel_values"], tiles, atol=1e-5, rtol=0)
    image_token = SPECIAL["<IMG_CONTEXT>"]
    expected = []
    for answer, suffix in zip(("red", " In the circle."), encoded.suffixes, strict=True):
        image = ["<img>", *["<IMG_CONTEXT>"] * 4 * len(tiles), "</img>"]
        asked = ["<|im_start|>", "user\n", *image, "\nthe red circle,  at? _\u4f60", "<|im_end|>"]
        begun = ["<s>", "<|im_start|>", f"system\n{SYSTEM}", "<|im_end|>", *asked]
        ids = ids_of(*begun, "<|im_start|>", f"assistant\n{answer}", "<|im_end|>")
        assert [*encoded.prefix, *suffix] == ids
        expected.append(reference.hidden(torch.tensor(ids), tiles, image_token)[-1])
    found = model.hidden_states(**collate([encoded]))
    assert (found - torch.stack(expected)).abs().max() <= 1e-5 * torch.stack(expected).abs().max()
    rewards = model(**collate([encoded]))
    loaded = load_reward_model(save_reward_model(model, tmp_path / "model")).eval()
    assert torch.equal(loaded(**collate([loaded.template.encode(group)])), rewards)


def test_the_folder_is_one_of_transformers_and_says_where_it_comes_from(write_tiny, tmp_path):
    source, weights = write_tiny()
    out = import_checkpoint(source, tmp_path / "out")
    folder = open_folder(out)
    assert folder.content["architectures"] == ["InternVLForConditionalGeneration"]
    assert folder.config.get_text_config().rope_parameters["rope_type"] == "dynamic"
    stored = [load_file(file) for file in sorted(out.glob("*.safetensors"))]
    assert len(stored) == 2
    assert sum(own.numel() for held in stored for own in held.values()) == sum(own.numel() for own in weights.values())
    index = json.loads((out / "model.safetensors.index.json").read_text())["weight_map"]
    assert sorted(index) == sorted(name for held in stored for name in held)
    facts = yaml.safe_load((out / "README.md").read_text().split("---")[1])
    assert facts == {"license": "mit", "base_model": source.name}
    assert (out / "LICENSE").read_text() == "Do as you like.\n"
    assert not list(out.glob("*.py"))
    ends = json.loads((out / "generation_config.json").read_text())["eos_token_id"]
    assert ends == [2, SPECIAL["<|im_end|>"]]


def test_every_token_keeps_its_number(write_tiny, tmp_path):
    source, _ = write_tiny()
    tokenizer = AutoProcessor.from_pretrained(import_checkpoint(source, tmp_path / "out")).tokenizer
    names = [*(text for text, _, _ in PIECES[:-2]), *RENAMED, *ADDED]
    assert tokenizer.convert_ids_to_tokens(range(len(names))) == names
    assert tokenizer("the <img>", add_special_tokens=True)["input_ids"] == ids_of("the ", "<img>")
    for text in ("  a", "\u4f60 the\n\n", "[UNUSED_TOKEN_1]", "</s", "\x00"):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert ids == segment(text)
        assert tokenizer.decode(ids) == text


def test_a_given_system_message_takes_the_place_of_the_default(write_tiny, tmp_path):
    source, _ = write_tiny()
    processor = AutoProcessor.from_pretrained(import_checkpoint(source, tmp_path / "out"))
    turns = [{"role": role, "content": role[0]} for role in ("system", "user", "assistant", "user")]
    text = processor.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    asked = "<|im_start|>user\nu<|im_end|><|im_start|>assistant\n"
    rest = f"{asked}a<|im_end|>{asked}"
    assert text == "<s><|im_start|>system\ns<|im_end|>" + rest
    assert processor.apply_chat_template(turns[1:], add_generation_prompt=True, tokenize=False) == (
        f"<s><|im_start|>system\n{SYSTEM}<|im_end|>" + rest
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"text": {"architectures": ["Phi3ForCausalLM"]}}, "Phi-3 .InternVL2-4B"),
        ({"text": {"rope_pos_id_version": "v2pe"}}, "v2pe"),
        ({"ps_version": "v1"}, "ps_version 'v1'"),
        ({"select_layer": -2}, "select_layer -2"),
        ({"force_image_size": 112}, "tiles of 112 pixels"),
        ({"use_thumbnail": False}, "use_thumbnail"),
        ({"use_llm_lora": 8}, "use_llm_lora"),
        ({"template": "other"}, "more than constants"),
        ({"template": "unknown"}, "no chat template 'unknown'"),
        ({"model_type": "minicpmv"}, "'minicpmv'"),
        ({"vision": {"qk_normalization": True}}, "lacks 2 weights"),
        ({"text": {"vocab_size": 9}}, "counts to"),
        ({"text": {"hidden_size": "32"}}, "no configuration of InternVL.*hidden_size"),
        ({"downsample_ratio": 0.4}, "downsample_ratio 0.4"),
    ],
)
def test_what_transformers_cannot_say_is_refused_by_name(changed, message, write_tiny, tmp_path):
    parts = {key: changed.pop(key) for key in ("vision", "text") if key in changed}
    source, _ = write_tiny(**parts, **changed)
    if "vision" in parts:
        for file in source.glob("*.safetensors"):
            save_file({name: own for name, own in load_file(file).items() if ".attn.q_norm" not in name}, file)
    with pytest.raises(CheckpointError, match=message):
        import_checkpoint(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda held: held.pop("mlp1.3.bias"), r"lacks 1 weights: multi_modal_projector\.linear_2\.bias"),
        (lambda held: held.update({"mlp1.4.bias": torch.ones(1)}), r"mlp1\.4\.bias is none"),
        (lambda held: held.update({"vision_model.encoder.layers.7.ls1": torch.ones(16)}), r"layers\.7\.ls1.*no place"),
        (lambda held: held.update({"mlp1.3.bias": torch.ones(5)}), r"shape \[5\], expected \[32\]"),
        (lambda held: held.update({"language_model.model.layers.0.self_attn.q_proj.weight": torch.ones(1)}), "is none"),
        (lambda held: held.update({WQKV: held[WQKV][:-1]}), r"wqkv\.weight has 63 rows; .* groups of 32"),
        (lambda held: held.update({"mlp1.3.bias": held["mlp1.3.bias"].to(torch.int8)}), "int8; expected unquantised"),
    ],
)
def test_every_weight_is_accounted_for(change, message, write_tiny, tmp_path):
    source, weights = write_tiny()
    for file in source.glob("*.safetensors"):
        file.unlink()
    change(weights)
    save_file(weights, source / "model.safetensors")
    with pytest.raises(CheckpointError, match=message):
        import_checkpoint(source, tmp_path / "out")


def test_a_weight_may_not_be_there_twice(write_tiny, tmp_path):
    source, weights = write_tiny()
    save_file({"mlp1.3.bias": weights["mlp1.3.bias"]}, source / "model-00003-of-00002.safetensors")
    with pytest.raises(CheckpointError, match=r"mlp1\.3\.bias.*twice"):
        import_checkpoint(source, tmp_path / "out")


def test_an_unfinished_import_is_made_anew_and_a_finished_one_kept(write_tiny, tmp_path):
    source, _ = write_tiny()
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "model-00001-of-00009.safetensors").write_bytes(b"half")
    out = import_checkpoint(source, tmp_path / "out")
    assert len(list(out.glob("*.safetensors"))) == 2
    with pytest.raises(DataError, match="holds something else"):
        import_checkpoint(source, out)


def test_a_link_to_an_empty_folder_is_that_folder_and_a_broken_download_is_named(write_tiny, tmp_path):
    source, _ = write_tiny()
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    import_checkpoint(source, tmp_path / "link")
    assert len(list((tmp_path / "real").glob("*.safetensors"))) == 2
    assert (tmp_path / "link").is_symlink()
    file = max(source.glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(CheckpointError, match=f"{file} is no whole file of tensors"):
        import_checkpoint(source, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.model", b"\xff\xff", "no SentencePiece model"),
        ("tokenizer.model", sentencepiece([*PIECES[:-3], ("the", 0.0, 1), *PIECES[-2:]]), "'the' twice"),
        ("tokenizer.model", sentencepiece([*PIECES, ("tt", 0.0, 5)]), "unused piece 'tt'"),
        ("conversation.py", b"def", "is not Python"),
        ("conversation.py", CONVERSATIONS.replace("MPT", "CHATML").encode(), "'CHATML'"),
    ],
)
def test_files_of_another_kind_are_named(name, content, message, write_tiny, tmp_path):
    source, _ = write_tiny()
    (source / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        import_checkpoint(source, tmp_path / "out")


def test_tokens_that_would_move_are_refused(write_tiny, tmp_path):
    source, _ = write_tiny()
    file = source / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    moved = settings["added_tokens_decoder"]
    moved[str(max(map(int, moved)) + 5)] = moved.pop(str(max(map(int, moved))))
    file.write_text(json.dumps(settings))
    with pytest.raises(CheckpointError, match=r"'</box>' would get the id"):
        import_checkpoint(source, tmp_path / "out")


def test_a_text_model_of_transformers_keeps_its_names_and_tokenizer(write_tiny, backbone_of, tmp_path):
    """As InternVL2-1B, whose text model is Qwen2 and whose tokenizer is in transformers."""
    source, weights = write_tiny()
    tiny = backbone_of("qwen2")
    shape = json.loads((tiny / "config.json").read_text())
    tokenizer = AutoProcessor.from_pretrained(backbone_of("internvl")).tokenizer
    config = json.loads((source / "config.json").read_text())
    size = len(tokenizer)
    config["llm_config"] = {**shape, "architectures": ["Qwen2ForCausalLM"], "vocab_size": size, "rope_theta": 1e4}
    (source / "config.json").write_text(json.dumps(config))
    for file in (*source.glob("*.safetensors"), source / "tokenizer.model"):
        file.unlink()
    text = {f"language_model.{name}": own for name, own in load_file(tiny / "model.safetensors").items()}
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        text[f"language_model.{name}"] = torch.randn(size, shape["hidden_size"])
    kept = {name: own for name, own in weights.items() if not name.startswith("language_model.")}
    save_file({**text, **kept}, source / "model.safetensors")
    tokenizer.save_pretrained(source)
    settings = json.loads((source / "tokenizer_config.json").read_text())
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    (source / "tokenizer_config.json").write_text(json.dumps(settings))
    out = import_checkpoint(source, tmp_path / "out")
    stored = load_file(out / "model.safetensors")
    assert all(stored[name].equal(own) for name, own in text.items())
    assert open_folder(out).config.text_config.model_type == "qwen2"
    assert len(new_reward_model(out).eval().score("Is it red?", responses=["yes", "no"])) == 2


def test_the_refusal_of_repository_code_names_the_command(write_tiny):
    source, _ = write_tiny()
    with pytest.raises(CheckpointError, match=f"basereward import {source}"):
        open_folder(source)


def test_no_weights_are_copied_where_the_text_model_is_refused(write_tiny, tmp_path):
    source, _ = write_tiny(text={"architectures": ["Phi3ForCausalLM"]})
    with pytest.raises(CheckpointError):
        import_checkpoint(source, tmp_path / "none")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["InternVL2-tiny"]
