"""A reward model on disk is a Hugging Face folder: what it holds, who can load it, and that nothing changes."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
)

from basereward.data.record import DataRecord
from basereward.errors import CheckpointError
from basereward.models.checkpoint import load_reward_model, load_weights, new_reward_model, save_reward_model
from basereward.models.head import HeadSettings
from basereward.models.inputs import TemplateSettings, load_template


def stored(folder):
    """All tensors of a folder."""
    return {name: own for file in folder.glob("*.safetensors") for name, own in load_file(file).items()}


def config_of(folder):
    return json.loads((folder / "config.json").read_text())


@pytest.mark.parametrize(("kind", "architecture"), [("vl", "Qwen2_5_VLForReward"), ("text", "Qwen3ForReward")])
def test_the_configuration_names_what_readers_need(kind, architecture, request, tmp_path):
    model = request.getfixturevalue(f"{kind}_model")
    model.data_record = DataRecord(fingerprint="abc", inputs=(), contamination=None)
    config = config_of(save_reward_model(model, tmp_path))
    assert config["architectures"] == [architecture]
    assert config["num_labels"] == 1
    assert config["problem_type"] == "regression"
    assert config["dtype"] == "float32"
    reward = config["reward"]
    assert reward["head"] == {"layers": 2, "activation": "silu", "width": 32}
    assert reward["pooling"] == "last_token"
    assert reward["inputs"] == model.template.facts.model_dump(mode="json")
    assert reward["data_hash"] == "abc"
    assert reward["basereward_version"]
    if kind == "vl":
        assert reward["image_backend"] == model.template.vision.backend
        assert reward["pixels"] == {"min": 4 * 784, "max": 256 * 784}
    read = AutoConfig.from_pretrained(tmp_path)
    assert read.num_labels == 1
    assert read.problem_type == "regression"
    assert read.reward == reward


def test_weights_are_the_backbones_own_and_a_head(vl_model, vl_backbone, tmp_path):
    weights, original = stored(save_reward_model(vl_model, tmp_path)), stored(vl_backbone)
    head = {name for name in weights if name.startswith("reward_head.")}
    assert head == {"reward_head.layers.0.weight", "reward_head.layers.0.bias", "reward_head.layers.1.weight"}
    assert weights.keys() - head == original.keys() - {"lm_head.weight"}
    assert all(torch.equal(weights[name], original[name]) for name in weights.keys() - head)


@pytest.mark.parametrize(
    ("kind", "auto", "headless"),
    [
        ("vl", AutoModel, True),
        ("vl", AutoModelForImageTextToText, False),
        ("text", AutoModel, True),
        ("text", AutoModelForCausalLM, False),
    ],
)
@pytest.mark.parametrize("shard", [5 * 10**9, 100_000])
def test_other_classes_load_the_backbone(kind, auto, headless, shard, request, tmp_path):
    model = request.getfixturevalue(f"{kind}_model")
    save_reward_model(model, tmp_path, shard_bytes=shard)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (shard < 10**9)
    loaded, info = auto.from_pretrained(tmp_path, output_loading_info=True)
    assert set(info["missing_keys"]) == (set() if headless else {"lm_head.weight"})
    assert not info["mismatched_keys"]
    assert all(name.startswith("reward_head.") for name in info["unexpected_keys"])
    backbone = loaded if headless else loaded.model
    ours = model.backbone.state_dict()
    assert all(torch.equal(weight, ours[name]) for name, weight in backbone.state_dict().items())


def test_processor_and_tokenizer_load_from_the_folder(vl_model, tmp_path):
    save_reward_model(vl_model, tmp_path)
    assert AutoProcessor.from_pretrained(tmp_path).chat_template == vl_model.template.chat_template
    assert AutoTokenizer.from_pretrained(tmp_path).get_vocab() == vl_model.template.tokenizer.get_vocab()
    assert load_template(tmp_path).hash == vl_model.template.hash


@pytest.mark.parametrize("shard", [5 * 10**9, 100_000])
def test_a_saved_model_is_the_same(model, shard, tmp_path):
    loaded = load_reward_model(save_reward_model(model, tmp_path, shard_bytes=shard))
    ours, theirs = model.state_dict(), loaded.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(weight, theirs[name]) for name, weight in ours.items())
    for weight in loaded.parameters():
        torch.nn.init.zeros_(weight)
    load_weights(loaded, tmp_path)
    assert all(torch.equal(weight, theirs[name]) for name, weight in ours.items())


def test_saving_again_into_the_same_folder_leaves_nothing_old(vl_model, tmp_path):
    save_reward_model(vl_model, tmp_path, shard_bytes=100_000)
    with torch.no_grad():
        vl_model.head.layers[1].weight += 1
        vl_model.backbone.language_model.norm.weight += 1
    save_reward_model(vl_model, tmp_path)
    assert [file.name for file in tmp_path.glob("*.safetensors*")] == ["model.safetensors"]
    loaded = load_reward_model(tmp_path).state_dict()
    assert all(torch.equal(weight, loaded[name]) for name, weight in vl_model.state_dict().items())


@pytest.mark.parametrize(
    "settings",
    [{"layers": 1}, {"layers": 3, "activation": "tanh", "width": 7}, {"layers": 5, "activation": "none"}, {"heads": 3}],
)
def test_every_head_comes_back(settings, text_backbone, text_groups, rewards_of, tmp_path):
    model = new_reward_model(text_backbone, HeadSettings(**settings)).eval()
    loaded = load_reward_model(save_reward_model(model, tmp_path)).eval()
    assert torch.equal(rewards_of(loaded, text_groups), rewards_of(model, text_groups))


def test_bf16_on_disk_keeps_the_head(vl_model, tmp_path):
    save_reward_model(vl_model, tmp_path, dtype=torch.bfloat16)
    weights = stored(tmp_path)
    kinds = {name: weight.dtype for name, weight in weights.items()}
    assert {dtype for name, dtype in kinds.items() if name.startswith("reward_head.")} == {torch.float32}
    assert {dtype for name, dtype in kinds.items() if not name.startswith("reward_head.")} == {torch.bfloat16}
    assert config_of(tmp_path)["dtype"] == "bfloat16"
    loaded = load_reward_model(tmp_path)
    assert {weight.dtype for weight in loaded.backbone.parameters()} == {torch.bfloat16}
    head = vl_model.head.state_dict()
    assert all(torch.equal(weight, head[name]) for name, weight in loaded.head.state_dict().items())
    assert next(load_reward_model(tmp_path, dtype=torch.float32).backbone.parameters()).dtype == torch.float32
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert file.metadata()["format"] == "pt"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda weights: weights | {"reward_head.more": torch.zeros(1)}, "this model lacks: reward_head.more"),
        (lambda weights: {k: v for k, v in weights.items() if "norm" not in k}, "lacks weights of this model"),
        (lambda weights: {k: v[:1].clone() for k, v in weights.items()}, "of another shape"),
    ],
)
def test_other_weights_are_not_loaded(change, says, text_model, tmp_path):
    save_reward_model(text_model, tmp_path)
    save_file(change(stored(tmp_path)), tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=says):
        load_weights(text_model, tmp_path)


@pytest.mark.parametrize("backend", ["pil", "torchvision"])
def test_the_image_backend_is_kept(backend, vl_backbone, picture, tmp_path):
    model = new_reward_model(vl_backbone, template=TemplateSettings(image_backend=backend))
    assert model.template.vision.backend == backend
    save_reward_model(model, tmp_path)
    assert config_of(tmp_path)["reward"]["image_backend"] == backend
    loaded = load_template(tmp_path)
    assert loaded.vision.backend == backend
    image = picture(150, 90)
    same, other = loaded.vision.encode([image]), model.template.vision.encode([image])
    assert torch.equal(same.tensors["pixel_values"], other.tensors["pixel_values"])
    resaved = save_reward_model(load_reward_model(tmp_path), tmp_path / "again")
    assert load_template(resaved).vision.backend == backend


def test_pixel_limits_decide_token_counts_and_are_kept(vl_backbone, vl_template, picture, image_tokens, tmp_path):
    settings = TemplateSettings(min_pixels=16 * 784, max_pixels=36 * 784, max_length=500)
    model = new_reward_model(vl_backbone, template=settings)
    save_reward_model(model, tmp_path)
    assert config_of(tmp_path)["reward"]["pixels"] == {"min": 16 * 784, "max": 36 * 784}
    for template in (model.template, load_template(tmp_path)):
        assert template.max_length == 500
        for size, free, limited in (((56, 56), 4, 16), ((112, 140), 20, 20), ((280, 280), 100, 36)):
            assert vl_template.vision.expand_image(*size).counts == (free,)
            assert template.vision.expand_image(*size).counts == (limited,)
            assert image_tokens(template.vision.encode([picture(*size)])) == limited
    processor = AutoProcessor.from_pretrained(tmp_path)
    ids = processor(text=["<|image_pad|>"], images=[picture(280, 280)])["input_ids"][0]
    assert len(ids) == 36


def test_a_stored_limit_can_be_overruled_alone(vl_backbone, tmp_path):
    settings = TemplateSettings(max_pixels=36 * 784, max_length=500, image_backend="pil")
    save_reward_model(new_reward_model(vl_backbone, template=settings), tmp_path)
    template = load_template(tmp_path, TemplateSettings(max_length=900))
    assert template.max_length == 900
    assert template.vision.expand_image(280, 280).counts == (36,)
    assert template.vision.backend == "pil"
