"""What the layers of a backbone keep for their backward pass, from its configuration alone."""

from typing import Any, NamedTuple

from transformers import PreTrainedConfig

from basereward.models.families import family_of


class LayerMemory(NamedTuple):
    """What one layer keeps of each token or patch, in values.

    ``inner`` are inputs of linear layers, queries, keys, values and activations, computed in the precision of the run;
    ``normed`` are those of the norms, in the precision of the residual stream, which is ``hidden`` wide.
    """

    layers: int
    hidden: int
    inner: int
    normed: int

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
        return self.layers * self.hidden * (4 if is_wide else 2) + layer


def text_memory(config: PreTrainedConfig) -> LayerMemory:
    """Return what a layer of the text model keeps."""
    text = config.get_text_config()
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    queries, keys = text.num_attention_heads * head, text.num_key_value_heads * head
    # Queries, what attention gives, and its copy in the order of the row. Keys and values of a prompt are kept for
    # itself and again for each of two responses. A gated MLP keeps four wide values.
    inner = 3 * queries + 5 * keys + 4 * text.intermediate_size + 2 * text.hidden_size
    # Qwen3 normalises queries and keys as well.
    more = 2 * (queries + keys) if text.model_type.startswith("qwen3") else 0
    return LayerMemory(text.num_hidden_layers, text.hidden_size, inner, 4 * text.hidden_size + more)


def vision_memory(config: PreTrainedConfig) -> LayerMemory | None:
    """Return what a layer of the vision tower keeps, None for a text family."""
    family = family_of(config)
    if family.tower is None:
        return None
    tower: Any = family.tower(config)
    wide, norms = (4, 4) if tower.is_gated else (3, 2)
    # Queries, keys and values before and after their rotation, what attention gives, and the inputs of linear layers.
    inner = 9 * tower.hidden + wide * tower.intermediate
    return LayerMemory(tower.layers, tower.hidden, inner, norms * tower.hidden)
