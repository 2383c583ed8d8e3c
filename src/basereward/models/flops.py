"""Sizes of a backbone and the floating-point work of a group, from its configuration alone."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, PreTrainedConfig

from basereward.encoding.packing import CostModel
from basereward.encoding.template import GroupLength
from basereward.models.families import family_of


@dataclass(frozen=True, slots=True)
class BackboneSize:
    """Parameters and shapes that decide memory and work.

    ``text`` and ``vision`` count the weights that multiply every token and patch; ``total`` counts all.
    ``linear_edges`` is the sum of inputs and outputs over the text model's linear layers (LoRA parameters per rank).
    ``attention`` is layers times query width; ``vision_keys`` is the sum over vision layers of attention width,
    split into layers that attend to the whole image and to a window of ``window`` patches.
    """

    total: int
    text: int
    vision: int
    vision_total: int
    layers: int
    hidden: int
    attention: int
    linear_edges: int
    patches_per_token: int = 1
    vision_full: int = 0
    vision_windowed: int = 0
    window: int = 0

    def forward_flops(self, length: GroupLength, shared: bool = True) -> float:
        """Floating-point operations of one forward pass over a group.

        Args:
            shared: whether prompt and images are computed once, or once for every response.

        A multiply-add counts as two; embeddings, norms and softmax are left out.
        """
        copies = 1 if shared else max(1, len(length.suffixes))
        prefix, suffixes = length.prefix, length.suffixes
        tokens = copies * prefix + sum(suffixes)
        attended = copies * prefix**2 / 2 + sum(size * (prefix + size / 2) for size in suffixes)
        return 2 * self.text * tokens + 4 * self.attention * attended + copies * self._vision_flops(length.image_tokens)

    def cost_model(self) -> CostModel:
        """Return relative costs for packing: attention and image tokens against one token's linear layers."""
        token = 2 * self.text
        return CostModel(attention=4 * self.attention / token, image=2 * self.vision * self.patches_per_token / token)

    def _vision_flops(self, image_tokens: int) -> int:
        patches = image_tokens * self.patches_per_token
        keys = self.vision_full * patches + self.vision_windowed * min(self.window, patches)
        return patches * (2 * self.vision + 4 * keys)


def measure_backbone(config: PreTrainedConfig) -> BackboneSize:
    """Build the backbone without storage and count it."""
    family = family_of(config)
    # A copy forgets which attention the original runs with; counting needs none.
    config = type(config).from_dict(config.to_dict())
    with torch.device("meta"):
        model: Any = AutoModel.from_config(config)
    text = config.get_text_config()
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    blocks = model.get_submodule(family.text_module).layers
    linears = [module for module in blocks.modules() if isinstance(module, nn.Linear)]
    sizes = {
        "linear_edges": sum(linear.in_features + linear.out_features for linear in linears),
        "total": _count(model),
        "text": _count(blocks),
        "layers": text.num_hidden_layers,
        "hidden": text.hidden_size,
        "attention": text.num_hidden_layers * text.num_attention_heads * head_dim,
    }
    if family.tower is None:
        return BackboneSize(vision=0, vision_total=0, **sizes)
    tower = family.tower(config)
    mergers = sum(_count(model.get_submodule(path)) for path in tower.mergers)
    return BackboneSize(
        **sizes,
        vision=_count(model.get_submodule(tower.blocks)) + mergers // tower.patches_per_token,
        vision_total=sum(_count(model.get_submodule(path)) for path in family.vision_modules),
        patches_per_token=tower.patches_per_token,
        vision_full=tower.full,
        vision_windowed=tower.windowed,
        window=tower.window,
    )


def _count(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
