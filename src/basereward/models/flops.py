"""Sizes of a backbone and the floating-point work of reading and writing, from its configuration alone."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from transformers import AutoModel, PreTrainedConfig

from basereward.encoding.groups import GroupLength
from basereward.encoding.packing import CostModel, GroupSizes, TreeLength
from basereward.models.families import family_of

LINEAR = "linear_attention"
# Tokens that the kernels of linear attention, and transformers' own code, compute at once.
CHUNK = 64


class LinearSize(NamedTuple):
    """Inputs and outputs together, outputs, and weights without biases, summed over the linear layers of a name."""

    name: str
    ends: int
    outputs: int
    weights: int


@dataclass(frozen=True, slots=True)
class BackboneSize:
    """Parameters and shapes that decide memory and work.

    ``text`` and ``vision`` count the weights that multiply every token and patch, of experts those that a token is sent
    to; ``total`` counts all, ``vision_total`` those that only images pass through, ``projector_total`` those of them
    outside the tower. ``linears`` are the text model's linear layers by the last part of their names. ``attention`` is
    query width times the layers whose tokens see all before them; ``recurrent`` are the multiply-adds of a token with
    the states of linear attention. The two widths of the tower are the sums of attention width over its layers, those
    that attend to the whole image and those that attend to a window of ``window`` patches. ``vocabulary`` is the number
    of logits of a written token.
    """

    total: int
    text: int
    vision: int
    vision_total: int
    layers: int
    hidden: int
    attention: int
    linears: tuple[LinearSize, ...]
    vocabulary: int = 0
    recurrent: int = 0
    projector_total: int = 0
    patches_per_token: int = 1
    vision_global_width: int = 0
    vision_window_width: int = 0
    window: int = 0

    def lora_parameters(self, rank: int, targets: Collection[str] = (), dora: bool = False) -> int:
        """Return what LoRA of a rank trains on the text model's linear layers, or on those of these names alone."""
        chosen = [own for own in self.linears if not targets or own.name in targets]
        return sum(rank * own.ends + (own.outputs if dora else 0) for own in chosen)

    @property
    def linear_weights(self) -> int:
        """Weights of the text model's linear layers, without biases."""
        return sum(own.weights for own in self.linears)

    def forward_flops(self, length: GroupLength, shared: bool = True) -> float:
        """Floating-point operations of one forward pass over a group.

        Args:
            shared: whether prompt and images are computed once, or once for every response.

        A multiply-add counts as two; embeddings, norms and softmax are left out.
        """
        return float(self.forward_flops_of(GroupSizes.of(length), shared))

    def forward_flops_of(self, sizes: GroupSizes, shared: bool = True) -> Any:
        """Floating-point operations of one forward pass over every group, as ``forward_flops`` has them."""
        copies = 1 if shared else np.maximum(1, sizes.responses)
        tokens = copies * sizes.prefix + sizes.suffixes
        text = self._token_flops * tokens + 4 * self.attention * sizes.attended(copies)
        return text + copies * self._vision_flops(sizes.image_tokens)

    def tree_flops(self, tree: TreeLength) -> float:
        """Floating-point operations of one forward pass over a tree of any depth, counted as ``forward_flops`` does."""
        attended = sum(node.own * (node.above + node.own / 2) for node in tree.nodes)
        vision = sum(map(self._vision_flops, tree.images))
        return self._token_flops * tree.total + 4 * self.attention * attended + vision

    def writing_flops(self, length: GroupLength, written: int) -> float:
        """Floating-point operations of reading a tree of openings and writing behind each of its n suffixes.

        ``forward_flops`` of the suffixes with all written tokens but the last, which nobody reads, and
        ``2 * hidden * vocabulary * written * n`` for the logits of every written token.

        Args:
            length: the suffixes are the openings, each of which is read behind the shared prefix.
            written: tokens of an answer, its end included; at least one.
        """
        whole = length._replace(suffixes=tuple(size + written - 1 for size in length.suffixes))
        logits = 2 * self.hidden * self.vocabulary * written * len(length.suffixes)
        return self.forward_flops(whole) + logits

    def times(self, language: int, vision: int) -> "BackboneSize":
        """Return a size whose FLOPs of the text model and of the tower are so many times those of this one."""
        return replace(
            self,
            text=language * self.text,
            recurrent=language * self.recurrent,
            attention=language * self.attention,
            vision=vision * self.vision,
            vision_global_width=vision * self.vision_global_width,
            vision_window_width=vision * self.vision_window_width,
        )

    def cost_model(self) -> CostModel:
        """Return relative costs for packing: attention and image tokens against one token's linear layers."""
        # The tower's own attention is left out: it grows with the square of each image, which a sum of tokens hides.
        token = self._token_flops
        return CostModel(attention=4 * self.attention / token, image=2 * self.vision * self.patches_per_token / token)

    @property
    def _token_flops(self) -> int:
        return 2 * (self.text + self.recurrent)

    def _vision_flops(self, image_tokens: Any) -> Any:
        patches = image_tokens * self.patches_per_token
        keys = self.vision_global_width * patches + self.vision_window_width * np.minimum(self.window, patches)
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
    kinds = getattr(text, "layer_types", None) or ["full_attention"] * text.num_hidden_layers
    sizes = {
        "linears": _linears(blocks),
        "total": _count(model),
        "text": _count(blocks) - _idle(blocks, text),
        "layers": text.num_hidden_layers,
        "hidden": text.hidden_size,
        "vocabulary": text.vocab_size,
        "attention": (len(kinds) - kinds.count(LINEAR)) * text.num_attention_heads * head_dim,
        "recurrent": kinds.count(LINEAR) * _delta_rule(text),
    }
    if family.tower is None:
        return BackboneSize(vision=0, vision_total=0, **sizes)
    tower = family.tower(config)
    mergers = sum(_count(model.get_submodule(path)) for path in tower.mergers)
    return BackboneSize(
        **sizes,
        # A merger works once for each token: a share of it for each patch.
        vision=_count(model.get_submodule(tower.blocks)) + mergers // tower.patches_per_token,
        projector_total=_count(model.get_submodule(family.projector_module)) if family.projector_module else 0,
        vision_total=sum(_count(model.get_submodule(path)) for path in family.vision_modules),
        patches_per_token=tower.patches_per_token,
        vision_global_width=tower.global_width,
        vision_window_width=tower.window_width,
        window=tower.window,
    )


