"""The estimator of best of n against every subset, and its closed forms."""

from itertools import combinations, product
from math import comb

import numpy as np
import pytest

from basereward.errors import DataError
from basereward.rl.best_of_n import pair_counts, rank_correlation, selection_weights


def by_enumeration(rewards: list[float], values: list[float], n: int) -> float:
    """The mean over all subsets of size n of the mean value of those with the highest reward."""
    found = []
    for chosen in combinations(range(len(rewards)), n):
        top = max(rewards[place] for place in chosen)
        found.append(np.mean([values[place] for place in chosen if rewards[place] == top]))
    return float(np.mean(found))


@pytest.mark.parametrize("levels", [1, 2, 3, 9])
def test_the_estimator_is_the_mean_over_all_subsets_ties_included(levels: int) -> None:
    rng = np.random.default_rng(levels)
    for count in range(1, 8):
        rewards = rng.integers(0, levels, count).astype(float).tolist()
        values = rng.normal(size=count).tolist()
        for n in range(1, count + 1):
            weights = selection_weights(rewards, n)
            assert weights.sum() == pytest.approx(1)
            assert float(weights @ values) == pytest.approx(by_enumeration(rewards, values, n), abs=1e-12)


def test_every_pattern_of_ties_of_four_responses() -> None:
    values = [1.0, 2.0, 4.0, 8.0]
    for rewards in product([0.0, 1.0, 2.0, 3.0], repeat=4):
        for n in range(1, 5):
            found = float(selection_weights(list(rewards), n) @ values)
            assert found == pytest.approx(by_enumeration(list(rewards), values, n))


def test_closed_forms() -> None:
    # Distinct rewards: the k-th best is chosen if it is drawn and none above it.
    weights = selection_weights([5.0, 4.0, 3.0, 2.0, 1.0], 2)
    assert weights.tolist() == pytest.approx([4 / 10, 3 / 10, 2 / 10, 1 / 10, 0])
    assert selection_weights([1.0, 7.0, 3.0], 3).tolist() == [0, 1, 0]
    assert selection_weights([2.0] * 4, 3).tolist() == [0.25] * 4


def test_many_responses_have_their_closed_form() -> None:
    weights = selection_weights(np.arange(3000.0), 1024)
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert weights[-1] == pytest.approx(1024 / 3000)
    assert weights[1023] == pytest.approx(1 / comb(3000, 1024))


@pytest.mark.parametrize(
    ("rewards", "n", "message"),
    [([1.0], 2, "Best of 2"), ([1.0, 2.0], 0, "Best of 0"), ([1.0, float("nan")], 1, "NaN")],
)
def test_what_has_no_best_is_refused(rewards: list[float], n: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        selection_weights(rewards, n)


def test_pairs_are_counted_where_gold_differs() -> None:
    counts = pair_counts([3.0, 1.0, 1.0, 2.0], [1.0, 0.0, 1.0, 1.0])
    # Against the one wrong response: two right ones above it, one tied with it.
    assert counts == (3, 2, 1)
    assert pair_counts([1.0, 2.0], [1.0, 1.0]) == (0, 0, 0)


def test_rank_correlation_takes_ties_at_their_mean_rank() -> None:
    assert rank_correlation([1.0, 2.0, 3.0], [10.0, 20.0, 90.0]) == pytest.approx(1)
    assert rank_correlation([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == pytest.approx(-1)
    # Ranks 1.5, 1.5, 3 against 1, 2, 3.
    assert rank_correlation([0.0, 0.0, 5.0], [1.0, 2.0, 3.0]) == pytest.approx(np.sqrt(3) / 2)
    assert rank_correlation([1.0, 1.0], [1.0, 2.0]) is None
