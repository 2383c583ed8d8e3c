"""The objective is Algorithm 1 of the paper, and the logged metrics are those of numpy."""

import numpy as np
import pytest
import torch

from basereward.training.objectives import (
    METRIC_NAMES,
    BradleyTerry,
    PairRewards,
    metric_means,
    metric_sums,
)

PAIRS = 6


def algorithm_1(  # the paper's, line by line, on the lengths and rewards of both sides
    r_w: np.ndarray, r_l: np.ndarray, l_w: np.ndarray, l_l: np.ndarray, weight: float, normalize: bool
) -> float:
    if normalize:
        r_w = r_w / np.log(l_w + 1.0)
        r_l = r_l / np.log(l_l + 1.0)
    loss_reward = -np.mean(np.log(1 / (1 + np.exp(-(r_w - r_l)))))
    loss_zero = weight * np.mean((r_w + r_l) ** 2)
    return float(loss_reward + loss_zero)


def draw(seed: int) -> dict[str, torch.Tensor]:
    """Rewards and lengths of 13 responses, of which 6 pairs are compared in no order."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "rewards": 2 * torch.randn(13, generator=generator, dtype=torch.float64),
        "pairs": torch.randperm(13, generator=generator)[: 2 * PAIRS].reshape(PAIRS, 2),
        "margins": torch.rand(PAIRS, generator=generator, dtype=torch.float64),
        "weights": torch.ones(PAIRS, dtype=torch.float64),
        "answer_lengths": torch.randint(1, 400, (13,), generator=generator),
    }


@pytest.mark.parametrize("weight", [0.0, 0.01, 0.1])
@pytest.mark.parametrize("normalize", [False, True])
def test_the_objective_is_algorithm_1(weight: float, normalize: bool) -> None:
    for seed in range(20):
        batch = draw(seed)
        objective = BradleyTerry(zero_coefficient=weight, length_normalization=normalize)
        total = objective.loss(**batch).total
        sides = [batch[name].numpy()[batch["pairs"].numpy().T] for name in ("rewards", "answer_lengths")]
        expected = algorithm_1(*sides[0], *sides[1], weight, normalize)
        assert float(total) / PAIRS == pytest.approx(expected, rel=1e-12)


def test_margins_count_only_when_asked_for() -> None:
    batch = draw(0)
    without = BradleyTerry().loss(**batch)
    assert without.total == BradleyTerry().loss(**batch | {"margins": batch["margins"] * 9}).total
    chosen, rejected = batch["rewards"][batch["pairs"].T]
    expected = -torch.nn.functional.logsigmoid(chosen - rejected - batch["margins"]).sum()
    torch.testing.assert_close(BradleyTerry(use_margin=True).loss(**batch).total, expected)


def test_weights_scale_each_pair() -> None:
    batch = draw(1)
    objective = BradleyTerry(zero_coefficient=0.1)
    alone = [
        objective.loss(**batch | {"weights": torch.eye(PAIRS, dtype=torch.float64)[row]}).total for row in range(PAIRS)
    ]
    weights = torch.arange(PAIRS, dtype=torch.float64)
    total = objective.loss(**batch | {"weights": weights}).total
    torch.testing.assert_close(total, (torch.stack(alone) * weights).sum())


def test_halves_of_a_batch_add_up_to_it() -> None:
    batch = draw(2)
    objective = BradleyTerry(zero_coefficient=0.05, length_normalization=True, use_margin=True)

    def part(rows: slice) -> torch.Tensor:
        cut = {name: batch[name][rows] for name in ("pairs", "margins", "weights")}
        return objective.loss(**batch | cut).total

    torch.testing.assert_close(part(slice(0, 2)) + part(slice(2, None)), part(slice(None)))


def test_the_compared_rewards_come_back_normalised() -> None:
    batch = draw(3)
    sides = BradleyTerry(length_normalization=True).loss(**batch).rewards
    normal = batch["rewards"] / torch.log(batch["answer_lengths"] + 1.0)
    torch.testing.assert_close(torch.stack(sides), normal[batch["pairs"].T])


def test_metrics_are_those_of_numpy() -> None:
    chosen, rejected = torch.randn(2, 50, generator=torch.Generator().manual_seed(0))
    chosen[:5] = rejected[:5]
    found = metric_means(metric_sums(PairRewards(chosen, rejected)))
    c, r = chosen.double().numpy(), rejected.double().numpy()
    expected = {
        "accuracy": np.mean(c > r),
        "ties": 0.1,
        "margin": np.mean(c - r),
        "chosen_mean": c.mean(),
        "chosen_std": c.std(),
        "rejected_mean": r.mean(),
        "rejected_std": r.std(),
    }
    assert found == pytest.approx(expected, rel=1e-9)


def test_sums_of_parts_are_the_sums_of_the_whole() -> None:
    chosen, rejected = torch.randn(2, 30, generator=torch.Generator().manual_seed(1))
    parts = [metric_sums(PairRewards(chosen[own], rejected[own])) for own in (slice(7), slice(7, 30))]
    torch.testing.assert_close(sum(parts), metric_sums(PairRewards(chosen, rejected)))
    assert dict(zip(METRIC_NAMES, parts[0].tolist(), strict=True))["pairs"] == 7


def test_a_tie_is_neither_right_nor_wrong() -> None:
    tied = PairRewards(torch.tensor([1.0, 2.0, 0.0, 0.0]), torch.tensor([1.0, 0.0, 3.0, 0.0]))
    found = metric_means(metric_sums(tied))
    assert (found["accuracy"], found["ties"]) == (0.25, 0.5)


def test_swapped_labels_turn_accuracy_around() -> None:
    chosen, rejected = torch.randn(2, 40, generator=torch.Generator().manual_seed(2))
    right = metric_means(metric_sums(PairRewards(chosen, rejected)))
    wrong = metric_means(metric_sums(PairRewards(rejected, chosen)))
    assert 0 < right["accuracy"] < 1
    assert wrong["accuracy"] == pytest.approx(1 - right["accuracy"])
    assert wrong["margin"] == pytest.approx(-right["margin"])


def test_equal_rewards_have_no_spread_and_metrics_carry_no_graph() -> None:
    same = torch.full((3,), 1e4, requires_grad=True)
    sums = metric_sums(PairRewards(same, same))
    assert not sums.requires_grad
    assert metric_means(sums)["chosen_std"] == pytest.approx(0.0, abs=1e-3)
