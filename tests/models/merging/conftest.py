"""A vision-language model, its language model alone, and a text reward model that was trained from that."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoTokenizer, Qwen3ForCausalLM

from basereward.data.record import DataRecord, TrainedBy, TrainedOn
from basereward.models.checkpoint import new_reward_model, save_reward_model
from basereward.models.families import FAMILIES
from basereward.models.head import HeadSettings
from basereward.models.parts import read_tensors

INSIDE = FAMILIES["qwen3_vl"].to_hub("language_model.")


def moved(weights, seed):
    torch.manual_seed(seed)
    return {name: weight + 0.01 * torch.randn_like(weight) for name, weight in weights.items()}


@pytest.fixture(scope="session")
def vision(backbone_of):
    return backbone_of("qwen3_vl")


@pytest.fixture(scope="session")
def base(vision, tmp_path_factory):
    """The language model alone, as its own folder: the weights inside the vision-language model, moved a little."""
    folder = tmp_path_factory.mktemp("base")
    config = AutoConfig.from_pretrained(vision).text_config
    text = {**config.to_dict(), "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}
    text["rope_parameters"] = {"rope_type": "default", "rope_theta": config.rope_parameters["rope_theta"]}
    (folder / "config.json").write_text(json.dumps(text))
    config = AutoConfig.from_pretrained(folder)
    Qwen3ForCausalLM(config).save_pretrained(folder)
    inner = {name: weight for name, weight in read_tensors(vision).items() if name.startswith(INSIDE)}
    own = moved({"model." + name.removeprefix(INSIDE): weight for name, weight in inner.items()}, 1)
    stored = load_file(folder / "model.safetensors")
    assert own.keys() == stored.keys() - {"lm_head.weight"}
    save_file({**stored, **own}, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer = AutoTokenizer.from_pretrained(vision)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def text(base, tmp_path_factory):
    """A text reward model that was trained from the base."""
    model = new_reward_model(base, HeadSettings(), head_seed=0)
    torch.manual_seed(2)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.01 * torch.randn_like(weight)
    inputs = (TrainedOn(name="text pairs", manifest_sha256=None, sources=None),)
    told = TrainedBy(recipe_sha256=64 * "0", seed=0, name="text recipe")
    model.data_record = DataRecord(fingerprint="t", inputs=inputs, contamination=None, trained_by=told)
    return save_reward_model(model, tmp_path_factory.mktemp("text"))
