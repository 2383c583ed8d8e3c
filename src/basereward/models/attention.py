"""Attention over a packed row of trees: every node sees what it continues and itself, and nothing else.

Neither form needs a mask over the row. ``split`` asks for each node in turn over ``[ancestors; node]``; ``varlen``
gives all of these to one CUDA kernel. Both equal every sequence alone.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from basereward.encoding.layout import TreeLayout
from basereward.errors import BackendError
from basereward.models.kernels import attend_segments

SPLIT = "basereward_split"
VARLEN = "basereward_varlen"


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
    layout = _require_layout(tree_layout, attention_mask, dropout)
    return _attend_trees(query, key, value, layout, scaling, module.num_key_value_groups > 1), None


# A compiler would unroll the loop and compile anew for every number of responses, until it gives up. Left out, it
# splits every layer in two graphs that serve all rows; the kernels inside are those of torch either way.
@torch.compiler.disable
def _attend_trees(
    query: Float[Tensor, "1 head token dim"],
    key: Float[Tensor, "1 kv_head token dim"],
    value: Float[Tensor, "1 kv_head token dim"],
    layout: TreeLayout,
    scaling: float | None,
    is_grouped: bool,
) -> Float[Tensor, "1 token head dim"]:
    # One split for the whole row: the backward of many slices would fill and add a full row for each of them.
    pieces = [tensor.split(layout.sizes, dim=2) for tensor in (query, key, value)]
    outputs: list[Tensor] = []
    for node, chain in enumerate(layout.chains):
        keys, values = (
            torch.cat([own[above] for above in chain], dim=2) if len(chain) > 1 else own[node] for own in pieces[1:]
        )
        outputs.append(_attend(pieces[0][node], keys, values, scaling, is_grouped))
    return torch.cat(outputs, dim=2).transpose(1, 2).contiguous()


def _attend(query: Tensor, key: Tensor, value: Tensor, scaling: float | None, is_grouped: bool) -> Tensor:
    """Causal attention of the last ``query`` positions of a sequence of keys."""
    asked, known = query.shape[2], key.shape[2]
    options: dict[str, Any] = {"scale": scaling, "enable_gqa": is_grouped}
    if asked == known:
        return scaled_dot_product_attention(query, key, value, is_causal=True, **options)
    mask = None
    if asked > 1:
        mask = torch.ones(asked, known, dtype=torch.bool, device=query.device).tril(known - asked)
    return scaled_dot_product_attention(query, key, value, attn_mask=mask, **options)


def varlen_attention(
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
    """The same attention as one variable-length kernel: queries in row order, and for every node the keys of all
    that it continues gathered.

    Raises:
        BackendError: no layout was passed, or a mask was.
    """
    index = _require_layout(tree_layout, attention_mask, dropout).varlen(query.device)
    rows = [tensor[0].transpose(0, 1) for tensor in (query, key, value)]
    output = attend_segments(
        rows[0].contiguous(),
        rows[1][index.gather],
        rows[2][index.gather],
        index.query_starts,
        index.key_starts,
        index.longest_query,
        index.longest_key,
        scaling,
        is_causal=True,
    )
    return output[None], None


def _require_layout(layout: TreeLayout | None, mask: Tensor | None, dropout: float) -> TreeLayout:
    if layout is None or mask is not None or dropout:
        raise BackendError("Shared attention needs a tree layout, no mask and no dropout; call RewardModel.forward.")
    return layout


AttentionInterface.register(SPLIT, split_attention)
AttentionInterface.register(VARLEN, varlen_attention)
