"""Names in the hub layout and in memory, for real state dictionaries."""

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, GPT2Config

from basereward.errors import CheckpointError
from basereward.models.families import FAMILIES, family_of, weightless

VISION_FAMILIES = [name for name, family in FAMILIES.items() if family.vision]


@pytest.mark.parametrize("name", [*VISION_FAMILIES, "qwen3", "qwen3_5_text"])
def test_names_go_to_the_hub_layout_and_back(name, backbone_of):
    folder = backbone_of(name)
    config = AutoConfig.from_pretrained(folder)
    family = family_of(config)
    with torch.device("meta"):
        native = list(AutoModel.from_config(config).state_dict())
    stored = set(load_file(folder / "model.safetensors")) - {"lm_head.weight", "language_model.lm_head.weight"}
    assert {family.to_hub(name) for name in native} == stored
    assert [family.to_native(family.to_hub(name)) for name in native] == native


def test_names_outside_the_layout_are_refused():
    with pytest.raises(CheckpointError, match=r"'audio\.weight'"):
        FAMILIES["qwen2_5_vl"].to_hub("audio.weight")
    with pytest.raises(CheckpointError, match=r"'lm_head\.weight'"):
        FAMILIES["qwen3"].to_native("lm_head.weight")


def test_an_unknown_family_is_named_with_the_table():
    with pytest.raises(
        CheckpointError,
        match=r"'gpt2' is not supported; known: internvl, qwen2, qwen2_5_vl, qwen2_vl, qwen3, qwen3_5, ",
    ):
        family_of(GPT2Config())


def test_a_weightless_backbone_has_no_storage(vl_backbone):
    config = AutoConfig.from_pretrained(vl_backbone)
    model = weightless(config)
    assert {weight.device.type for weight in model.parameters()} == {"meta"}
    assert len(model.language_model.layers) == 1
    assert config.get_text_config().num_hidden_layers == 2


@pytest.mark.parametrize("name", FAMILIES)
def test_architectures_are_classes_of_transformers(name):
    import transformers

    assert hasattr(transformers, FAMILIES[name].generator)
