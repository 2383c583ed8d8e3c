"""Four-bit linear layers of a text model that stands still below adapters (QLoRA): how they load, what they mean."""

from collections.abc import Iterator, Mapping
from copy import copy
from importlib.util import find_spec
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from transformers import BitsAndBytesConfig

from basereward.configuration import Section
from basereward.errors import CheckpointError, MissingExtraError
from basereward.models.families import Family

STORED = "quantization_config"
# Weights that share a scale, and scales that share one in turn.
BLOCK, BLOCK_OF_SCALES = 64, 256


class QuantizationSettings(Section):
    """Hold the text model's linear layers in 4 bits below adapters (QLoRA, arXiv 2305.14314); needs bitsandbytes."""

    format: Literal["nf4", "fp4"] = "nf4"
    """Quantiles of a normal distribution, or 4-bit floats; each block of 64 weights has a scale."""
    double: bool = True
    """Quantise the scales, too: 0.37 bits a weight less."""

    @property
    def bytes_per_weight(self) -> float:
        """What a weight takes with its share of the scales: of 4 bytes, or of 1 byte and 4 for each 256 of them."""
        return 0.5 + (1 + 4 / BLOCK_OF_SCALES if self.double else 4) / BLOCK


class FourBitLayer(NamedTuple):
    """A 4-bit linear layer and its path in the model."""

    path: str
    layer: Any


def check_bitsandbytes() -> None:
    """Check that bitsandbytes is installed.

    Raises:
        MissingExtraError: it is not.
    """
    if find_spec("bitsandbytes") is None:
        raise MissingExtraError(
            "4-bit weights need bitsandbytes; install it with: pip install 'basereward[bnb]'. Where it is, basereward "
            "merge makes a whole model of such a checkpoint, which needs it no more."
        )


def check_unquantised(config: Mapping[str, Any], name: str) -> None:
    """Refuse to train on weights that are stored quantised: they would stand still, or be quantised twice.

    Args:
        config: what ``config.json`` holds.
        name: of the model, for the message.

    Raises:
        CheckpointError: they are.
    """
    if STORED in config:
        method = config[STORED].get("quant_method", "unknown")
        raise CheckpointError(
            f"{name} is stored quantised ({method}), and such weights cannot train. Name the model that it was made "
            "of; model.lora with model.quantization holds that one in 4 bits."
        )


def loading_options(settings: QuantizationSettings, family: Family) -> dict[str, Any]:
    """Return what ``from_pretrained`` takes to load the linear layers of a family's text model in 4 bits.

    The vision tower, its map to tokens, embeddings and norms stay as they are stored. It is the CPU that quantises,
    wherever the model goes afterwards, so that training, scoring and merging anywhere have the same weights.

    Raises:
        MissingExtraError: bitsandbytes is not installed.
    """
    check_bitsandbytes()
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=settings.format,
        bnb_4bit_use_double_quant=settings.double,
        llm_int8_skip_modules=[*family.vision_modules, "lm_head"],
    )
    return {STORED: config, "device_map": {"": "cpu"}}


def settle_quantised(model: Any, dtype: torch.dtype | None) -> None:
    """Bring a model that was loaded so to the dtype that it is asked for, and forget how it was loaded.

    Its layers were quantised from their stored dtype, whatever is asked for: of bf16 copies other values would come.

    Args:
        dtype: of what is not quantised, and what the 4-bit layers compute in; the stored one by default.

    Raises:
        CheckpointError: a layer's rows are no whole number of blocks.
    """
    _check_rows(model)
    own: torch.dtype = model.dtype
    for weight in model.parameters():
        # Four bits are held as integers, and some families keep single weights in fp32.
        if dtype and weight.dtype == own:
            weight.data = weight.data.to(dtype)
    for _, layer in four_bit_layers(model):
        # It would pack weights anew for evaluations on some CPUs, through which no gradient flows afterwards.
        layer.support_avx512bf16_for_cpu = False
    compute_in(model, dtype or own)
    # What is saved below adapters is the configuration of the base, which is not quantised.
    del model.config.quantization_config
    model.config.dtype = dtype or own


def _check_rows(model: nn.Module) -> None:
    """Refuse blocks that run over from one row into the next: on CPUs bitsandbytes takes them for other weights."""
    for path, layer in four_bit_layers(model):
        if layer.in_features % BLOCK:
            raise CheckpointError(
                f"{path} has {layer.in_features} inputs, no multiple of the {BLOCK} weights of a block, and cannot be "
                "held in 4 bits; leave out model.quantization."
            )


def compute_in(model: nn.Module, dtype: torch.dtype) -> None:
    """Let 4-bit layers compute in a dtype: their inputs and weights are cast to it, their outputs back."""
    for _, layer in four_bit_layers(model):
        layer.compute_dtype, layer.compute_type_is_set = dtype, True
        # A backward pass takes the weight in this one, a forward pass in the former.
        layer.weight.quant_state.dtype = dtype


def four_bit_layers(model: nn.Module) -> Iterator[FourBitLayer]:
    """Yield the 4-bit layers of a model; nothing is imported for one that has none."""
    for path, module in model.named_modules():
        # PEFT's wrapper around such a layer has the same name, and no weight of its own.
        if type(module).__name__ == "Linear4bit" and type(module).__module__.startswith("bitsandbytes."):
            yield FourBitLayer(path, module)


def dequantise(layer: Any) -> Tensor:
    """Return the fp32 weight that a 4-bit layer computes with: ``level * scale`` of each block."""
    from bitsandbytes.functional import dequantize_4bit

    state = copy(layer.weight.quant_state)
    state.dtype = torch.float32
    return dequantize_4bit(layer.weight.data, state)


def whole_linear(layer: Any, weight: Tensor, dtype: torch.dtype) -> nn.Linear:
    """Return a linear layer with a weight, and with the bias of a 4-bit one."""
    whole = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
    whole.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
    if layer.bias is not None:
        whole.bias = nn.Parameter(layer.bias.detach().to(dtype), requires_grad=False)
    return whole
