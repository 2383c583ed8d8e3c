"""What differs between backbone families, as data: one row each."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModel, PreTrainedConfig

from basereward.encoding.internvl import InternVision, limit_tiles
from basereward.encoding.qwen import Qwen3Vision, QwenVision, limit_edges
from basereward.encoding.vision import VisionEncoding
from basereward.errors import CheckpointError
from basereward.models.segments import SEGMENTS
from basereward.models.towers import Tower, internvl_tower, qwen2_5_tower, qwen2_tower, qwen3_5_tower, qwen3_tower

# Of attention, of linear attention (Qwen3.5 has its inputs apart, Qwen3-Next in two pieces), and of the MLP. Experts of
# a mixture are no linear layers but stacks of matrices: adapters leave them alone.
LINEARS = (
    "q_proj|k_proj|v_proj|o_proj|in_proj_qkv|in_proj_z|in_proj_b|in_proj_a|in_proj_qkvz|in_proj_ba|out_proj|"
    "gate_proj|up_proj|down_proj"
)


# Where vLLM makes a classifier of the text model, not of the whole.
TEXT_CLASSIFIER = "language_model.score.weight"


@dataclass(frozen=True, slots=True)
class Family:
    """How a backbone is stored and fed.

    Args:
        architecture: stem of the class names: ``<stem>ForReward``, ``<stem>ForSequenceClassification``.
        hub_prefixes: (prefix of a parameter of ``AutoModel``, its prefix in the hub layout), first match wins.
        axes: rotary position axes.
        text_module: path of the text model inside the backbone, empty for text families.
        vision_module: path of the vision tower, empty for text families.
        projector_module: path of the map from its features to tokens, if it is not part of the tower.
        vision: builds the encoding of images and videos from (processor, config, weightless backbone).
        vision_attention: attention implementation of the vision tower.
        limit_pixels: options of an image processor for (image processor, least pixels, most pixels).
        tower: the cost of the vision tower, from the configuration.
        lm_head: the vocabulary head in the hub layout.
        writer: stem of ``<stem>ForConditionalGeneration`` or ``<stem>ForCausalLM``, if it is another.
        turned: ends of the names of weights whose last two dimensions stand the other way round in the hub layout.
        classifier_head: the head of a one-label classifier where transformers, or without such a class vLLM, looks for
            it.
    """

    architecture: str
    hub_prefixes: tuple[tuple[str, str], ...]
    axes: int = 1
    text_module: str = ""
    vision_module: str = ""
    projector_module: str = ""
    vision: Callable[[Any, Any, Any], VisionEncoding] | None = None
    vision_attention: str = "sdpa"
    limit_pixels: Callable[[Any, int | None, int | None], dict[str, Any]] = limit_edges
    tower: Callable[[Any], Tower] | None = None
    lm_head: str = "lm_head."
    classifier_head: str = "score.weight"
    writer: str = ""
    turned: tuple[str, ...] = ()

    @property
    def generator(self) -> str:
        """The class of transformers that writes with this backbone."""
        return f"{self.writer or self.architecture}For{'ConditionalGeneration' if self.vision_module else 'CausalLM'}"

    @property
    def vision_modules(self) -> tuple[str, ...]:
        """Paths of everything that only images and videos pass through."""
        return tuple(path for path in (self.vision_module, self.projector_module) if path)

    def lora_pattern(self, names: Sequence[str] = ()) -> str:
        """Return a regular expression of the text model's linear layers, all of them or those of these names.

        Raises:
            CheckpointError: no linear layer is called so.
        """
        known = LINEARS.split("|")
        if strange := [name for name in names if name not in known]:
            raise CheckpointError(
                f"No linear layer of a text model is called {strange[0]!r}; known: {', '.join(known)}."
            )
        chosen = "|".join(names) or LINEARS
        return rf"{re.escape(self.text_module)}\..*\.({chosen})" if self.text_module else rf".*({chosen})"

    def turn(self, name: str, tensor: Tensor) -> Tensor:
        """Return a weight of either layout as it stands in the other, sharing its memory; only experts may differ."""
        return tensor.transpose(-1, -2) if name.endswith(self.turned) else tensor

    def to_hub(self, name: str) -> str:
        """Return the hub-layout name of a backbone parameter."""
        for native, hub in self.hub_prefixes:
            if name.startswith(native):
                return hub + name[len(native) :]
        raise CheckpointError(f"Parameter {name!r} has no place in the hub layout of {self.architecture}.")

    def to_native(self, name: str) -> str:
        """Return the backbone's name of a hub-layout parameter."""
        for native, hub in self.hub_prefixes:
            if name.startswith(hub):
                return native + name[len(hub) :]
        raise CheckpointError(f"Parameter {name!r} is not in the hub layout of {self.architecture}.")


