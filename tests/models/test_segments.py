"""Vision towers under batched segments: the features and gradients of the library's loop over segments."""

from itertools import pairwise

import pytest
import torch
from torch._dynamo.testing import CompileCounter
from torch.nn.functional import scaled_dot_product_attention
from transformers import AutoConfig, AutoModel

from basereward.errors import BackendError
from basereward.models import kernels, segments
from basereward.models.families import FAMILIES
from basereward.models.segments import SEGMENTS, segment_attention

TOWERS = [name for name, family in FAMILIES.items() if family.vision_attention == SEGMENTS]
# Time, height and width of images and videos in patches; a window of the tiny Qwen2.5-VL has 8 x 8 patches.
GRIDS = {
    "one window": [[1, 8, 8]],
    "less than a window": [[1, 4, 2]],
    "whole windows": [[1, 16, 24], [1, 16, 24]],
    "sides that are no multiple": [[1, 14, 22]],
    "frames": [[3, 12, 10]],
    "mixed": [[1, 8, 8], [1, 10, 26], [2, 12, 10], [1, 4, 4], [1, 26, 10]],
}


@pytest.fixture(scope="module", params=TOWERS)
def backbone(request, backbone_of):
    config = AutoConfig.from_pretrained(backbone_of(request.param))
    if request.param == "qwen2_5_vl":
        # The tiny tower's window would hold most of these images whole.
        config.vision_config.window_size = 8 * config.vision_config.patch_size
    torch.manual_seed(0)
    made = AutoModel.from_config(config)
    for weight in made.visual.parameters():
        # Attention that is nearly uniform would hide whose keys were seen.
        torch.nn.init.normal_(weight, std=0.3 if weight.ndim > 1 else 0.1)
    return made.eval()


def pixels_of(config, grids):
    grid = torch.tensor(grids)
    width = config.in_channels * config.temporal_patch_size * config.patch_size**2
    draw = torch.Generator().manual_seed(1)
    return torch.randn(int(grid.prod(1).sum()), width, generator=draw), grid


def features(backbone, implementation, grids):
    """Everything that the text model reads, one row a token."""
    backbone.set_attn_implementation({"vision_config": implementation})
    pixels, grid = pixels_of(backbone.visual.config, grids)
    output = backbone.visual(pixels, grid)
    return torch.cat([output.pooler_output, *getattr(output, "deepstack_features", [])])


def gradients(backbone, implementation, grids):
    backbone.zero_grad()
    found = features(backbone, implementation, grids)
    weights = torch.linspace(-1, 1, found.numel()).reshape(found.shape)
    (found * weights).sum().backward()
    return {name: weight.grad.clone() for name, weight in backbone.visual.named_parameters() if weight.grad is not None}


