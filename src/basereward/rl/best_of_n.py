"""Best of n: which of a prompt's responses a reward chooses among n drawn ones, and what that choice is worth."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from basereward.errors import DataError


class PairCounts(NamedTuple):
    """Pairs of a prompt's responses with different gold scores: all, those in the right order, and tied ones."""

    pairs: int
    right: int
    tied: int


def selection_weights(rewards: Sequence[float] | np.ndarray, n: int) -> np.ndarray:
    """Return for each response the probability that it is chosen: the highest reward among ``n`` drawn without putting
    back, each of several equal ones as likely as the others.

    With ``a`` responses above and ``t`` equal ones, itself included, out of ``N``:
    ``(C(N - a, n) - C(N - a - t, n)) / (t C(N, n))``. The mean of any value under these weights is the unbiased
    estimate of best of n: the mean over all subsets of size n.

    Raises:
        DataError: ``n`` is not between 1 and the number of responses, or a reward is no finite number.

    Source: the estimator of WebGPT (Nakano et al., 2021, appendix I), with ties averaged.
    """
    values = np.asarray(rewards, dtype=np.float64)
    if not 1 <= n <= len(values):
        raise DataError(f"Best of {n} needs at least {max(n, 1)} responses, found {len(values)}.")
    if not np.isfinite(values).all():
        raise DataError("Best of n needs finite rewards, found NaN or infinity; leave such responses out.")
    count = len(values)
    _, level, tied = np.unique(-values, return_inverse=True, return_counts=True)
    ends = np.concatenate([[0], np.cumsum(tied)])
    # C(N - k, n) / C(N, n), the probability that none of the k best is drawn, one factor after another: binomials of
    # large numbers have no floats.
    left = np.arange(count, 0, -1)
    missed = np.concatenate([[1.0], np.cumprod(np.maximum(left - n, 0) / left)])
    return (-np.diff(missed[ends]) / tied)[level]


def pair_counts(rewards: Sequence[float], gold: Sequence[float]) -> PairCounts:
    """Return how the rewards order the pairs of responses whose gold scores differ."""
    reward, truth = (np.asarray(side, dtype=np.float64) for side in (rewards, gold))
    upper = np.triu_indices(len(reward), 1)
    products = (np.sign(reward[:, None] - reward) * np.sign(truth[:, None] - truth))[upper]
    differ = ((truth[:, None] - truth)[upper]) != 0
    return PairCounts(int(differ.sum()), int((products > 0).sum()), int((differ & (products == 0)).sum()))


def rank_correlation(rewards: Sequence[float], gold: Sequence[float]) -> float | None:
    """Return Spearman's correlation, equal values at their mean rank; None where one side is constant."""
    first, second = (_ranks(side) - (len(side) + 1) / 2 for side in (rewards, gold))
    scale = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / scale if scale else None


def _ranks(values: Sequence[float]) -> np.ndarray:
    own = np.asarray(values, dtype=np.float64)
    _, places, counts = np.unique(own, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[places]
