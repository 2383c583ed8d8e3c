"""A head that compares responses: what a plain loop over groups gives, without an order, and alone a plain head."""

from dataclasses import replace

import pytest
import torch

from basereward.encoding.collate import collate
from basereward.encoding.compared import compared_tensors
from basereward.errors import BackendError, CheckpointError
from basereward.models.checkpoint import load_reward_model, new_reward_model, save_reward_model
from basereward.models.cross_response import HEAD_DIM, cross_parameters, read_sets
from basereward.models.export import export_classifier
from basereward.models.head import HeadSettings, RewardHead, draw_head
from basereward.models.vllm_plugin import head_settings

HIDDEN, HEADS = 24, 2


def sets_of(*owners, leaves=None):
    """The sets of responses with these owners, all of them different unless leaves say otherwise."""
    return read_sets(compared_tensors(owners, leaves or range(len(owners))))


@pytest.fixture
def head():
    torch.manual_seed(0)
    made = RewardHead(HIDDEN, cross_response=HEADS)
    # As large as after training: at the start rewards are small, and so is whatever goes wrong with them.
    torch.nn.init.normal_(made.layers[-1].weight)
    return made


@pytest.fixture
def states():
    return torch.randn(7, HIDDEN, generator=torch.Generator().manual_seed(1))


def by_hand(head, states):
    """The definition for the different responses of one group, one number after another."""
    cross, seen = head.cross, []
    read = states * (states.pow(2).mean(-1, keepdim=True) + 1e-6).rsqrt() * cross.norm.weight
    parts = [layer(read).unflatten(-1, (HEADS, HEAD_DIM)).unbind(1) for layer in (cross.query, cross.key, cross.value)]
    for i in range(len(states)):
        own = []
        for query, key, value in zip(*parts, strict=True):
            looks = torch.stack([query[i] @ key[j] / 8 for j in range(len(states))]).softmax(0)
            own.append(sum(looks[j] * (value[j] - value[i]) for j in range(len(states))))
        seen.append(states[i] + cross.output(torch.cat(own)))
    plain = RewardHead(HIDDEN)
    plain.layers = head.layers
    return plain(torch.stack(seen))


def test_it_is_its_definition_set_by_set(head, states):
    found = head(states, sets_of(0, 0, 1, 0, 2, 2, 3))
    for members in ([0, 1, 3], [2], [4, 5], [6]):
        torch.testing.assert_close(found[members], by_hand(head, states[members]), rtol=1e-5, atol=1e-6)
    assert sum(weight.numel() for weight in head.cross.parameters()) == cross_parameters(HIDDEN, HEADS)


def test_alone_it_is_the_plain_head_bit_by_bit(head, states):
    plain = draw_head(HIDDEN, HeadSettings(), seed=5)
    same = draw_head(HIDDEN, HeadSettings(cross_response=HEADS), seed=5)
    assert torch.equal(same(states, sets_of(*range(7))), plain(states))
    # Beside groups of several, too.
    assert torch.equal(same(states, sets_of(0, 1, 2, 2, 2, 3, 4))[[0, 1, 5, 6]], plain(states)[[0, 1, 5, 6]])
    assert not torch.equal(same(states, sets_of(*[0] * 7)), plain(states))


def test_copies_change_nothing(head, states):
    expected = head(states[:3], sets_of(0, 0, 0))
    copied = states[[0, 1, 1, 2, 1]]
    found = head(copied, sets_of(0, 0, 0, 0, 0, leaves=[7, 8, 8, 9, 8]))
    torch.testing.assert_close(found, expected[[0, 1, 1, 2, 1]])
    # Equal responses of two groups are compared in each by themselves.
    both = head(states[[0, 1, 0, 2]], sets_of(0, 0, 1, 1, leaves=[7, 8, 7, 9]))
    assert both[0] != both[2]


def test_what_is_broken_breaks_its_own_set_alone(head, states):
    states[1] = torch.nan
    found = head(states, sets_of(0, 0, 1, 1, 1, 2, 2))
    assert found.isnan().tolist() == [True, True, *[False] * 5]


def test_without_sets_it_refuses(head, states):
    with pytest.raises(BackendError, match="cross_response"):
        head(states)
    assert RewardHead(HIDDEN)(states, sets_of(*[0] * 7)).shape == (7,)


@pytest.fixture(params=["qwen2_5_vl", "internvl"])
def model(request, backbone_of):
    torch.manual_seed(0)
    made = new_reward_model(backbone_of(request.param), HeadSettings(cross_response=HEADS)).eval()
    torch.nn.init.normal_(made.head.layers[-1].weight, std=0.3)
    return made


def loop(model, groups):
    """The rewards of groups, every sequence computed alone and every group compared by itself."""
    model.use_backend("plain")
    rewards = []
    for group in groups:
        different = {response.messages: response for response in group.responses}
        alone = [model.template.encode(replace(group, responses=(own,))) for own in different.values()]
        own = by_hand(model.head, torch.cat([model.hidden_states(**collate([one])) for one in alone]))
        known = dict(zip(different, own, strict=True))
        rewards += [known[response.messages] for response in group.responses]
    return torch.stack(rewards)


@pytest.mark.parametrize("backend", ["split", "plain"])
def test_rewards_and_gradients_are_those_of_a_loop_over_groups(model, backend, pool, worst_difference):
    groups = pool(model)

    def gradients(rewards):
        model.zero_grad()
        weights = torch.linspace(-1, 1, len(rewards)) + 0.1
        (torch.nn.functional.softplus(rewards * 3) * weights).sum().backward()
        return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}

    expected = loop(model, groups)
    wanted = gradients(expected)
    assert len(wanted) == len(list(model.parameters()))
    model.use_backend(backend)
    found = model(**collate([model.template.encode(group) for group in groups]))
    assert float((found - expected).detach().abs().max() / expected.detach().abs().max()) <= 1e-5
    assert worst_difference(gradients(found), wanted) <= 1e-4


def test_it_is_stored_and_refused_where_responses_come_alone(text_backbone, text_groups, rewards_of, tmp_path):
    model = new_reward_model(text_backbone, HeadSettings(layers=1, cross_response=HEADS, heads=2)).eval()
    assert model.compares
    folder = save_reward_model(model, tmp_path / "model")
    loaded = load_reward_model(folder).eval()
    assert loaded.head.settings == model.head.settings
    assert torch.equal(rewards_of(loaded, text_groups), rewards_of(model, text_groups))
    with pytest.raises(CheckpointError, match="cross_response"):
        export_classifier(folder, tmp_path / "out")
    section = {"head": {"layers": 2, "cross_response": HEADS}}
    with pytest.raises(ValueError, match="cross_response"):
        head_settings(type("Config", (), {"reward": section, "problem_type": "regression"}))
