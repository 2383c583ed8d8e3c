"""Where sharing a prompt is exact, and that it is refused elsewhere."""

import json
import shutil

import pytest
import torch
from transformers import AutoConfig, MistralConfig, Qwen2Config, Qwen3Config, Qwen3NextConfig
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from basereward.encoding.layout import Span, TreeLayout
from basereward.errors import BackendError
from basereward.models.attention import split_attention
from basereward.models.backends import choose_backend, layer_kinds
from basereward.models.checkpoint import new_reward_model

LEAKING = [
    (Qwen3Config(num_hidden_layers=4, use_sliding_window=True, sliding_window=8, max_window_layers=2), "sliding"),
    (Qwen2Config(num_hidden_layers=4, use_sliding_window=True, sliding_window=8, max_window_layers=0), "sliding"),
    (Qwen3NextConfig(num_hidden_layers=4), "linear"),
    (MistralConfig(sliding_window=4096), "sliding"),
]


@pytest.mark.parametrize(("config", "kind"), LEAKING)
def test_layers_that_leak_are_refused(config, kind):
    assert any(found.startswith(kind) for found in layer_kinds(config))
    with pytest.raises(BackendError, match=kind):
        choose_backend(config, "split")
    assert choose_backend(config, "auto").backend == choose_backend(config, "plain").backend == "plain"
    assert choose_backend(config, "auto", scoring=True).backend == "expand"


@pytest.mark.parametrize("config", [Qwen3Config(), Qwen2Config(), MistralConfig(sliding_window=None)])
def test_full_attention_is_shared(config):
    assert choose_backend(config).backend == choose_backend(config, "split").backend == "split"
    assert choose_backend(config, "plain").backend == "plain"
    assert choose_backend(config, device="cuda", dtype=torch.bfloat16).backend == "varlen"


def test_the_tiny_backbones_are_shared(vl_backbone, text_backbone):
    for folder in (vl_backbone, text_backbone):
        assert choose_backend(AutoConfig.from_pretrained(folder)).backend == "split"


def test_a_model_with_a_sliding_window_falls_back(text_backbone, text_groups, rewards_of, tmp_path):
    folder = tmp_path / "sliding"
    shutil.copytree(text_backbone, folder)
    file = folder / "config.json"
    config = json.loads(file.read_text())
    config |= {"use_sliding_window": True, "sliding_window": 4, "layer_types": ["full_attention", "sliding_attention"]}
    file.write_text(json.dumps(config))
    model = new_reward_model(folder).eval()
    assert model.backend == "plain"
    with pytest.raises(BackendError, match="sliding_attention"):
        model.use_backend("split")
    together = rewards_of(model, text_groups)
    alone = torch.cat([rewards_of(model, [group]) for group in text_groups])
    assert (together - alone).abs().max() <= 1e-5 * alone.abs().max()


def tensors(tokens, heads=4, kv_heads=2, size=8):
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(1, count, tokens, size, generator=draw) for count in (heads, kv_heads, kv_heads)]


# Two levels, a node alone, and three levels: parents, then tokens.
LAYOUT = TreeLayout(
    (-1, 0, 0, -1, -1, 4, 5, 5),
    (Span(0, 4), Span(4, 5), Span(5, 7), Span(7, 8), Span(8, 10), Span(10, 11), Span(11, 12), Span(12, 14)),
)


def test_split_attention_needs_its_layout_and_no_mask():
    query, key, value = tensors(14)
    with pytest.raises(BackendError, match="tree layout"):
        split_attention(None, query, key, value, None)
    with pytest.raises(BackendError, match="no mask"):
        split_attention(None, query, key, value, torch.ones(1, 1, 14, 14, dtype=torch.bool), tree_layout=LAYOUT)
    with pytest.raises(BackendError, match="no dropout"):
        split_attention(None, query, key, value, None, dropout=0.1, tree_layout=LAYOUT)


def test_split_attention_equals_attention_under_a_tree_mask():
    query, key, value = tensors(14)
    mask = torch.zeros(14, 14, dtype=torch.bool)
    for node, (start, end) in enumerate(LAYOUT.spans):
        above = node
        while above >= 0:
            mask[start:end, slice(*LAYOUT.spans[above])] = True
            above = LAYOUT.parents[above]
    mask &= torch.ones(14, 14, dtype=torch.bool).tril()
    module = torch.nn.Module()
    module.num_key_value_groups, module.is_causal = 2, True
    expected, _ = sdpa_attention_forward(module, query, key, value, mask[None, None], scaling=0.3)
    found, weights = split_attention(module, query, key, value, None, scaling=0.3, tree_layout=LAYOUT)
    assert weights is None
    assert found.shape == expected.shape == (1, 14, 4, 8)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_the_backbone_refuses_a_row_without_its_layout(model, pool):
    """A row of trees read as one sequence would be silently wrong."""
    encoded = model.template.encode(pool(model)[0])
    with pytest.raises(BackendError, match=r"RewardModel\.forward"):
        model.backbone(input_ids=torch.from_numpy(encoded.prefix)[None])
