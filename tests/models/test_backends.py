"""Every way of computing a batch gives the rewards of every sequence alone."""

import math

import numpy as np
import pytest
import torch
from torch._dynamo.testing import CompileCounter
from torch.nn.functional import scaled_dot_product_attention
from transformers import AutoConfig, AutoModel, Qwen3NextConfig
from transformers.models.qwen3_5 import Qwen3_5TextConfig

from basereward.encoding.collate import collate
from basereward.encoding.groups import EncodedGroup
from basereward.encoding.layout import Span, TreeLayout
from basereward.encoding.media import text_positions
from basereward.errors import BackendError
from basereward.models import attention, guard, kernels
from basereward.models.backends import choose_backend, read_hidden
from basereward.models.guard import check_sharing, prove, settle_backend, twin_config

LINEAR = [Qwen3NextConfig(num_hidden_layers=4), Qwen3_5TextConfig(num_hidden_layers=4)]


SHAPES = ((6, (3, 1, 4)), (9, (2,)), (5, (2, 2)))


def text_batch(shapes=SHAPES, seed=0):
    draw = torch.Generator().manual_seed(seed)

    def tokens(count):
        return torch.randint(1, 100, (count,), generator=draw).numpy()

    groups = []
    for prompt, sizes in shapes:
        ids = tokens(prompt)
        suffixes = tuple(tokens(size) for size in sizes)
        groups.append(EncodedGroup(ids, suffixes, text_positions(ids, 1), tuple(sizes)))
    return collate(groups)


# Shorter than the convolution of four tokens, within and across the chunks of 64 tokens that states are computed in.
LONG = ((150, (3, 70, 130)), (64, (1, 64)), (5, (200, 2)), (63, (1, 1)))


def deep_batch(seed=0):
    """Prompts that begin alike for 40 and for 3 tokens, and responses of which one goes on where another ends."""
    draw = torch.Generator().manual_seed(seed)

    def tokens(count):
        return torch.randint(1, 100, (count,), generator=draw).numpy()

    opening, groups = tokens(40), []
    for asked in (tokens(35), tokens(50), tokens(4)):
        ids, answer = np.concatenate([opening, asked]), tokens(33)
        suffixes = (answer, np.concatenate([answer, tokens(5)]), np.concatenate([answer[:3], tokens(2)]), tokens(7))
        groups.append(EncodedGroup(ids, suffixes, text_positions(ids, 1), tuple(map(len, suffixes))))
    return collate(groups)


@pytest.mark.parametrize("shapes", [SHAPES, LONG, None], ids=["short", "long", "deep"])
@pytest.mark.parametrize("config", LINEAR, ids=lambda config: config.model_type)
@torch.inference_mode()
def test_states_of_linear_layers_see_one_sequence_alone(config, shapes):
    torch.manual_seed(0)
    twin = AutoModel.from_config(twin_config(config), dtype=torch.float32).eval()
    # Random states forget within a token or two: let them remember, so that what does not belong there would show.
    for name, weight in twin.named_parameters():
        if name.endswith("A_log"):
            weight.fill_(-5.0)
    batch = text_batch(shapes) if shapes else deep_batch()
    layout = TreeLayout.of(batch)
    assert shapes or max(map(len, layout.chains)) >= 4
    sequences = [batch["input_ids"][:, layout.tokens(leaf)] for leaf in batch["leaves"].tolist()]
    alone = torch.cat([twin(input_ids=own, use_cache=False).last_hidden_state[:, -1] for own in sequences])
    for backend in ("plain", "expand"):
        found = read_hidden(twin, batch, backend, axes=1).responses
        assert (found - alone).abs().max() <= 1e-5 * alone.abs().max()


@pytest.fixture
def image_batch(vl_model, pool):
    """Text-only, one-image and two-image groups in one row."""
    return collate([vl_model.template.encode(group) for group in pool(vl_model)])


def test_expansion_reads_images(vl_model, image_batch):
    vl_model.use_backend("plain")
    with torch.inference_mode():
        plain = read_hidden(vl_model.backbone, image_batch, "plain", axes=3).responses
        expanded = read_hidden(vl_model.backbone, image_batch, "expand", axes=3).responses
    assert (expanded - plain).abs().max() <= 1e-5 * plain.abs().max()


def test_expansion_has_no_gradients(vl_model, image_batch):
    with pytest.raises(BackendError, match="no gradients"):
        read_hidden(vl_model.backbone, image_batch, "expand", axes=3)
    with pytest.raises(BackendError, match="scoring"):
        choose_backend(vl_model.config, "expand")


def reference_varlen(query, key, value, query_starts, key_starts, longest_query, longest_key, **options):
    """What the CUDA kernel computes: causal attention of every segment, aligned at the end."""
    assert options["window_size"] == (-1, 0)
    outputs = []
    for segment in range(len(query_starts) - 1):
        asked = query[query_starts[segment] : query_starts[segment + 1]].transpose(0, 1)[None]
        known = [own[key_starts[segment] : key_starts[segment + 1]].transpose(0, 1)[None] for own in (key, value)]
        assert asked.shape[2] <= longest_query
        assert known[0].shape[2] <= longest_key
        mask = torch.ones(asked.shape[2], known[0].shape[2], dtype=torch.bool).tril(known[0].shape[2] - asked.shape[2])
        output = scaled_dot_product_attention(asked, *known, attn_mask=mask, scale=options["scale"], enable_gqa=True)
        outputs.append(output[0].transpose(0, 1))
    return torch.cat(outputs)


