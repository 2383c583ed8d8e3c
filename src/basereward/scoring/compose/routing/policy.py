"""How a prompt is decided from predicted shares of right rankings and from costs: pure functions on arrays."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

# A share that is told as certain would silence all others.
_SURE = 0.99
_STEPS = 60


def choose(
    right: Float[np.ndarray, "n k"], concerned: Bool[np.ndarray, "n k"], costs: Float[np.ndarray, " k"], price: float
) -> Int[np.ndarray, " n"]:
    """Return the expert of each prompt: ``argmax_k p_k - price c_k`` among those that it concerns.

    So a dearer expert is asked where ``p_dear - p_cheap > price (c_dear - c_cheap)``: the cheap one abstains below a
    threshold. Of equal ones the cheapest is asked, then the first.

    Args:
        right: the predicted share of right rankings of each expert.
        concerned: whether an expert scores such prompts at all; of each prompt at least one does.
        costs: of an expert, for one prompt.
        price: what a unit of cost must bring, as a share of right rankings.
    """
    worth = np.where(concerned, right - price * costs, -np.inf)
    order = np.argsort(costs, kind="stable")
    return order[np.argmax(worth[:, order], axis=1)]


def cheapest_cost(concerned: Bool[np.ndarray, "n k"], costs: Float[np.ndarray, " k"]) -> float:
    """Return the mean cost of asking the cheapest expert that each prompt concerns."""
    return float(np.where(concerned, costs, np.inf).min(axis=1).mean())


def price_within(
    right: Float[np.ndarray, "n k"], concerned: Bool[np.ndarray, "n k"], costs: Float[np.ndarray, " k"], most: float
) -> float:
    """Return the lowest price at which ``choose`` costs at most ``most`` on average.

    The mean cost never rises with the price, so that it is found by bisection. It is the multiplier of the budget: no
    other rule of the same mean cost has a higher predicted share. Where the cheapest cost more, so do they.
    """
    limit = most * (1 + 1e-9)

    def costs_at(price: float) -> float:
        return float(costs[choose(right, concerned, costs, price)].mean())

    gaps = np.diff(np.unique(costs))
    if costs_at(0.0) <= limit or not len(gaps):
        return 0.0
    # Shares differ by at most 1, so that from here on the cheapest is asked.
    low, high = 0.0, 2.0 / float(gaps.min())
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if costs_at(middle) <= limit else (middle, high)
    return high


def soft_weights(right: Float[np.ndarray, "n k"], concerned: Bool[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """Return ``max(0, log p / (1 - p))`` of the experts that a prompt concerns; equal ones if all are 0.

    Log odds are the best weights of voters that err independently; who is right no more often than by chance has none.

    Source: Nitzan and Paroush, International Economic Review 1982.
    """
    sure = np.clip(right, 1 - _SURE, _SURE)
    weights = np.where(concerned, np.maximum(np.log(sure / (1 - sure)), 0.0), 0.0)
    return np.where(weights.any(axis=1, keepdims=True), weights, concerned.astype(float))


def oracle(
    right: Float[np.ndarray, "n k"], concerned: Bool[np.ndarray, "n k"], costs: Float[np.ndarray, " k"]
) -> Int[np.ndarray, " n"]:
    """Return, for each pair, the cheapest expert that is right about it; the cheapest of all if none is."""
    return choose(right, concerned, costs, 0.0)


def prices(costs: Sequence[float], points: int) -> list[float]:
    """Return prices from 0 to where the cheapest is always asked, closer together where they are low."""
    gaps = np.diff(np.unique(costs))
    highest = 1.0 / float(gaps.min()) if len(gaps) else 0.0
    return [highest * (step / (points - 1)) ** 3 for step in range(points)]
