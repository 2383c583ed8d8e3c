"""The stabilisers of judges' reinforcement learning: finite losses, no gradient from outliers, else plain GRPO."""

import math

import pytest
import torch

from basereward.rl.stable import clip_log_ratios, find_outliers

BOUND = math.log(1000)


def surrogate(policy, old, advantages, reference=None, beta=0.0):
    """GRPO's loss of tokens, by its formula."""
    ratio = torch.exp(policy - old)
    loss = -torch.min(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
    if beta:
        gap = reference - policy
        loss = loss + beta * (gap.exp() - gap - 1)
    return loss.sum()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("far", [200.0, -200.0])
def test_a_huge_log_ratio_has_a_finite_loss_and_no_gradient(sign, far):
    old = torch.tensor([[-1.0, -1.0, -2.0]])
    policy = (old + torch.tensor([[0.0, far, 0.1]])).requires_grad_()
    advantages = torch.full((1, 3), float(sign))
    if far > 0 > sign:
        # What plain GRPO makes of it: its clipping does not bound the ratio of a response that should be rarer.
        assert not math.isfinite(surrogate(policy, old, advantages).item())
    clipped = clip_log_ratios(policy, old, BOUND)
    loss = surrogate(clipped.policy, old, advantages)
    loss.backward()
    assert math.isfinite(loss.item())
    assert policy.grad[0, 1] == 0
    assert policy.grad[0, [0, 2]].abs().min() > 0.5
    assert clipped.policy[0, 1].item() == pytest.approx(old[0, 1].item() + math.copysign(BOUND, far))
    assert clipped.reference is None


def test_without_outliers_nothing_changes_to_the_bit():
    generator = torch.Generator().manual_seed(0)
    old = -torch.rand(4, 7, generator=generator) * 5
    policy = (old + torch.randn(4, 7, generator=generator)).requires_grad_()
    reference = old - torch.rand(4, 7, generator=generator)
    advantages = torch.randn(4, 1, generator=generator)
    clipped = clip_log_ratios(policy, old, BOUND, reference)
    assert torch.equal(clipped.policy, policy)
    assert torch.equal(clipped.reference, reference)
    plain = surrogate(policy, old, advantages, reference, 0.1)
    stable = surrogate(clipped.policy, old, advantages, clipped.reference, 0.1)
    assert plain.item() == stable.item()
    gradients = [torch.autograd.grad(loss, policy, retain_graph=True)[0] for loss in (plain, stable)]
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-7)


def test_the_divergence_from_the_start_keeps_its_value_and_gradient_where_a_ratio_is_clipped():
    old, reference = torch.tensor([[-9.0, -1.0]]), torch.tensor([[-1.5, -1.2]])
    policy = torch.tensor([[-1.0, -1.1]], requires_grad=True)
    clipped = clip_log_ratios(policy, old, 2.0, reference)
    assert clipped.policy[0, 0] == -7.0
    gap, plain = clipped.reference - clipped.policy, reference - policy
    torch.testing.assert_close(gap, plain)
    # The ratio is fixed, and so all of the gradient is that of the divergence.
    found = torch.autograd.grad(surrogate(clipped.policy, old, torch.ones(1, 2), clipped.reference, 0.1), policy)[0]
    expected = torch.autograd.grad(0.1 * (plain.exp() - plain - 1).sum(), policy)[0]
    assert found[0, 0].item() == pytest.approx(expected[0, 0].item(), rel=1e-5)


def test_advantages_beyond_three_deviations_are_outliers():
    every = torch.tensor([1.0] * 255 + [-255.0])
    assert find_outliers(every, every, 3.0).nonzero().flatten().tolist() == [255]
    assert find_outliers(torch.tensor([0.5, -255.0]), every, 3.0).tolist() == [False, True]
    even = torch.tensor([1.0, -1.0] * 8)
    assert not find_outliers(even, even, 3.0).any()
    assert not find_outliers(torch.zeros(8), torch.zeros(8), 3.0).any()


def test_one_group_of_eight_alone_never_has_an_outlier():
    # Of n values none is further than sqrt(n - 1) population deviations from their mean: sqrt(7) is below 3.
    worst = torch.tensor([1.0] + [0.0] * 7)
    assert not find_outliers(worst, worst, 3.0).any()
    worst = torch.tensor([1.0] + [0.0] * 10)
    assert find_outliers(worst, worst, 3.0).tolist() == [True] + [False] * 10
