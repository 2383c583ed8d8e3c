"""Torch's kernel for attention within segments of unequal lengths, as each supported version of torch takes it."""

import inspect
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn

HALF = (torch.bfloat16, torch.float16)
# The compute capability of the first GPUs that have the kernel, Ampere.
OLDEST = (8, 0)
# Older versions pass fewer heads of keys on without being told to, and never split keys, but know neither option.
_OPTIONS: dict[str, Any] = {
    name: value
    for name, value in (("enable_gqa", True), ("num_splits", 1))
    if name in inspect.signature(varlen_attn).parameters
}


def runs_here() -> bool:
    """Whether the GPU of this process has the kernel; without a GPU nothing says that it has not."""
    return not torch.cuda.is_available() or torch.cuda.get_device_capability() >= OLDEST


def has_kernel(query: Tensor) -> bool:
    """Whether the kernel takes tensors like this one: half precision, CUDA since Ampere, heads of 8 to 256."""
    if not query.is_cuda or query.dtype not in HALF or query.shape[-1] % 8 or query.shape[-1] > 256:
        return False
    return torch.cuda.get_device_capability(query.device) >= OLDEST


def attend_segments(
    query: Float[Tensor, "query head dim"],
    key: Float[Tensor, "key kv_head dim"],
    value: Float[Tensor, "key kv_head dim"],
    query_starts: Int[Tensor, " bound"],
    key_starts: Int[Tensor, " bound"],
    longest_query: int,
    longest_key: int,
    scaling: float | None,
    is_causal: bool,
) -> Float[Tensor, "query head dim"]:
    """Attend within each segment; causal queries are the last ones of their segment's keys.

    The key dimension is not split, so that what a segment gets does not depend on the others; this also keeps cuDNN
    out, which aligns causal queries elsewhere, and would plan anew for every set of lengths.

    Args:
        query_starts: where the queries of each segment begin, and their number; int32.
        key_starts: the same of keys and values.
    """
    window = (-1, 0 if is_causal else -1)
    bounds = (query_starts, key_starts, longest_query, longest_key)
    output = varlen_attn(query, key, value, *bounds, scale=scaling, window_size=window, **_OPTIONS)
    assert isinstance(output, Tensor)  # no auxiliary output was asked for
    return output
