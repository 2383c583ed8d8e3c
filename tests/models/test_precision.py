"""Rewards are fp32 in every precision mode, and the head is never run in anything less."""

import pytest
import torch

from basereward.encoding.collate import collate
from basereward.models.checkpoint import load_reward_model, new_reward_model, save_reward_model
from basereward.models.head import RewardHead


@pytest.fixture
def batch_of(pool):
    def make(model):
        return collate([model.template.encode(group) for group in pool(model)])

    return make


@torch.no_grad()
def run(model, batch):
    """Rewards, and the same from the hidden states by the head's formula in fp32."""
    seen = []
    handle = model.head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    rewards = model(**batch)
    handle.remove()
    first, last = model.head.layers
    with torch.autocast("cpu", enabled=False):
        inner = torch.nn.functional.silu(seen[0].float() @ first.weight.T + first.bias)
        return rewards, inner @ last.weight[0], seen[0].dtype


def check_fp32(rewards, expected):
    assert rewards.dtype == torch.float32
    torch.testing.assert_close(rewards, expected, rtol=1e-6, atol=1e-7)
    assert (rewards.bfloat16().float() != rewards).any()


def test_fp32(model, batch_of):
    rewards, expected, hidden = run(model, batch_of(model))
    assert hidden == torch.float32
    check_fp32(rewards, expected)


def test_bf16_weights(vl_backbone, batch_of):
    model = new_reward_model(vl_backbone, dtype=torch.bfloat16).eval()
    assert {weight.dtype for weight in model.backbone.parameters()} == {torch.bfloat16}
    assert {weight.dtype for weight in model.head.parameters()} == {torch.float32}
    rewards, expected, hidden = run(model, batch_of(model))
    assert hidden == torch.bfloat16
    check_fp32(rewards, expected)


@pytest.mark.parametrize("backend", ["split", "plain"])
def test_bf16_autocast(model, backend, batch_of):
    model.use_backend(backend)
    products = []
    model.head.layers[0].register_forward_hook(lambda module, inputs, output: products.append(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        rewards = model(**batch_of(model))
        (rewards.sum()).backward()
    assert rewards.dtype == torch.float32
    assert products == [torch.float32]
    assert {weight.grad.dtype for weight in model.head.parameters()} == {torch.float32}
    with torch.autocast("cpu", torch.bfloat16):
        check_fp32(*run(model, batch_of(model))[:2])


@pytest.mark.parametrize("cast", [lambda model: model.to(torch.bfloat16), lambda model: model.bfloat16()])
def test_casting_the_whole_model_spares_the_head(model, cast, batch_of):
    before = {name: weight.clone() for name, weight in model.head.state_dict().items()}
    cast(model)
    assert {weight.dtype for weight in model.backbone.parameters()} == {torch.bfloat16}
    assert all(torch.equal(weight, before[name]) for name, weight in model.head.state_dict().items())
    check_fp32(*run(model, batch_of(model))[:2])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_head_keeps_fp32_and_moves_between_devices(dtype):
    head = RewardHead(8).to(dtype)
    assert {weight.dtype for weight in head.parameters()} == {torch.float32}
    assert head(torch.randn(3, 8, dtype=dtype)).dtype == torch.float32
    head = head.to("meta", dtype)
    assert {(weight.device.type, weight.dtype) for weight in head.parameters()} == {("meta", torch.float32)}
    empty = head.to_empty(device="cpu")
    assert {weight.device.type for weight in empty.parameters()} == {"cpu"}


def test_bf16_stays_near_fp32(vl_model, batch_of, tmp_path):
    batch = batch_of(vl_model)
    expected = run(vl_model, batch)[0]
    folder = save_reward_model(vl_model, tmp_path)
    rewards = run(load_reward_model(folder, dtype=torch.bfloat16).eval(), batch)[0]
    assert 0 < (rewards - expected).abs().max() < 0.1 * expected.abs().max()
