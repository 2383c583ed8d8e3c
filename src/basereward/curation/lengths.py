"""Length and preference: pairs balanced by length, and pairs biased towards the longer response on purpose."""

import numpy as np

from basereward.errors import DataError


def length_buckets(chosen: np.ndarray, rejected: np.ndarray) -> np.ndarray:
    """Return the bucket of each pair's length difference, shape (n,).

    It is 0 for equal lengths, else ``1 + floor(log2(difference))``.
    """
    difference = np.abs(np.asarray(chosen, dtype=np.int64) - np.asarray(rejected, dtype=np.int64))
    # frexp gives the exponent of the next power of two exactly, where log2 would round.
    return np.frexp(difference.astype(np.float64))[1]


def balance_lengths(chosen: np.ndarray, rejected: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return which pairs to keep so that each bucket has as many longer chosen as longer rejected responses.

    In a bucket with ``a`` pairs of the one and ``b`` of the other kind, ``min(a, b)`` of each stay, drawn at random;
    pairs of equal length all stay. Then a bucket of length differences tells nothing about the label.

    Args:
        chosen: lengths of the chosen responses in any unit, shape (n,).
        rejected: lengths of the rejected responses, shape (n,).

    Source: paper, appendix D.4.
    """
    kept = np.ones(len(chosen), dtype=bool)
    buckets, is_longer = length_buckets(chosen, rejected), np.asarray(chosen) > np.asarray(rejected)
    generator = np.random.default_rng(seed)
    for bucket in np.unique(buckets[buckets > 0]):
        inside = buckets == bucket
        sides = [np.flatnonzero(inside & is_longer), np.flatnonzero(inside & ~is_longer)]
        size = min(map(len, sides))
        for side in sides:
            kept[generator.permutation(side)[size:]] = False
    return kept


def bias_lengths(chosen: np.ndarray, rejected: np.ndarray, share: float, seed: int = 0) -> np.ndarray:
    """Return which pairs to keep so that the chosen response is the longer one in ``share`` of those of unequal length.

    As many pairs stay as the share allows; pairs of equal length all stay.

    Args:
        chosen: lengths of the chosen responses in any unit, shape (n,).
        rejected: lengths of the rejected responses, shape (n,).

    Raises:
        DataError: a share outside [0, 1].

    Source: paper, appendix D.4, "90% Long Bias".
    """
    if not 0 <= share <= 1:
        raise DataError(f"The share of longer chosen responses lies between 0 and 1, found {share}.")
    chosen, rejected = np.asarray(chosen), np.asarray(rejected)
    sides = [np.flatnonzero(chosen > rejected), np.flatnonzero(chosen < rejected)]
    parts = (share, 1 - share)
    size = min(len(side) / part for side, part in zip(sides, parts, strict=True) if part)
    kept = np.ones(len(chosen), dtype=bool)
    generator = np.random.default_rng(seed)
    for side, part in zip(sides, parts, strict=True):
        kept[generator.permutation(side)[round(size * part) :]] = False
    return kept
