"""Attention of a vision tower in which a patch sees its own segment: a window, a frame of a video, or an image.

Transformers calls other implementations once for every segment in every layer. Here segments of equal length are one
batch, or all of them one kernel; both equal the loop over segments.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from basereward.errors import BackendError
from basereward.models.kernels import attend_segments, has_kernel

# Towers hand over all segments at once to implementations that have "flash" in their names, and to no others.
SEGMENTS = "basereward_flash_segments"


def segment_attention(
    module: Any,
    query: Float[Tensor, "1 head patch dim"],
    key: Float[Tensor, "1 head patch dim"],
    value: Float[Tensor, "1 head patch dim"],
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    is_causal: bool = False,
    cu_seq_lens_q: Int[Tensor, " bound"] | None = None,
    cu_seq_lens_k: Int[Tensor, " bound"] | None = None,
    max_length_q: int | None = None,
    **kwargs: Any,
) -> tuple[Float[Tensor, "1 patch head dim"], None]:
    """Full attention within each segment, in the signature of transformers' attention functions.

    Args:
        cu_seq_lens_q: where segments begin, and the number of patches.
        max_length_q: patches of the longest segment.

    Raises:
        BackendError: no segments were passed, or a mask, a causal order or dropout was: it is another kind of tower.
    """
    bounds = cu_seq_lens_q
    if bounds is None or cu_seq_lens_k is not bounds or attention_mask is not None or is_causal or dropout:
        raise BackendError(
            f"{type(module).__name__} asked for another attention than the full one of each segment that "
            f"{SEGMENTS} computes; set the vision tower's implementation to 'sdpa'."
        )
    if max_length_q is not None and has_kernel(query):
        return _attend_at_once(query, key, value, bounds, max_length_q, scaling), None
    return _attend_by_length(query, key, value, bounds, scaling), None


def _attend_at_once(
    query: Float[Tensor, "1 head patch dim"],
    key: Float[Tensor, "1 head patch dim"],
    value: Float[Tensor, "1 head patch dim"],
    bounds: Int[Tensor, " bound"],
    longest: int,
    scaling: float | None,
) -> Float[Tensor, "1 patch head dim"]:
    query, key, value = (tensor[0].transpose(0, 1).contiguous() for tensor in (query, key, value))
    return attend_segments(query, key, value, bounds, bounds, longest, longest, scaling, is_causal=False)[None]


# Lengths depend on data: a compiler would make a new graph for every set of image sizes.
@torch.compiler.disable
def _attend_by_length(
    query: Float[Tensor, "1 head patch dim"],
    key: Float[Tensor, "1 head patch dim"],
    value: Float[Tensor, "1 head patch dim"],
    bounds: Int[Tensor, " bound"],
    scaling: float | None,
) -> Float[Tensor, "1 patch head dim"]:
    starts: dict[int, list[int]] = {}
    for start, end in pairwise(bounds.tolist()):
        starts.setdefault(end - start, []).append(start)
    rows = [tensor[0].transpose(0, 1) for tensor in (query, key, value)]
    if len(starts) == 1:
        return _attend_equal(rows, next(iter(starts)), scaling)[None]
    # Patches of equal segments side by side: one gather before and one after, whatever the number of lengths.
    places = [(torch.tensor(own)[:, None] + torch.arange(length)).flatten() for length, own in starts.items()]
    order = torch.cat(places).to(query.device)
    sizes = [own.numel() for own in places]
    parts = zip(*(row.index_select(0, order).split(sizes) for row in rows), strict=True)
    outputs = [_attend_equal(own, length, scaling) for length, own in zip(starts, parts, strict=True)]
    return torch.cat(outputs).index_select(0, order.argsort())[None]


def _attend_equal(
    rows: Sequence[Float[Tensor, "patch head dim"]], length: int, scaling: float | None
) -> Float[Tensor, "patch head dim"]:
    """Attend within consecutive segments of one length; ``rows`` are queries, keys and values."""
    query, key, value = (row.unflatten(0, (-1, length)).transpose(1, 2) for row in rows)
    output = scaled_dot_product_attention(query, key, value, scale=scaling)
    return output.transpose(1, 2).flatten(0, 1)


AttentionInterface.register(SEGMENTS, segment_attention)