def test_varlen_asks_the_kernel_for_the_right_segments(vl_model, image_batch, monkeypatch):
    monkeypatch.setattr(kernels, "varlen_attn", reference_varlen)
    backbone = vl_model.backbone
    vl_model.use_backend("plain")
    with torch.inference_mode():
        plain = read_hidden(backbone, image_batch, "plain", axes=3).responses
        backbone.set_attn_implementation({"text_config": attention.VARLEN, "vision_config": "sdpa"})
        varlen = read_hidden(backbone, image_batch, "varlen", axes=3).responses
    assert (varlen - plain).abs().max() <= 1e-5 * plain.abs().max()


def test_varlen_compiles_once_for_all_layouts(monkeypatch):
    monkeypatch.setattr(kernels, "varlen_attn", lambda query, key, *rest, **options: query + key.sum())
    twin = AutoModel.from_config(twin_config(AutoConfig.for_model("qwen3"))).eval()
    twin.set_attn_implementation(attention.VARLEN)
    counter = CompileCounter()
    twin.compile(backend=counter, dynamic=True)
    with torch.no_grad():
        for count in (3, 2, 5, 4):
            read_hidden(twin, text_batch((SHAPES * 2)[:count]), "varlen", axes=1)
    assert counter.frame_count == 1


def test_split_compiles_once_for_any_number_of_responses():
    """Its gradients are compared in a slow test, which needs a compiler."""
    twin = AutoModel.from_config(twin_config(AutoConfig.for_model("qwen3"))).eval()
    twin.set_attn_implementation(attention.SPLIT)
    batches = [text_batch(shapes) for shapes in (SHAPES, SHAPES[:1], SHAPES * 2, ((4, (1,)),), ((3, (2,) * 12),) * 3)]
    with torch.no_grad():
        expected = [read_hidden(twin, batch, "split", axes=1).responses for batch in batches]
        graphs = []
        counter = CompileCounter()
        twin.compile(backend=counter, dynamic=True)
        for batch, alone in zip(batches, expected, strict=True):
            torch.testing.assert_close(read_hidden(twin, batch, "split", axes=1).responses, alone, rtol=1e-5, atol=1e-6)
            graphs.append(counter.frame_count)
    assert graphs == graphs[:1] * len(batches), graphs


def test_varlen_index_in_closed_form():
    layout = TreeLayout((-1, 0, 0, 2, 2), (Span(0, 6), Span(6, 9), Span(9, 10), Span(10, 14), Span(14, 16)))
    index = layout.varlen(torch.device("cpu"))
    assert index.query_starts.tolist() == [0, 6, 9, 10, 14, 16]
    assert index.key_starts.tolist() == [0, 6, 15, 22, 33, 42]
    assert index.gather.tolist()[6:15] == list(range(9))
    # A node at the third level: the root, its parent, itself.
    assert index.gather.tolist()[22:33] == [0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 13]
    assert (index.longest_query, index.longest_key) == (6, 11)


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "internvl"])
def test_the_guard_passes_full_attention(family):
    proof = check_sharing(AutoConfig.for_model(family))
    assert proof.plain <= 1e-6
    assert proof.leak == 0


def test_experts_see_one_token_alone():
    """Tokens of one expert are multiplied together, in an order that depends on the row: rounding is all that moves."""
    proof = check_sharing(AutoConfig.for_model("qwen3_vl_moe"))
    assert max(proof.plain, proof.leak) <= 1e-6


@pytest.mark.parametrize("family", ["qwen3_next", "qwen3_5", "mistral", "gemma3"])
def test_the_guard_refuses_what_leaks(family):
    proof = prove(AutoConfig.for_model(family))
    assert proof.plain > 1e-2
    with pytest.raises(BackendError, match="not exact"):
        check_sharing(AutoConfig.for_model(family))


@pytest.mark.parametrize("proof", [(0.0, math.nan), (math.nan, 0.0), (1.0, 0.0), (0.0, 1.0)])
@pytest.mark.parametrize("backend", ["split", "varlen"])
def test_the_guard_takes_no_nan_for_a_proof(proof, backend, monkeypatch):
    monkeypatch.setattr(guard, "prove", lambda *args: guard.Proof(*proof))
    with pytest.raises(BackendError, match="not exact"):
        check_sharing(AutoConfig.for_model("qwen3"), backend)


def test_varlen_needs_cuda_and_half_precision(vl_model):
    for device, dtype in (("cpu", torch.bfloat16), ("cuda", torch.float32)):
        with pytest.raises(BackendError, match="CUDA"):
            choose_backend(vl_model.config, "varlen", device=device, dtype=dtype)


def test_auto_falls_back_when_the_proof_fails(vl_model, monkeypatch):
    monkeypatch.setattr(guard, "TOLERANCE", 1e-12)
    assert settle_backend(vl_model, "auto").backend == vl_model.backend == "plain"
    with pytest.raises(BackendError, match="not exact"):
        settle_backend(vl_model, "split")


@pytest.mark.slow
def test_split_compiles(text_model, text_groups):
    torch.manual_seed(0)
    batches = [collate([text_model.template.encode(group) for group in text_groups[at:]]) for at in (0, 1)]
    rewards = [text_model(**batch) for batch in batches]
    rewards[0].sum().backward()
    gradients = [parameter.grad.clone() for parameter in text_model.backbone.parameters() if parameter.grad is not None]
    text_model.zero_grad()
    text_model.compile_text_model()
    compiled = [text_model(**batch) for batch in batches]
    compiled[0].sum().backward()
    for plain, found in zip(rewards, compiled, strict=True):
        assert (plain - found).abs().max() <= 1e-5 * plain.abs().max()
    found = [parameter.grad for parameter in text_model.backbone.parameters() if parameter.grad is not None]
    for plain, own in zip(gradients, found, strict=True):
        assert (plain - own).norm() <= 1e-4 * max(plain.norm(), 1e-6)
