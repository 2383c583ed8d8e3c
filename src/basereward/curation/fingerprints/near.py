"""Pairs of texts that are probably near: signatures that agree in a whole band (locality-sensitive hashing).

Of the texts that agree in a band each is compared with the first of them and with its predecessor, so that work stays
linear where thousands of texts share a phrase. Texts with images are sorted by what these show, from another bit in
every band, so that of thousands of equal texts those with like images stand side by side.
"""

from typing import NamedTuple

import numpy as np

from basereward.curation.fingerprints.text import PERMUTATIONS, mix

# Two texts of Jaccard similarity j meet in a band with probability 1 - (1 - j^4)^32: 0.97 at 0.57, 0.003 at 0.1.
BAND_ROWS = 4
BANDS = PERMUTATIONS // BAND_ROWS
# How far an estimate from 128 places may lie below the similarity: four standard deviations at 0.5.
SLACK = 4 * (0.25 / PERMUTATIONS) ** 0.5
# Bits in which the hashes of the images beside two texts may differ; more than for images alone, whose hashes decide.
PICTURE_BITS = 10
_BLOCK = 1 << 18


class Candidates(NamedTuple):
    """Places of texts that are probably near each other, one pair a place, sorted and each once."""

    first: np.ndarray
    second: np.ndarray


def candidates_within(
    signatures: np.ndarray, threshold: float, pictures: np.ndarray | None = None, groups: np.ndarray | None = None
) -> Candidates:
    """Return pairs ``first < second`` within one set whose similarity may reach ``threshold``.

    Args:
        signatures: of ``text.signatures``, shape (n, permutations); may be mapped from disk.
        threshold: Jaccard similarity in [0, 1].
        pictures: perceptual hash of each text's image; then only texts with like images are candidates.
        groups: a 64-bit number of each text; then only texts of one number are candidates.
    """
    apart = np.uint64(0) if groups is None else mix(groups)
    shown = np.zeros(len(signatures), np.uint64) if pictures is None else pictures
    found = []
    for band in range(BANDS):
        keys = _band_keys(signatures, band) ^ apart
        # Within a band by picture, from another bit each time: two hashes that differ in few bits stand far apart where
        # an early bit differs, and side by side in some of the other 31 orders.
        order = np.lexsort((_rotate(shown, 64 * band // BANDS), keys))
        is_same = keys[order[1:]] == keys[order[:-1]]
        places = np.flatnonzero(is_same)
        # For each place the first one with its key: the running maximum of the places at which a key begins.
        starts = np.maximum.accumulate(np.where(np.concatenate([[True], ~is_same]), np.arange(len(order)), 0))
        second = order[places + 1]
        for first in (order[starts[places + 1]], order[places]):
            is_like = np.bitwise_count(shown[first] ^ shown[second]) <= PICTURE_BITS
            found.append(_codes(np.minimum(first, second)[is_like], np.maximum(first, second)[is_like]))
    return _likely(_decode(found), signatures, threshold)


def _rotate(values: np.ndarray, bits: int) -> np.ndarray:
    return (values << np.uint64(bits)) | (values >> np.uint64(64 - bits))


def _band_keys(signatures: np.ndarray, band: int) -> np.ndarray:
    # Four places of 16 bits are one number.
    return np.ascontiguousarray(signatures[:, band * BAND_ROWS : (band + 1) * BAND_ROWS]).view(np.uint64)[:, 0]


def _codes(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    # Two places of less than 2^32 in one number: sorting and making unique is faster than on rows.
    return np.unique((first.astype(np.uint64) << np.uint64(32)) | second.astype(np.uint64))


def _decode(codes: list[np.ndarray]) -> Candidates:
    pairs = np.unique(np.concatenate([np.empty(0, np.uint64), *codes]))
    return Candidates((pairs >> np.uint64(32)).astype(np.int64), (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64))


def _likely(pairs: Candidates, signatures: np.ndarray, threshold: float) -> Candidates:
    # In blocks: the signatures of all candidates together may be larger than those of the set.
    is_likely = np.empty(len(pairs.first), dtype=bool)
    for start in range(0, len(is_likely), _BLOCK):
        block = slice(start, start + _BLOCK)
        is_same = signatures[pairs.first[block]] == signatures[pairs.second[block]]
        # The share of places in which signatures agree estimates the Jaccard similarity.
        is_likely[block] = np.count_nonzero(is_same, axis=1) / signatures.shape[1] >= threshold - SLACK
    return Candidates(pairs.first[is_likely], pairs.second[is_likely])
