"""The losses are the formulas of the paper: closed-form values, gradients, invariances."""

import math

import pytest
import torch

from basereward.errors import TrainingError
from basereward.training.losses import bradley_terry, length_normalized, zero_coefficient


@pytest.mark.parametrize(
    ("difference", "loss"),
    [
        (0.0, math.log(2)),
        (1.0, math.log(1 + math.exp(-1))),
        (-1.0, 1 + math.log(1 + math.exp(-1))),
        (50.0, math.exp(-50)),
        (-1000.0, 1000.0),
        (1000.0, 0.0),
    ],
)
def test_bradley_terry_has_its_closed_form(difference: float, loss: float) -> None:
    chosen = torch.tensor([3.0 + difference], dtype=torch.float64)
    found = bradley_terry(chosen, torch.tensor([3.0], dtype=torch.float64))
    torch.testing.assert_close(found, torch.tensor([loss], dtype=torch.float64), rtol=1e-12, atol=0)


def test_a_margin_is_subtracted_from_the_difference() -> None:
    chosen, rejected = torch.tensor([1.0, 2.0]), torch.tensor([0.5, 3.0])
    margin = torch.tensor([0.5, -1.0])
    torch.testing.assert_close(bradley_terry(chosen, rejected, margin), torch.full((2,), math.log(2)))


def test_gradients_push_chosen_up_and_rejected_down() -> None:
    chosen = torch.tensor([0.0, 1.0, -2.0], requires_grad=True)
    rejected = torch.tensor([0.0, -1.0, 2.0], requires_grad=True)
    bradley_terry(chosen, rejected).sum().backward()
    expected = torch.sigmoid(rejected - chosen).detach()
    torch.testing.assert_close(chosen.grad, -expected)
    torch.testing.assert_close(rejected.grad, expected)


def test_a_wrong_pair_far_away_still_has_a_full_gradient() -> None:
    chosen = torch.tensor([-1e4], requires_grad=True)
    bradley_terry(chosen, torch.tensor([1e4])).sum().backward()
    torch.testing.assert_close(chosen.grad, torch.tensor([-1.0]))


def test_a_shift_of_both_rewards_changes_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    chosen, rejected = torch.randn(2, 20, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(bradley_terry(chosen + 7, rejected + 7), bradley_terry(chosen, rejected))


def test_swapped_sides_differ_by_the_difference() -> None:
    generator = torch.Generator().manual_seed(1)
    chosen, rejected = torch.randn(2, 20, generator=generator, dtype=torch.float64)
    gap = bradley_terry(rejected, chosen) - bradley_terry(chosen, rejected)
    torch.testing.assert_close(gap, chosen - rejected)


def test_zero_coefficient_is_the_squared_sum_and_pulls_it_to_zero() -> None:
    chosen = torch.tensor([1.0, -2.0, 3.0], requires_grad=True)
    rejected = torch.tensor([2.0, 2.0, -5.0], requires_grad=True)
    terms = zero_coefficient(chosen, rejected)
    assert terms.tolist() == [9.0, 0.0, 4.0]
    terms.sum().backward()
    assert chosen.grad is not None
    assert rejected.grad is not None
    assert chosen.grad.tolist() == rejected.grad.tolist() == [6.0, 0.0, -4.0]


def test_length_normalisation_divides_by_the_log_of_length_plus_one() -> None:
    rewards = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    found = length_normalized(rewards, torch.tensor([1, 9, 99]))
    expected = torch.tensor([1 / math.log(2), -2 / math.log(10), 3 / math.log(100)], dtype=torch.float64)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("other", [torch.zeros(3, 1), torch.zeros(2), torch.zeros(1), torch.zeros(())])
def test_other_shapes_are_refused_and_named(other: torch.Tensor) -> None:
    rewards = torch.zeros(3)
    message = r"shapes \(3,\) and " + str(tuple(other.shape)).replace("(", r"\(").replace(")", r"\)")
    for call in (
        lambda: bradley_terry(rewards, other),
        lambda: bradley_terry(rewards, rewards, other),
        lambda: zero_coefficient(rewards, other),
        lambda: length_normalized(rewards, other),
    ):
        with pytest.raises(TrainingError, match=message):
            call()


def test_two_dimensions_are_refused_even_when_equal() -> None:
    with pytest.raises(TrainingError, match="one-dimensional"):
        bradley_terry(torch.zeros(3, 1), torch.zeros(3, 1))
