"""What layers keep for their backward pass, against what autograd really keeps."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel

from basereward.lab.world import WorldConfig, draw_pairs
from basereward.models.head import RewardHead
from basereward.models.inputs import load_template
from basereward.models.memory import text_memory, vision_memory
from basereward.models.reward_model import RewardModel
from basereward.training.collator import PreferenceCollator
from basereward.training.objectives import BradleyTerry

FAMILIES = ("qwen2_5_vl", "qwen2_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "internvl")


class Kept(NamedTuple):
    """Bytes that one forward pass keeps, and the tokens and patches of its row."""

    bytes: int
    tokens: int
    patches: int


def with_layers(config: Any, text: int, vision: int) -> Any:
    """The configuration with other numbers of layers."""
    content = config.to_dict()
    content["text_config"] |= {"num_hidden_layers": text, "layer_types": ["full_attention"] * text}
    name = "depth" if "depth" in content["vision_config"] else "num_hidden_layers"
    content["vision_config"] |= {name: vision, "fullatt_block_indexes": [0]}
    return type(config).from_dict(content)


def kept_bytes(model: nn.Module, batch: dict[str, Any], bf16: bool) -> int:
    """Bytes of all that one forward pass keeps, the weights and their casts to bf16 left out."""
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, Any] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            # The tensor itself is held, so that no other takes its place.
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    autocast = torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast:
        model(**batch)
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    cast = [linear.weight.numel() for linear in linears if linear.weight.dtype == torch.float32]
    casts = 2 * sum(cast) if bf16 else 0
    return sum(size for size, _ in kept.values()) - casts


@pytest.fixture(scope="module")
def forward(backbone_of: Callable) -> Callable[..., Kept]:
    """``forward(family, bf16, checkpointing, text, vision)``: what a model of so many layers keeps."""

    def run(
        family: str, bf16: bool, checkpointing: bool, text: int, vision: int, dtype: torch.dtype = torch.float32
    ) -> Kept:
        folder = backbone_of(family)
        config = with_layers(AutoConfig.from_pretrained(folder), text, vision)
        template = load_template(folder)
        backbone = AutoModel.from_config(config).to(dtype)
        model = RewardModel(backbone, RewardHead(config.get_text_config().hidden_size), template)
        if checkpointing:
            model.enable_checkpointing()
        batch = PreferenceCollator(template, BradleyTerry())(list(draw_pairs(6, 0, WorldConfig(text_share=0.0))))
        inputs = {key: value for key, value in batch.items() if key not in ("pairs", "margins", "weights")}
        pixels = batch["pixel_values"]
        patches = len(pixels) if pixels.ndim == 2 else len(pixels) * model.family.tower(config).window
        return Kept(kept_bytes(model.train(), inputs, bf16), batch["input_ids"].numel(), patches)

    return run


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_layer_keeps_what_is_said(family: str, bf16: bool, forward: Callable, backbone_of: Callable) -> None:
    base = forward(family, bf16, False, 2, 2)
    text = (forward(family, bf16, False, 4, 2).bytes - base.bytes) / 2 / base.tokens
    vision = (forward(family, bf16, False, 2, 4).bytes - base.bytes) / 2 / base.patches
    config = with_layers(AutoConfig.from_pretrained(backbone_of(family)), 2, 2)
    for found, memory in ((text, text_memory(config)), (vision, vision_memory(config))):
        said = memory._replace(layers=1).kept_bytes(bf16, is_wide=True, checkpointing=False)
        assert said == pytest.approx(found, rel=0.22)


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize(
    "changed", [{}, {"linear_num_value_heads": 16}, {"linear_key_head_dim": 64}, {"linear_value_head_dim": 64}]
)
def test_a_layer_of_linear_attention_keeps_what_is_said(changed: dict[str, int], bf16: bool) -> None:
    shape = {"hidden_size": 256, "intermediate_size": 768, "num_attention_heads": 4, "num_key_value_heads": 1}
    shape |= {"head_dim": 64, "vocab_size": 99, "linear_num_key_heads": 4, "linear_num_value_heads": 8}
    shape |= {"linear_key_head_dim": 32, "linear_value_head_dim": 32, **changed}
    ids = torch.arange(256)[None] % 99
    found = []
    for layers in (1, 2):
        kinds = {"layer_types": ["linear_attention"] * layers, "num_hidden_layers": layers}
        config = AutoConfig.for_model("qwen3_5_text", **shape, **kinds)
        found.append(kept_bytes(AutoModel.from_config(config).train(), {"input_ids": ids, "use_cache": False}, bf16))
    said = text_memory(config)._replace(layers=1).kept_bytes(bf16, is_wide=True, checkpointing=False)
    assert said == pytest.approx((found[1] - found[0]) / 256, rel=0.1)


def test_with_checkpointing_the_largest_layer_is_computed_again() -> None:
    config = AutoConfig.for_model("qwen3_5_text")
    linear = type(config).from_dict({**config.to_dict(), "layer_types": ["linear_attention"] * 32})
    mixed, alike = (text_memory(own).kept_bytes(True, False, True) for own in (config, linear))
    assert mixed == pytest.approx(alike, rel=0.05)


def test_weights_in_bf16_keep_a_narrow_residual_stream(forward: Callable, backbone_of: Callable) -> None:
    base = forward("qwen2_5_vl", True, False, 2, 2, torch.bfloat16)
    text = (forward("qwen2_5_vl", True, False, 4, 2, torch.bfloat16).bytes - base.bytes) / 2 / base.tokens
    memory = text_memory(AutoConfig.from_pretrained(backbone_of("qwen2_5_vl")))._replace(layers=1)
    assert memory.kept_bytes(True, is_wide=False, checkpointing=False) == pytest.approx(text, rel=0.15)
    assert memory.kept_bytes(True, is_wide=False, checkpointing=True) < memory.kept_bytes(True, True, True)


def test_with_checkpointing_a_layer_keeps_its_input(forward: Callable, backbone_of: Callable) -> None:
    base = forward("qwen2_5_vl", False, True, 2, 2)
    text = (forward("qwen2_5_vl", False, True, 4, 2).bytes - base.bytes) / 2 / base.tokens
    memory = text_memory(AutoConfig.from_pretrained(backbone_of("qwen2_5_vl")))
    one, two = (memory._replace(layers=layers).kept_bytes(False, True, True) for layers in (1, 2))
    assert text == two - one == 4 * memory.hidden
    assert one > two - one, "and one layer at a time is computed again"
