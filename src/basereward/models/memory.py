"""What the layers of a backbone keep for their backward pass, from its configuration alone."""

from typing import Any, NamedTuple

from transformers import PreTrainedConfig

from basereward.models.families import family_of
from basereward.models.flops import CHUNK, LINEAR
from basereward.models.segments import SEGMENTS


class LayerMemory(NamedTuple):
    """What one layer keeps of each token or patch, in values.

    ``inner`` are inputs of linear layers, queries, keys, values and activations, computed in the precision of the run;
    ``normed`` are those of the norms, in the precision of the residual stream, which is ``hidden`` wide, and what stays
    in fp32 of linear attention and experts. Where layers differ both are means, and the largest layer keeps ``peak``
    times as much.
    """

    layers: int
    hidden: int
    inner: int
    normed: int
    peak: float = 1.0

    def kept_bytes(self, is_bf16: bool, is_wide: bool, checkpointing: bool) -> int:
        """Return the bytes of one token through all layers.

        Args:
            is_bf16: linear layers compute in bf16.
            is_wide: the residual stream is fp32, as autocast leaves it; always so in fp32.
            checkpointing: layers keep their input, and one of them at a time the rest.
        """
        # In bf16 a norm still keeps its input in fp32, and its normalised output in bf16.
        layer = self.inner * (2 if is_bf16 else 4) + self.normed * (4 if is_wide else 3)
        if not checkpointing:
            return self.layers * layer
        return self.layers * self.hidden * (4 if is_wide else 2) + int(layer * self.peak)


def text_memory(config: PreTrainedConfig) -> LayerMemory:
    """Return what a layer of the text model keeps, on the average of its kinds of attention."""
    text = config.get_text_config()
    kinds = getattr(text, "layer_types", None) or ["full_attention"] * text.num_hidden_layers
    mlp, experts = _mlp(text)
    each = {kind: _linear_attention(text) if kind == LINEAR else _attention(text) for kind in set(kinds)}
    inner, more = (sum(each[kind][part] for kind in kinds) / len(kinds) for part in (0, 1))
    normed = 4 * text.hidden_size + experts
    peak = max(sum(own) for own in each.values()) + mlp + normed
    mean = int(inner + mlp + normed + more)
    return LayerMemory(len(kinds), text.hidden_size, int(inner + mlp), int(normed + more), peak / mean)


def _attention(text: Any) -> tuple[int, int]:
    """Return the inner and normed values of attention."""
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    queries, keys = text.num_attention_heads * head, text.num_key_value_heads * head
    # Queries, what attention gives, and its copy in the order of the row. Keys and values of a prompt are kept for
    # itself and again for each of two responses. Qwen3 normalises queries and keys as well; Qwen3.5 has a gate.
    gate = 3 * queries if text.model_type.startswith("qwen3_5") else 0
    normed = 2 * (queries + keys) if text.model_type.startswith("qwen3") else 0
    return 3 * queries + 5 * keys + gate, normed


def _linear_attention(text: Any) -> tuple[int, int]:
    """Return the inner and normed values of the gated delta rule as transformers computes it without kernels.

    Keys and queries stand once for each value head, in fp32 from there on: in chunks, decayed, solved for; and so do
    the products within a chunk of 64 tokens and three states for each chunk. Kernels (fla) keep less.
    """
    heads, key, value = text.linear_num_value_heads, text.linear_key_head_dim, text.linear_value_head_dim
    wide = heads * (key + value)
    within = heads * (6 * CHUNK + 3 * key * value // CHUNK)
    return 6 * text.linear_num_key_heads * key + 13 * wide // 2, 7 * wide // 2 + within


def _mlp(text: Any) -> tuple[int, int]:
    """Return the inner values of a gated MLP, which keeps four wide ones, and those of experts, which stay fp32."""
    chosen = getattr(text, "num_experts_per_tok", None)
    if not chosen:
        return 4 * text.intermediate_size + 2 * text.hidden_size, 0
    shared = getattr(text, "shared_expert_intermediate_size", None) or 0
    # Each expert gets a copy of the token, and gives one.
    return 4 * shared + 2 * text.hidden_size, chosen * (4 * text.moe_intermediate_size + 2 * text.hidden_size)


def vision_memory(config: PreTrainedConfig) -> LayerMemory | None:
    """Return what a layer of the vision tower keeps, None for a text family."""
    family = family_of(config)
    if family.tower is None:
        return None
    tower: Any = family.tower(config)
    # A sigmoid by hand keeps what it gives as well; GELU is one kernel, which keeps its input.
    activated = 3 if config.vision_config.hidden_act == "quick_gelu" else 2
    wide, norms = (4, 4) if tower.is_gated else (activated, 2)
    # Queries, keys and values before their rotation in one tensor, queries and keys after it, what attention gives, and
    # the inputs of linear layers. A loop over segments copies what they give into one tensor; a batch is one already.
    inner = (8 if family.vision_attention == SEGMENTS else 9) * tower.hidden + wide * tower.intermediate
    return LayerMemory(tower.layers, tower.hidden, inner, norms * tower.hidden)