# Qwen3-VL and all after it.
_INSIDE_MODEL = (("language_model.", "model.language_model."), ("visual.", "model.visual."))
_EXPERTS = (".experts.gate_up_proj", ".experts.down_proj")


def _qwen3_5(architecture: str) -> Family:
    return Family(
        architecture=architecture,
        hub_prefixes=_INSIDE_MODEL,
        axes=3,
        text_module="language_model",
        vision_module="visual",
        vision=Qwen3Vision,
        tower=qwen3_5_tower,
    )


FAMILIES: dict[str, Family] = {
    "qwen2_vl": Family(
        classifier_head=TEXT_CLASSIFIER,
        architecture="Qwen2VL",
        hub_prefixes=(("language_model.", "model."), ("visual.", "visual.")),
        axes=3,
        text_module="language_model",
        vision_module="visual",
        vision=QwenVision,
        vision_attention=SEGMENTS,
        tower=qwen2_tower,
    ),
    "qwen2_5_vl": Family(
        classifier_head=TEXT_CLASSIFIER,
        architecture="Qwen2_5_VL",
        hub_prefixes=(("language_model.", "model."), ("visual.", "visual.")),
        axes=3,
        text_module="language_model",
        vision_module="visual",
        vision=QwenVision,
        vision_attention=SEGMENTS,
        tower=qwen2_5_tower,
    ),
    "qwen3_vl": Family(
        architecture="Qwen3VL",
        hub_prefixes=_INSIDE_MODEL,
        axes=3,
        text_module="language_model",
        vision_module="visual",
        vision=Qwen3Vision,
        vision_attention=SEGMENTS,
        tower=qwen3_tower,
    ),
    "qwen3_vl_moe": Family(
        architecture="Qwen3VLMoe",
        hub_prefixes=_INSIDE_MODEL,
        axes=3,
        text_module="language_model",
        vision_module="visual",
        vision=Qwen3Vision,
        tower=qwen3_tower,
        turned=_EXPERTS,
    ),
    # Their repositories hold more weights (mtp.*), which guess further tokens for faster writing; no reward needs them.
    "qwen3_5": _qwen3_5("Qwen3_5"),
    "qwen3_5_moe": _qwen3_5("Qwen3_5Moe"),
    "internvl": Family(
        classifier_head=TEXT_CLASSIFIER,
        architecture="InternVL",
        hub_prefixes=(
            ("language_model.", "language_model.model."),
            ("vision_tower.", "vision_tower."),
            ("multi_modal_projector.", "multi_modal_projector."),
        ),
        text_module="language_model",
        vision_module="vision_tower",
        projector_module="multi_modal_projector",
        vision=InternVision,
        limit_pixels=limit_tiles,
        tower=internvl_tower,
        lm_head="language_model.lm_head.",
    ),
    "qwen2": Family(architecture="Qwen2", hub_prefixes=(("", "model."),)),
    "qwen3": Family(architecture="Qwen3", hub_prefixes=(("", "model."),)),
    "qwen3_5_text": Family(architecture="Qwen3_5Text", writer="Qwen3_5", hub_prefixes=(("", "model."),)),
}


def family_of(config: PreTrainedConfig) -> Family:
    """Return the family of a configuration.

    Raises:
        CheckpointError: the family has no row in the table.
    """
    if config.model_type not in FAMILIES:
        raise CheckpointError(
            f"Backbone type {config.model_type!r} is not supported; known: {', '.join(sorted(FAMILIES))}. "
            "A new family is one row of basereward/models/families.py."
        )
    return FAMILIES[config.model_type]


def weightless(config: PreTrainedConfig) -> Any:
    """Return a backbone of this class on the meta device, one layer deep: only its position rules are used."""
    shallow = type(config).from_dict(config.to_dict())
    text = shallow.get_text_config()
    text.num_hidden_layers = 1
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:1]
    with torch.device("meta"):
        return AutoModel.from_config(shallow)
