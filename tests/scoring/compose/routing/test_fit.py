"""Fits from sums of folds: the closed form, nothing of a fold in what judges it, and rows of one prompt together."""

import numpy as np
import pytest

from basereward.errors import DataError, ScoringError
from basereward.scoring.compose.routing.features import Seen
from basereward.scoring.compose.routing.fit import RIDGES, FoldedFit, Outcomes, draw_folds
from basereward.scoring.compose.routing.training import ExpertFacts, train_router

EXPERTS = [ExpertFacts("a"), ExpertFacts("b")]


def draw(pairs=120, concerned=None, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(pairs, 4))
    right = (rng.random((pairs, 2)) < 0.5 + 0.4 * np.sign(features[:, :1] * [1, -1])).astype(float)
    known = np.ones((pairs, 2), bool) if concerned is None else concerned
    return Outcomes(features, right, 2 * right - 1, known, np.arange(pairs) // 2, np.array([1.0, 3.0]))


def test_the_fit_is_that_of_ridge_regression_on_the_rows_themselves():
    concerned = np.random.default_rng(1).random((120, 2)) < 0.8
    concerned[:, 0] |= ~concerned.any(axis=1)
    outcomes = draw(concerned=concerned)
    fold = draw_folds(outcomes.prompts)
    folded = FoldedFit(outcomes, fold, 1.3)
    found = folded.fit([0, 1, 3])
    for expert in range(2):
        rows = np.isin(fold, [0, 1, 3]) & concerned[:, expert]
        x, y = folded.scaled[rows, :-1], outcomes.right[rows, expert]
        # The intercept is free: the same as fitting centred rows.
        centred = x - x.mean(axis=0)
        gram = centred.T @ centred + found.ridge * rows.sum() * np.eye(4)
        weights = np.linalg.solve(gram, centred.T @ (y - y.mean()))
        np.testing.assert_allclose(found.weights[:-1, expert], weights, atol=1e-8)
        np.testing.assert_allclose(found.weights[-1, expert], y.mean() - x.mean(axis=0) @ weights, atol=1e-8)
    assert found.ridge in RIDGES


def test_what_is_told_of_a_fold_does_not_depend_on_its_outcomes():
    outcomes = draw()
    fold = draw_folds(outcomes.prompts)
    changed = outcomes._replace(right=np.where((fold == 2)[:, None], 1 - outcomes.right, outcomes.right))
    fits = [FoldedFit(own, fold, 1.1).fit([0, 1, 3, 4]) for own in (outcomes, changed)]
    np.testing.assert_array_equal(fits[0].weights, fits[1].weights)
    assert fits[0][1:] == fits[1][1:]


def test_pairs_of_a_prompt_are_in_one_fold_and_few_prompts_are_refused():
    prompts = np.repeat(np.arange(20), 3)
    fold = draw_folds(prompts)
    assert all(len(set(fold[prompts == own])) == 1 for own in range(20))
    assert sorted(np.bincount(fold)) == [12] * 5
    with pytest.raises(DataError, match="4 prompts"):
        draw_folds(np.arange(4))


def test_a_gain_is_shown_or_refused_or_forced():
    shown = train_router(draw(400), EXPERTS, Seen(), 3.0, "")
    assert shown.record.gain.low > 0
    outcomes = draw(400)
    noise = outcomes._replace(features=np.random.default_rng(5).normal(size=(400, 4)))
    with pytest.raises(ScoringError, match=r"not shown to be better than [ab] alone.*--force"):
        train_router(noise, EXPERTS, Seen(), 3.0, "")
    forced = train_router(noise, EXPERTS, Seen(), 3.0, "", forced=True)
    assert forced.record.gain.low <= 0


def test_the_best_single_expert_is_one_within_the_budget():
    outcomes = draw(400)
    dear = outcomes._replace(right=np.stack([outcomes.right[:, 0], np.ones(400)], axis=1))
    names = [train_router(dear, EXPERTS, Seen(), budget, "", forced=True).record.single for budget in (1.3, 3.0)]
    assert names == ["a", "b"]
    with pytest.raises(ScoringError, match="a budget of 0"):
        train_router(dear, EXPERTS, Seen(), 0.5, "")


def test_equal_outcomes_give_an_equal_router():
    found = [train_router(draw(400), EXPERTS, Seen(), 1.3, "x") for _ in range(2)]
    assert found[0] == found[1]


def test_what_a_decision_costs_counts():
    outcomes = draw(400)._replace(overhead=1.0)
    with pytest.raises(ScoringError, match=r"state of a .* budget of 2\.00 times"):
        train_router(outcomes, EXPERTS, Seen(state_of="a"), 1.9, "")
    free, found = (
        train_router(own, EXPERTS, Seen(state_of="a"), budget, "", forced=True).record
        for own, budget in ((outcomes._replace(overhead=0.0), 1.5), (outcomes, 2.5))
    )
    assert found.router_cost == pytest.approx(free.router_cost + 1)
    assert found.router == free.router
