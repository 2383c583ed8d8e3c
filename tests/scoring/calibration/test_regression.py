"""Regression with coefficients that are not negative: closed forms and the conditions of an optimum."""

import numpy as np
import pytest

from basereward.scoring.calibration.regression import fit_least_squares, fit_logistic, sigmoid, softplus


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_least_squares_is_the_free_solution_where_that_is_positive(rng):
    design = rng.normal(size=(50, 3))
    values = design @ [1.0, 2.0, 3.0] + 0.01 * rng.normal(size=50)
    assert fit_least_squares(design, values, 0.0) == pytest.approx(np.linalg.lstsq(design, values)[0])


def test_one_column_of_ones_and_minus_ones_gives_the_log_odds():
    # 30 rows of 1 and 10 of -1, all to be right: sigmoid(b) with the target t is 1/2 + (2 t - 1) (30 - 10) / 80.
    design = np.array([[1.0]] * 30 + [[-1.0]] * 10)
    target = 41 / 42
    share = (30 * target + 10 * (1 - target)) / 40
    assert fit_logistic(design, np.zeros(1))[0] == pytest.approx(np.log(share / (1 - share)))


@pytest.mark.parametrize("seed", range(3))
def test_the_conditions_of_an_optimum_hold(seed):
    rng = np.random.default_rng(seed)
    design = rng.normal((0.5, 0.3, -0.4, 0.0), size=(300, 4))
    penalty = np.array([0.0, 0.1, 0.1, 0.1])
    found = fit_logistic(design, penalty)
    gradient = design.T @ (301 / 302 - sigmoid(design @ found)) - penalty * found
    assert (found >= 0).all()
    assert found[2] == 0
    # Nothing is gained by moving: inwards where a coefficient is 0, either way elsewhere.
    assert np.abs(gradient[found > 0]).max() < 1e-3
    assert gradient[found == 0].max() < 1e-3


def test_rows_that_are_all_right_give_no_endless_slope(rng):
    assert np.isfinite(fit_logistic(rng.uniform(1, 2, (100, 1)), np.zeros(1))).all()


def test_nothing_overflows():
    ends = np.array([-1e308, -800.0, 0.0, 800.0, 1e308])
    assert sigmoid(ends) == pytest.approx([0, 0, 0.5, 1, 1])
    assert softplus(ends)[[0, 2, 4]] == pytest.approx([0, np.log(2), 1e308])