def _idle(blocks: Any, text: Any) -> int:
    """Return how many weights of experts a token is not sent to."""
    experts = [module for name, module in blocks.named_modules() if name.endswith(".experts")]
    return sum(_count(own) * (own.num_experts - text.num_experts_per_tok) // own.num_experts for own in experts)


def _delta_rule(text: Any) -> int:
    """Return the multiply-adds of a token in one layer of the gated delta rule, computed in chunks of 64 tokens.

    For each value head ``3 d_k d_v + 64 (5 d_k + 3 d_v) / 2``: the state is read for the value that it predicts and
    for the answer, and written; within a chunk, keys meet keys and queries, a triangular system is solved for both
    values and keys, and values are mixed.
    """
    if not getattr(text, "linear_num_value_heads", None):
        return 0
    key, value = text.linear_key_head_dim, text.linear_value_head_dim
    return text.linear_num_value_heads * (3 * key * value + CHUNK * (5 * key + 3 * value) // 2)


def _linears(blocks: nn.Module) -> tuple[LinearSize, ...]:
    ends: Counter[str] = Counter()
    outputs: Counter[str] = Counter()
    weights: Counter[str] = Counter()
    for path, module in blocks.named_modules():
        if isinstance(module, nn.Linear):
            name = path.rpartition(".")[2]
            ends[name] += module.in_features + module.out_features
            outputs[name] += module.out_features
            weights[name] += module.in_features * module.out_features
    return tuple(LinearSize(name, ends[name], outputs[name], weights[name]) for name in ends)


def _count(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
