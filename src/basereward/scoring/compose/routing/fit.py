"""Linear models of which expert ranks a pair right, fitted fold by fold from sums that add up.

The sums ``X'X`` and ``X'y`` of every fold are kept, so that a model of any folds is one small linear system: what
chooses the ridge and the price never sees the fold on which they are judged.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from basereward.errors import DataError
from basereward.scoring.compose.routing.policy import cheapest_cost, price_within

FOLDS = 5
# Of the penalty, in units of the rows.
RIDGES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


class Outcomes(NamedTuple):
    """What is known of ``n`` pairs and ``k`` experts.

    Args:
        features: of the prompt of each pair.
        right: 1 where an expert ranks the pair right, 0.5 for a tie, 0 where it is wrong or has no score.
        margins: reward of chosen minus rejected; 0 where there is none.
        concerned: whether the expert scores such prompts at all.
        prompts: the number of each pair's prompt, pairs of equal prompts have equal ones.
        costs: of each expert, for one prompt.
        overhead: what a decision costs by itself, for one prompt.
    """

    features: Float[np.ndarray, "n d"]
    right: Float[np.ndarray, "n k"]
    margins: Float[np.ndarray, "n k"]
    concerned: Bool[np.ndarray, "n k"]
    prompts: Int[np.ndarray, " n"]
    costs: Float[np.ndarray, " k"]
    overhead: float = 0.0

    @property
    def cheapest(self) -> float:
        """The mean cost of asking the cheapest expert of each prompt, without deciding anything."""
        return cheapest_cost(self.concerned, self.costs)


class Scaling(NamedTuple):
    """Mean, spread and range of each feature; a constant one has the spread 1."""

    mean: Float[np.ndarray, " d"]
    spread: Float[np.ndarray, " d"]
    low: Float[np.ndarray, " d"]
    high: Float[np.ndarray, " d"]

    def apply(self, features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n e"]:
        """Return scaled features with a last column of ones, which carries the intercept.

        What is beyond the range of the training is taken as its end: a line says nothing of what lies far off.
        """
        scaled = (np.clip(features, self.low, self.high) - self.mean) / self.spread
        return np.concatenate([scaled, np.ones((len(features), 1))], axis=1)


class Fit(NamedTuple):
    """Weights of scaled features and the intercept, a column for each expert; the ridge and the price chosen."""

    weights: Float[np.ndarray, "e k"]
    ridge: float
    price: float

    def predict(self, scaled: Float[np.ndarray, "n e"]) -> Float[np.ndarray, "n k"]:
        """Return the predicted share of right rankings, within [0, 1]."""
        return np.clip(scaled @ self.weights, 0.0, 1.0)


def scaling_of(features: Float[np.ndarray, "n d"]) -> Scaling:
    """Return the scaling of features; it knows no outcome, so that all pairs may enter."""
    spread = features.std(axis=0)
    ends = features.min(axis=0), features.max(axis=0)
    return Scaling(features.mean(axis=0), np.where(spread > 1e-9, spread, 1.0), *ends)


def draw_folds(prompts: Int[np.ndarray, " n"], folds: int = FOLDS, seed: int = 0) -> Int[np.ndarray, " n"]:
    """Return the fold of each pair; all pairs of a prompt are in one.

    Raises:
        DataError: fewer prompts than folds.
    """
    different, places = np.unique(prompts, return_inverse=True)
    if len(different) < folds:
        raise DataError(f"Found pairs of {len(different)} prompts; routing is trained on those of at least {folds}.")
    return (np.random.default_rng(seed).permutation(len(different)) % folds)[places.reshape(-1)]


class FoldedFit:
    """Fits on any of the folds of some outcomes.

    Args:
        outcomes: what is known.
        fold: the fold of each pair.
        budget: most mean cost, decisions included, in units of the cheapest.
    """

    def __init__(self, outcomes: Outcomes, fold: Int[np.ndarray, " n"], budget: float) -> None:
        self.outcomes, self.fold, self.budget = outcomes, fold, budget
        self.scaling = scaling_of(outcomes.features)
        self.scaled = self.scaling.apply(outcomes.features)
        self.folds = tuple(np.unique(fold).tolist())
        # Experts that the same pairs concern have their left-hand sides in common.
        patterns: dict[bytes, list[int]] = {}
        for expert in range(outcomes.right.shape[1]):
            patterns.setdefault(outcomes.concerned[:, expert].tobytes(), []).append(expert)
        self._blocks = [(own, self._sums(own)) for own in patterns.values()]

    def fit(self, folds: Sequence[int]) -> Fit:
        """Return the fit on some folds; ridge and price are chosen on predictions of each of them by the others."""
        inside = np.isin(self.fold, folds)
        held_out = {ridge: self._held_out(folds, ridge) for ridge in RIDGES}
        known = self.outcomes.concerned[inside]
        errors = {
            ridge: float(((found[inside] - self.outcomes.right[inside]) ** 2)[known].mean())
            for ridge, found in held_out.items()
        }
        ridge = min(RIDGES, key=errors.__getitem__)
        costs = self.outcomes.costs
        most = self.budget * cheapest_cost(known, costs) - self.outcomes.overhead
        price = price_within(held_out[ridge][inside], known, costs, most)
        return Fit(self._solve(folds, ridge), ridge, price)

    def _held_out(self, folds: Sequence[int], ridge: float) -> Float[np.ndarray, "n k"]:
        found = np.zeros_like(self.outcomes.right)
        for each in folds:
            weights = self._solve([one for one in folds if one != each], ridge)
            found[self.fold == each] = np.clip(self.scaled[self.fold == each] @ weights, 0.0, 1.0)
        return found

    def _solve(self, folds: Sequence[int], ridge: float) -> Float[np.ndarray, "e k"]:
        """Return ``argmin |X w - y|^2 + n ridge |w|^2`` of each expert, the intercept free."""
        size = self.scaled.shape[1]
        weights = np.zeros((size, self.outcomes.right.shape[1]))
        for experts, sums in self._blocks:
            gram = sum((sums[one][0] for one in folds), np.zeros((size, size)))
            target = sum((sums[one][1] for one in folds), np.zeros((size, len(experts))))
            # The last entry is the number of rows: the square of the column of ones.
            penalty = np.full(size, max(ridge * gram[-1, -1], 1e-9))
            penalty[-1] = 1e-9
            weights[:, experts] = np.linalg.solve(gram + np.diag(penalty), target)
        return weights

    def _sums(self, experts: Sequence[int]) -> list[tuple[np.ndarray, np.ndarray]]:
        sums = []
        for each in self.folds:
            own = (self.fold == each) & self.outcomes.concerned[:, experts[0]]
            rows = self.scaled[own]
            sums.append((rows.T @ rows, rows.T @ self.outcomes.right[own][:, experts]))
        return sums
