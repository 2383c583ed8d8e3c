"""Torch's kernel for segments: its options in this version, and on a GPU where causal queries stand."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from basereward.models.kernels import attend_segments, has_kernel

# A prompt of 70 tokens, then responses of 1, 130 and 3 behind it: queries alone, keys with their prompt.
PROMPT, RESPONSES = 70, (1, 130, 3)
QUERIES = (PROMPT, *RESPONSES)
KEYS = (PROMPT, *(PROMPT + size for size in RESPONSES))


def starts(sizes, device):
    return torch.tensor([0, *sizes], dtype=torch.int32, device=device).cumsum(0, dtype=torch.int32)


def inputs(device, heads=4, kv_heads=2, size=64):
    draw = torch.Generator().manual_seed(0)
    shapes = ((sum(QUERIES), heads, size), (sum(KEYS), kv_heads, size), (sum(KEYS), kv_heads, size))
    tensors = [torch.randn(shape, generator=draw).to(device, torch.bfloat16) for shape in shapes]
    return [tensor.requires_grad_() for tensor in tensors]


def attend(tensors, is_causal):
    device = tensors[0].device
    bounds = starts(QUERIES, device), starts(KEYS, device)
    return attend_segments(*tensors, *bounds, max(QUERIES), max(KEYS), 0.1, is_causal)


def reference(tensors, is_causal):
    outputs = []
    parts = [own.split(sizes) for own, sizes in zip(tensors, (QUERIES, KEYS, KEYS), strict=True)]
    for query, key, value in zip(*parts, strict=True):
        mask = torch.ones(len(query), len(key), dtype=torch.bool, device=query.device)
        if is_causal:
            # The last query sees the last key.
            mask = mask.tril(len(key) - len(query))
        rows = [own.transpose(0, 1)[None].float() for own in (query, key, value)]
        output = scaled_dot_product_attention(*rows, attn_mask=mask, scale=0.1, enable_gqa=True)
        outputs.append(output[0].transpose(0, 1))
    return torch.cat(outputs)


@pytest.mark.parametrize("is_causal", [False, True])
def test_this_version_of_torch_takes_the_options(is_causal):
    """Without a device to compute on: fewer heads of keys, other starts of keys, and the way back."""
    tensors = inputs("meta")
    output = attend(tensors, is_causal)
    assert output.shape == tensors[0].shape
    output.float().sum().backward()
    assert [tensor.grad.shape for tensor in tensors] == [tensor.shape for tensor in tensors]


def test_other_devices_and_precisions_have_no_kernel():
    assert not has_kernel(torch.randn(1, 8))
    assert not has_kernel(torch.randn(1, 8, dtype=torch.bfloat16))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="the kernel needs CUDA")
@pytest.mark.parametrize("is_causal", [False, True])
def test_responses_stand_at_the_end_of_their_keys(is_causal):
    """A kernel that aligned queries at the start would let a response see its own beginning of the prompt alone."""
    tensors = inputs("cuda")
    assert has_kernel(tensors[0])
    output, expected = attend(tensors, is_causal), reference(tensors, is_causal)
    assert (output.float() - expected).abs().max() <= 2e-2 * expected.abs().max()
    weights = torch.linspace(-1, 1, output.numel(), device="cuda").reshape(output.shape)
    found, wanted = (
        torch.autograd.grad((own.float() * weights).sum(), tensors, retain_graph=True) for own in (output, expected)
    )
    for own, other in zip(found, wanted, strict=True):
        assert (own.float() - other.float()).norm() <= 2e-2 * other.float().norm()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="the kernel needs CUDA")
@torch.no_grad()
def test_a_segment_does_not_depend_on_the_others():
    tensors = inputs("cuda")
    together = attend(tensors, True)
    bounds = starts(QUERIES[:1], "cuda"), starts(KEYS[:1], "cuda")
    alone = attend_segments(*(own[:PROMPT] for own in tensors), *bounds, PROMPT, PROMPT, 0.1, True)
    assert torch.equal(together[:PROMPT], alone)
