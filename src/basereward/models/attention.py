"""Attention over a packed row of trees: every response sees its own prompt and itself, and nothing else.

``split`` needs no mask over the row: causal attention on each prompt, then for each response a query over
``[prompt; response]``. It equals attention on every sequence alone.
"""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedConfig

from basereward.encoding.layout import TreeLayout
from basereward.errors import BackendError

Backend = Literal["auto", "plain", "split"]
SPLIT = "basereward_split"


def split_attention(
    module: Any,
    query: Float[Tensor, "1 head token dim"],
    key: Float[Tensor, "1 kv_head token dim"],
    value: Float[Tensor, "1 kv_head token dim"],
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    tree_layout: TreeLayout | None = None,
    **kwargs: Any,
) -> tuple[Float[Tensor, "1 token head dim"], None]:
    """Attention of a packed row of trees, in the signature of transformers' attention functions.

    Raises:
        BackendError: no layout was passed, or a mask was: the row would be read as one sequence.
    """
    if tree_layout is None or attention_mask is not None or dropout:
        raise BackendError("Split attention needs a tree layout, no mask and no dropout; call RewardModel.forward.")
    # One split for the whole row: the backward of many slices would fill and add a full row for each of them.
    pieces = [list(tensor.split(tree_layout.sizes, dim=2)) for tensor in (query, key, value)]
    outputs: list[Tensor] = []
    for tree in tree_layout.trees:
        first = len(outputs)
        members = range(first + 1, first + 1 + len(tree.responses))
        outputs.append(_attend(pieces[0][first], pieces[1][first], pieces[2][first], scaling))
        for member in members:
            keys, values = (torch.cat([own[first], own[member]], dim=2) for own in pieces[1:])
            outputs.append(_attend(pieces[0][member], keys, values, scaling))
    return torch.cat(outputs, dim=2).transpose(1, 2).contiguous(), None


def _attend(query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
    """Causal attention of the last ``query`` positions of a sequence of keys."""
    asked, known = query.shape[2], key.shape[2]
    options: dict[str, Any] = {"scale": scaling, "enable_gqa": query.shape[1] != key.shape[1]}
    if asked == known:
        return scaled_dot_product_attention(query, key, value, is_causal=True, **options)
    mask = None
    if asked > 1:
        mask = torch.ones(asked, known, dtype=torch.bool, device=query.device).tril(known - asked)
    return scaled_dot_product_attention(query, key, value, attn_mask=mask, **options)


AttentionInterface.register(SPLIT, split_attention)


def layer_kinds(config: PreTrainedConfig) -> set[str]:
    """Return the kinds of attention of the text model's layers.

    A configuration without ``layer_types`` has one kind: ``sliding_attention`` if a window is in use, else full.
    """
    text = config.get_text_config()
    kinds = getattr(text, "layer_types", None)
    if kinds:
        return set(kinds)
    windowed = getattr(text, "sliding_window", None) and getattr(text, "use_sliding_window", True)
    return {"sliding_attention" if windowed else "full_attention"}


def choose_backend(config: PreTrainedConfig, wanted: Backend = "auto") -> Literal["plain", "split"]:
    """Return the backend to use; ``auto`` is ``split`` wherever it is exact.

    Raises:
        BackendError: ``split`` was asked for a model with layers that would leak between responses.
    """
    kinds = layer_kinds(config)
    exact = kinds == {"full_attention"}
    if wanted == "split" and not exact:
        raise BackendError(f"Backend 'split' needs full attention in every layer, found {', '.join(sorted(kinds))}.")
    if wanted == "plain" or not exact:
        return "plain"
    return "split"
