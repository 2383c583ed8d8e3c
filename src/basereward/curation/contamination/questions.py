"""The distinct questions of benchmarks, ready to be looked for in prompts."""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from basereward.curation.contamination.typos import Gaps, gaps
from basereward.curation.fingerprints.lookup import Lookup, distinct_pairs
from basereward.curation.fingerprints.text import Words, hash_words, shingles, text_hashes

# Jaccard similarity of word triples from which two texts are near, and the share of a question's word triples from
# which a text holds it; questions of fewer words are near by their form ("What is the capital of ...?").
NEAR_SIMILARITY, HELD_SHARE, LONG_WORDS = 0.6, 0.9, 8
# A shingle of more questions than this makes none of them a candidate: what all of a template share tells nothing.
MOST_SHARED = 64


class Rare(NamedTuple):
    """The rarest shingles of each question, and the place of the question of each."""

    lookup: Lookup
    questions: np.ndarray


class Questions:
    """Distinct questions; ``place`` is that of each text that they were made from.

    Args:
        texts: one question each; those of equal words are one.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.hashes, first, place = np.unique(text_hashes(texts), return_index=True, return_inverse=True)
        self.place = place.reshape(-1)
        self.texts = [texts[number] for number in first.tolist()]
        self.words = hash_words(self.texts)
        self.sizes = np.diff(self.words.starts)

    @cached_property
    def whole(self) -> Lookup:
        """The questions by their hash."""
        return Lookup(self.hashes)

    @cached_property
    def gaps(self) -> tuple[Lookup, Gaps]:
        """The questions of few words by their hash without one of them."""
        found = gaps(self.words)
        return Lookup(found.hashes), found

    @cached_property
    def shingles(self) -> Words:
        """The distinct shingles of each question; none of one of few words."""
        hashes, starts = shingles(self.words)
        owners = np.repeat(np.arange(len(self.texts)), np.diff(starts))
        is_used = self.sizes[owners] >= LONG_WORDS
        owners, hashes = distinct_pairs(owners[is_used], hashes[is_used])
        return Words(hashes, np.searchsorted(owners, np.arange(len(self.texts) + 1)))

    @cached_property
    def rare(self) -> Rare:
        """The shingles by which the candidates of a question are found.

        A text that shares a part ``NEAR_SIMILARITY`` of a question's shingles has at least one of any other part and
        one more; the fewest texts have one of the rarest.

        Source: Chaudhuri, Ganti and Kaushik, A Primitive Operator for Similarity Joins in Data Cleaning, 2006.
        """
        hashes, starts = self.shingles
        sizes = np.diff(starts)
        owners = np.repeat(np.arange(len(sizes)), sizes)
        _, inverse, times = np.unique(hashes, return_inverse=True, return_counts=True)
        shared = times[inverse.reshape(-1)]
        order = np.lexsort((shared, owners))
        rank = np.arange(len(order)) - starts[owners]
        needed = sizes - np.ceil(NEAR_SIMILARITY * sizes) + 1
        chosen = order[(rank < needed[owners]) & (shared[order] <= MOST_SHARED)]
        return Rare(Lookup(hashes[chosen]), owners[chosen])
