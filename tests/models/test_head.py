"""The reward head: its shapes, its limits, and where rewards start."""

import math
from itertools import product

import pytest
import torch

from basereward.encoding.collate import collate
from basereward.errors import RecipeError
from basereward.models.checkpoint import new_reward_model
from basereward.models.head import ACTIVATIONS, HeadSettings, RewardHead

HIDDEN = 12


@pytest.mark.parametrize(("layers", "activation"), product(range(1, 6), ACTIVATIONS))
def test_shapes_and_parameters(layers, activation):
    head = RewardHead(HIDDEN, layers, activation)
    inner = (layers - 1) * (HIDDEN * HIDDEN + HIDDEN)
    assert sum(weight.numel() for weight in head.parameters()) == inner + HIDDEN
    assert [layer.bias is None for layer in head.layers] == [False] * (layers - 1) + [True]
    rewards = head(torch.randn(7, HIDDEN))
    assert rewards.shape == (7,)
    assert rewards.dtype == torch.float32


def test_width_is_that_of_the_inner_layers():
    head = RewardHead(HIDDEN, layers=3, width=5)
    assert [tuple(layer.weight.shape) for layer in head.layers] == [(5, HIDDEN), (5, 5), (1, 5)]
    assert head.width == 5
    assert RewardHead(HIDDEN, layers=1, width=5).layers[0].weight.shape == (1, HIDDEN)


@pytest.mark.parametrize(
    ("activation", "function"),
    [
        ("none", lambda x: x),
        ("tanh", torch.tanh),
        ("relu", lambda x: x.clamp(min=0)),
        ("silu", lambda x: x / (1 + torch.exp(-x))),
        ("gelu", lambda x: x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))),
    ],
)
def test_the_formula(activation, function):
    head = RewardHead(HIDDEN, layers=2, activation=activation)
    hidden = torch.randn(4, HIDDEN)
    first, last = head.layers
    expected = function(hidden @ first.weight.T + first.bias) @ last.weight[0]
    torch.testing.assert_close(head(hidden), expected)


@pytest.mark.parametrize("layers", [-1, 0, 6])
def test_wrong_number_of_layers(layers):
    with pytest.raises(RecipeError, match=f"{layers} head layers, expected 1 to 5"):
        RewardHead(HIDDEN, layers)


def test_unknown_activation():
    with pytest.raises(RecipeError, match="'swish', expected one of none, tanh, relu, gelu, silu"):
        RewardHead(HIDDEN, activation="swish")


@pytest.mark.parametrize("layers", [1, 2, 5])
def test_the_first_loss_is_ln_2(layers, vl_backbone, image_groups, text_groups):
    for seed in range(3):
        torch.manual_seed(seed)
        model = new_reward_model(vl_backbone, HeadSettings(layers=layers)).eval()
        with torch.no_grad():
            rewards = model(**collate([model.template.encode(group) for group in image_groups + text_groups]))
        margins = (rewards[:, None] - rewards[None])[~torch.eye(len(rewards), dtype=torch.bool)]
        assert (torch.nn.functional.softplus(-margins).mean() - math.log(2)).abs() < 0.02


def test_a_head_starts_small_for_any_width():
    """Hidden states after the last norm have entries near 1; rewards must not grow with their number."""
    torch.manual_seed(0)
    for hidden, layers in product((64, 2048), (1, 2)):
        rewards = RewardHead(hidden, layers)(torch.randn(64, hidden))
        assert 0 < rewards.std() < 0.2
