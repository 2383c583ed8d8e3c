"""Filters by rating and by number: score gap, score ratio, and pairs per prompt."""

import numpy as np

from basereward.errors import DataError


def small_gaps(scores: np.ndarray, minimum: float) -> np.ndarray:
    """Return which pairs are rated and have ``chosen score - rejected score < minimum``.

    Args:
        scores: ratings of chosen and rejected, shape (n, 2); NaN where the source gives none.
    """
    return scores[:, 0] - scores[:, 1] < minimum


def small_ratios(scores: np.ndarray, minimum: float) -> np.ndarray:
    """Return which pairs are rated and have ``chosen score / rejected score < minimum``.

    Ratios mean something for positive ratings alone (upvotes of SHP): a rated pair with another one is small.

    Args:
        scores: ratings of chosen and rejected, shape (n, 2); NaN where the source gives none.

    Source: card of stanfordnlp/SHP, which advises a ratio of at least 2.
    """
    is_rated = ~np.isnan(scores).any(axis=1)
    is_positive = (scores > 0).all(axis=1)
    ratio = np.divide(scores[:, 0], scores[:, 1], out=np.zeros(len(scores)), where=is_positive)
    return is_rated & (ratio < minimum)


def beyond_cap(prompt: np.ndarray, cap: int, seed: int = 0) -> np.ndarray:
    """Return which pairs are too many for their prompt: of each prompt, ``cap`` pairs drawn at random are not.

    Args:
        prompt: hash of each pair's prompt, shape (n,).

    Raises:
        DataError: a cap below 1.

    Source: card of stanfordnlp/SHP, which advises about 5 pairs a post.
    """
    if cap < 1:
        raise DataError(f"A prompt keeps at least one pair, found the cap {cap}.")
    drawn = np.random.default_rng(seed).permutation(len(prompt))
    # Sorted by prompt, and within a prompt in the order drawn: the place within the prompt is the rank.
    order = drawn[np.argsort(prompt[drawn], kind="stable")]
    ordered = prompt[order]
    is_first = np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(order)]
    starts = np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0))
    beyond = np.empty(len(prompt), dtype=bool)
    beyond[order] = np.arange(len(order)) - starts >= cap
    return beyond
