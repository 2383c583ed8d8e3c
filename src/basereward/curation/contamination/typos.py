"""Texts of few words that are equal but for one misspelt word."""

from typing import NamedTuple

import numpy as np

from basereward.curation.fingerprints.lookup import spans
from basereward.curation.fingerprints.text import Words, mix, normalise

# Words of texts that are compared so; longer ones keep most of their word triples, of shorter ones too little is left.
LEAST_WORDS, MOST_WORDS = 4, 15
# One letter more or less makes another word of a short one.
_LEAST_LETTERS = 4


class Gaps(NamedTuple):
    """Hashes of texts without one of their words: the place of the text, and that of the word in it."""

    hashes: np.ndarray
    texts: np.ndarray
    words: np.ndarray


def gaps(words: Words) -> Gaps:
    """Return the hashes of each text of ``LEAST_WORDS`` to ``MOST_WORDS`` words without each one of them in turn."""
    sizes = np.diff(words.starts)
    chosen = np.flatnonzero((sizes >= LEAST_WORDS) & (sizes <= MOST_WORDS))
    found = spans(words.starts[chosen], sizes[chosen])
    place = found.places - words.starts[chosen][found.owners]
    # A sum, so that the hash without a word is that of the whole minus the word's own term.
    terms = mix(words.hashes[found.places] + mix(place.astype(np.uint64) + np.uint64(1)))
    wholes = np.add.reduceat(terms, np.flatnonzero(place == 0)) if len(terms) else terms
    lengths = sizes[chosen].astype(np.uint64)
    about = mix(place.astype(np.uint64) << np.uint64(32) | lengths[found.owners])
    return Gaps(mix(wholes[found.owners] - terms + about), chosen[found.owners], place)


def is_misspelt(left: str, right: str, place: int) -> bool:
    """Return whether the words of two texts at a place are one word, in one of them misspelt."""
    return is_typo(normalise(left).split()[place], normalise(right).split()[place])


def is_typo(left: str, right: str) -> bool:
    """Return whether two words differ in one letter that is missing, other or added, or in two that are exchanged.

    First letters are equal, as they are in nearly all typing errors, and there is no digit.
    """
    short, long = sorted((left, right), key=len)
    if len(short) < _LEAST_LETTERS or len(long) > len(short) + 1 or short[0] != long[0] or short == long:
        return False
    if any(letter.isdigit() for letter in short + long):
        return False
    at = next((place for place, pair in enumerate(zip(short, long, strict=False)) if pair[0] != pair[1]), len(short))
    if len(short) < len(long):
        return short[at:] == long[at + 1 :]
    is_exchange = short[at : at + 2] == long[at : at + 2][::-1] and short[at + 2 :] == long[at + 2 :]
    return is_exchange or short[at + 1 :] == long[at + 1 :]