def difference(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("grids", GRIDS.values(), ids=GRIDS)
@torch.no_grad()
def test_features_equal_the_loop(backbone, grids):
    assert difference(features(backbone, SEGMENTS, grids), features(backbone, "sdpa", grids)) <= 1e-6


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_equal_the_loop(backbone, checkpointing, worst_difference):
    expected = gradients(backbone, "sdpa", GRIDS["mixed"])
    if checkpointing:
        backbone.activation_checkpointing_enable({"use_reentrant": False})
        backbone.train()
    found = gradients(backbone, SEGMENTS, GRIDS["mixed"])
    backbone.activation_checkpointing_disable()
    backbone.eval()
    assert worst_difference(found, expected) <= 1e-5


@torch.no_grad()
def test_half_precision_equals_the_loop(backbone):
    backbone.bfloat16()
    found, expected = (features(backbone, name, GRIDS["mixed"]).float() for name in (SEGMENTS, "sdpa"))
    backbone.float()
    assert difference(found, expected) <= 1e-2


@torch.no_grad()
def test_windows_that_are_mixed_up_show(backbone, monkeypatch):
    """Two windows of one length take each other's keys, as they would behind a wrong order of gathering."""
    expected, real = features(backbone, "sdpa", GRIDS["mixed"]), scaled_dot_product_attention

    def swapped(query, key, value, **options):
        return real(query, key.roll(1, 0), value.roll(1, 0), **options)

    monkeypatch.setattr(segments, "scaled_dot_product_attention", swapped)
    assert difference(features(backbone, SEGMENTS, GRIDS["mixed"]), expected) > 1e-3


@torch.no_grad()
def test_every_length_is_one_call(backbone, monkeypatch):
    calls, lengths = [], []
    real, attend = scaled_dot_product_attention, segments._attend_by_length
    monkeypatch.setattr(
        segments, "scaled_dot_product_attention", lambda *own, **how: calls.append(own) or real(*own, **how)
    )
    monkeypatch.setattr(
        segments, "_attend_by_length", lambda *own: lengths.append(own[3].diff().tolist()) or attend(*own)
    )
    features(backbone, SEGMENTS, GRIDS["mixed"])
    assert len(lengths) == backbone.visual.config.depth
    assert len(calls) == sum(len(set(layer)) for layer in lengths) < sum(map(len, lengths))


def reference_kernel(query, key, value, query_starts, key_starts, longest_query, longest_key, **options):
    """What the CUDA kernel computes without a causal order."""
    assert options["window_size"] == (-1, -1)
    assert query_starts.dtype == key_starts.dtype == torch.int32
    outputs = []
    for start, end in pairwise(query_starts.tolist()):
        assert end - start <= longest_query == longest_key
        parts = [own[start:end].transpose(0, 1)[None] for own in (query, key, value)]
        outputs.append(scaled_dot_product_attention(*parts, scale=options["scale"])[0].transpose(0, 1))
    return torch.cat(outputs)


@torch.no_grad()
def test_one_kernel_is_asked_for_the_right_segments(backbone, monkeypatch):
    expected = features(backbone, "sdpa", GRIDS["mixed"])
    monkeypatch.setattr(segments, "has_kernel", lambda query: True)
    monkeypatch.setattr(kernels, "varlen_attn", reference_kernel)
    assert difference(features(backbone, SEGMENTS, GRIDS["mixed"]), expected) <= 1e-6


@torch.no_grad()
def test_a_compiler_does_not_begin_anew_for_every_set_of_lengths():
    def attend(tensors, bounds):
        return segment_attention(None, *tensors.sin(), None, cu_seq_lens_q=bounds, cu_seq_lens_k=bounds)[0].cos()

    tensors, counter, graphs = torch.randn(3, 1, 2, 12, 8), CompileCounter(), []
    compiled = torch.compile(attend, backend=counter, dynamic=True)
    for inner in ((4,), (6,), (2, 4, 7), (3, 6), (5, 7), (2, 4, 6, 8, 10)):
        bounds = torch.tensor([0, *inner, 12], dtype=torch.int32)
        torch.testing.assert_close(compiled(tensors, bounds), attend(tensors, bounds))
        graphs.append(counter.frame_count)
    assert graphs[2:] == graphs[2:3] * 4


BOUNDS = torch.tensor([0, 2, 6], dtype=torch.int32)
ASKED = {"cu_seq_lens_q": BOUNDS, "cu_seq_lens_k": BOUNDS, "max_length_q": 4}


@pytest.mark.parametrize(
    "changed",
    [
        {"cu_seq_lens_q": None, "cu_seq_lens_k": None},
        {"cu_seq_lens_k": torch.tensor([0, 3, 6])},
        {"is_causal": True},
        {"dropout": 0.1},
        {"attention_mask": torch.ones(6, 6)},
    ],
)
def test_another_attention_is_refused(changed):
    tensors = torch.randn(3, 1, 2, 6, 8)
    with pytest.raises(BackendError, match="Linear asked for another attention"):
        segment_attention(torch.nn.Linear(1, 1), *tensors, **{"attention_mask": None, **ASKED, **changed})
