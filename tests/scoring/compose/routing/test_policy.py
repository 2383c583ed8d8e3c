"""Decisions on arrays: closed forms, budgets that hold, and the oracle."""

from math import log

import numpy as np
import pytest

from basereward.scoring.compose.routing.policy import cheapest_cost, choose, oracle, price_within, soft_weights

COSTS = np.array([1.0, 3.0])
BOTH = np.ones((3, 2), bool)


def test_a_dearer_expert_is_asked_where_its_gain_is_above_the_price():
    right = np.array([[0.6, 0.9], [0.8, 0.9], [0.9, 0.9]])
    assert choose(right, BOTH, COSTS, 0.0).tolist() == [1, 1, 0]
    # 0.3 > 2 x 0.1 > 0.1.
    assert choose(right, BOTH, COSTS, 0.1).tolist() == [1, 0, 0]
    assert choose(right, BOTH, COSTS, 0.16).tolist() == [0, 0, 0]


def test_of_equal_experts_the_cheapest_is_asked_wherever_it_stands():
    assert choose(np.array([[0.5, 0.5]]), BOTH[:1], COSTS[::-1], 0.0).tolist() == [1]


def test_an_expert_that_a_prompt_does_not_concern_is_never_asked():
    concerned = np.array([[True, False], [False, True]])
    right = np.array([[0.1, 0.9], [0.9, 0.1]])
    assert choose(right, concerned, COSTS, 0.0).tolist() == [0, 1]
    assert cheapest_cost(concerned, COSTS) == 2.0


@pytest.mark.parametrize("budget", [1.0, 1.2, 1.5, 3.0])
def test_the_budget_holds_and_a_lower_price_would_break_it(budget):
    right = np.random.default_rng(0).random((500, 2))
    concerned = np.ones((500, 2), bool)
    price = price_within(right, concerned, COSTS, budget)
    assert COSTS[choose(right, concerned, COSTS, price)].mean() <= budget + 1e-9
    if price:
        assert COSTS[choose(right, concerned, COSTS, price - 1e-6)].mean() > budget
    else:
        assert budget == 3.0


def test_soft_weights_are_log_odds_and_equal_where_nobody_is_better_than_chance():
    right = np.array([[0.8, 0.6], [0.4, 0.3], [0.7, 0.9]])
    concerned = np.array([[True, True], [True, True], [True, False]])
    expected = [[log(4), log(1.5)], [1, 1], [log(7 / 3), 0]]
    np.testing.assert_allclose(soft_weights(right, concerned), expected)


def test_the_oracle_asks_the_cheapest_that_is_right():
    right = np.array([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0], [0.5, 0.0]])
    assert oracle(right, np.ones((4, 2), bool), COSTS).tolist() == [0, 1, 0, 0]
