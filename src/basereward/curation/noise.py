"""Label noise: pairs whose preference cheap models, fitted on the other pairs, do not expect."""

import numpy as np

from basereward.errors import DataError

RIDGE = 1e-2


def expected_agreement(differences: np.ndarray, prompt: np.ndarray, folds: int = 5, seed: int = 0) -> np.ndarray:
    """Return how likely a linear model that never saw a pair's prompt finds its chosen response the better one.

    With ``x`` the features of chosen minus those of rejected, ridge regression on all other folds solves
    ``w = argmin sum (1 - w x)^2 + n ridge |w|^2``; swapping a pair's responses turns ``x`` and its target around, so
    there is no intercept, and ``w x`` estimates ``2 p - 1``. The result is ``(1 + w x) / 2``, clipped to [0, 1].

    Args:
        differences: features of chosen minus rejected, shape (n, d).
        prompt: hash of each pair's prompt; pairs of one prompt are in one fold.

    Raises:
        DataError: fewer than two folds, or fewer prompts than folds.

    Source: cross-fitting as in confident learning (Northcutt, Jiang and Chuang, 2021, section 3).
    """
    prompts, places = np.unique(prompt, return_inverse=True)
    if not 2 <= folds <= len(prompts):
        raise DataError(f"Cross-fitting takes 2 to {len(prompts)} folds for {len(prompts)} prompts, found {folds}.")
    scale = np.sqrt(np.mean(np.square(differences), axis=0, dtype=np.float64))
    scaled = differences / np.where(scale > 0, scale, 1)
    fold = (np.random.default_rng(seed).permutation(len(prompts)) % folds)[places.reshape(-1)]
    grams = [scaled[fold == each].T @ scaled[fold == each] for each in range(folds)]
    sums = [scaled[fold == each].sum(axis=0) for each in range(folds)]
    agreement = np.empty(len(scaled))
    for each in range(folds):
        own = fold == each
        gram = sum(grams) - grams[each] + RIDGE * (~own).sum() * np.eye(scaled.shape[1])
        agreement[own] = (1 + scaled[own] @ np.linalg.solve(gram, sum(sums) - sums[each])) / 2
    return np.clip(agreement, 0, 1)
