"""Texts as hashes: normalised words, their 64-bit hashes, and MinHash signatures of word triples.

Everything is vectorised over a batch of texts and depends on nothing but the characters: not on the process, the
platform or the other texts of the batch.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

PERMUTATIONS = 128
SHINGLE_WORDS = 3
_BATCH_BYTES = 1 << 20
_SPACE = 32
# Odd, so that it has an inverse modulo 2^64; the second is the constant of splitmix64.
_BASE = 0x100000001B3
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
# Signs that decide what a formula says; the others are also marks of Markdown or of speech.
_ASCII_SIGNS = b"+<=>"
_SIGNS = "+<=>\u00b1\u00d7\u00f7\u2200-\u22ff"
_ASCII_WORDS = bytes(
    byte if chr(byte).isalnum() or byte in _ASCII_SIGNS else _SPACE for byte in bytes(range(128)).lower()
).ljust(256)
# Signs, and scripts without spaces between words: each character is a word.
_ALONE = re.compile(f"[{_SIGNS}\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
# Vowel signs and other marks, which belong to the letter before them: without them two words of Hindi are one.
_MARKS = "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u0900-\u0963\u0966-\u0dff"
_NO_WORD = re.compile(rf"(?:[^\w{_SIGNS}{_MARKS}]|_)+")
# What Unicode lists as default ignorable: zero-width spaces and joiners, marks of direction, soft hyphens, fillers.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)


class Words(NamedTuple):
    """The hashes of all words of a batch of texts, and where each text starts; ``starts`` has one entry more."""

    hashes: np.ndarray
    starts: np.ndarray


def normalise(text: str) -> str:
    """Return the words of a text, joined by spaces: NFKC, case folded, without punctuation and invisible characters.

    Signs of formulas (``+ < = >`` and mathematical operators) are words, and so is every character of a script that
    puts no space between words.
    """
    return _normal_bytes(text).decode("utf-8", "surrogatepass").strip()


def text_hashes(texts: Sequence[str]) -> np.ndarray:
    """Return a 64-bit hash of each normalised text, shape (texts,); without words its characters count as they are."""
    found = [np.empty(0, np.uint64)]
    for batch in _batches(texts):
        words = hash_words(batch)
        folded = fold(words.hashes, words.starts[:-1], words.starts[1:])
        for place in np.flatnonzero(np.diff(words.starts) == 0).tolist():
            folded[place] = _hash_characters(batch[place])
        found.append(folded)
    return np.concatenate(found)


def signatures(texts: Sequence[str]) -> np.ndarray:
    """Return the MinHash signature of each text's word triples, uint16 of shape (texts, ``PERMUTATIONS``).

    Two signatures agree in a place with the probability of their texts' Jaccard similarity, and by chance once in
    2^16. A text with fewer words than a triple is one shingle; one without words is near no other text.

    Source: Broder, 1997.
    """
    found = [_minima(shingles(hash_words(batch))) for batch in _batches(texts)]
    return np.concatenate([np.empty((0, PERMUTATIONS), np.uint16), *found])


def shingles(words: Words) -> Words:
    """Return the hashes of every ``SHINGLE_WORDS`` words in a row, text by text."""
    counts = np.diff(words.starts)
    sizes = np.where(counts > 0, np.maximum(counts - SHINGLE_WORDS + 1, 1), 0)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    # The place of each shingle's first word.
    first = np.arange(starts[-1]) + np.repeat(words.starts[:-1] - starts[:-1], sizes)
    last = np.repeat(words.starts[1:], sizes)
    total = np.zeros(starts[-1], dtype=np.uint64)
    places = np.arange(1, SHINGLE_WORDS + 1, dtype=np.uint64) * _GOLDEN
    padded = np.concatenate([words.hashes, np.zeros(SHINGLE_WORDS, np.uint64)])
    for offset in range(SHINGLE_WORDS):
        word = np.where(first + offset < last, padded[first + offset], np.uint64(0))
        total = mix(total + word + places[offset])
    return Words(total, starts)


def shingle_sets(texts: Sequence[str]) -> list[np.ndarray]:
    """Return the distinct shingle hashes of each text, sorted, each of shape (shingles,)."""
    found = []
    for batch in _batches(texts):
        hashes, starts = shingles(hash_words(batch))
        found += [np.unique(hashes[start:stop]) for start, stop in pairwise(starts)]
    return found


def count_shared(left: np.ndarray, right: np.ndarray) -> int:
    """Return how many shingles two sorted sets of shapes (n,) and (m,) share."""
    # Each set holds a value once, so what is equal to its neighbour in both together is in each.
    both = np.sort(np.concatenate([left, right]))
    return int(np.count_nonzero(both[1:] == both[:-1]))


def count_words(texts: Sequence[str]) -> np.ndarray:
    """Return the number of words of each text, shape (texts,)."""
    found = [np.diff(hash_words(batch).starts) for batch in _batches(texts)]
    return np.concatenate([np.empty(0, np.int64), *found])


def hash_words(texts: Sequence[str]) -> Words:
    """Return a 64-bit hash of every word of some texts."""
    found = [_hash_batch(batch) for batch in _batches(texts)]
    starts, before = [np.zeros(1, np.int64)], 0
    for part in found:
        starts.append(part.starts[1:] + before)
        before += len(part.hashes)
    return Words(np.concatenate([np.empty(0, np.uint64), *(part.hashes for part in found)]), np.concatenate(starts))


def _hash_batch(texts: Sequence[str]) -> Words:
    # A space ends every text, so that no word goes over two texts.
    encoded = [_normal_bytes(text) + b" " for text in texts]
    buffer = np.frombuffer(b"".join(encoded), dtype=np.uint8)
    if not len(buffer):
        return Words(np.empty(0, np.uint64), np.zeros(len(texts) + 1, np.int64))
    is_word = buffer != _SPACE
    edges = np.flatnonzero(np.diff(is_word, prepend=False, append=False))
    begins, ends = edges[::2], edges[1::2]
    hashes = fold(buffer.astype(np.uint64), begins, ends)
    text_ends = np.cumsum([len(text) for text in encoded])
    return Words(hashes, np.concatenate([[0], np.searchsorted(begins, text_ends)]))


def mix(values: np.ndarray) -> np.ndarray:
    """Return 64-bit values of any shape scattered over all bits: the finaliser of splitmix64."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def fold(values: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return a 64-bit hash of every segment ``values[begin:end]``; segments may overlap.

    ``mix(sum of values[i] * base^i + length)``, by differences of one running sum.
    """
    powers, inverses = _powers(max(len(values), 1).bit_length())
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(values * powers[: len(values)], dtype=np.uint64)])
    return mix((sums[ends] - sums[begins]) * inverses[begins] + (ends - begins).astype(np.uint64) * _GOLDEN)


@lru_cache(maxsize=8)
def _powers(bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first ``2^bits`` powers of the base and of its inverse, modulo 2^64."""
    bases = np.array([[_BASE], [pow(_BASE, -1, 1 << 64)]], dtype=np.uint64)
    factors = np.broadcast_to(bases, (2, (1 << bits) + 1)).copy()
    factors[:, 0] = 1
    powers, inverses = np.cumprod(factors, axis=1, dtype=np.uint64)
    return powers, inverses


@lru_cache(maxsize=1)
def _factors() -> np.ndarray:
    """Return the odd number of each permutation; not from numpy's generators, whose numbers may change."""
    return (mix(np.arange(1, PERMUTATIONS + 1, dtype=np.uint64)) >> np.uint64(32)).astype(np.uint32) | np.uint32(1)


def _minima(found: Words) -> np.ndarray:
    minima = np.zeros((PERMUTATIONS, len(found.starts) - 1), dtype=np.uint16)
    has_words = np.flatnonzero(np.diff(found.starts))
    if len(has_words):
        # The high half of a mixed hash; multiplied by an odd number it is permuted.
        values = (found.hashes >> np.uint64(32)).astype(np.uint32)
        starts, permuted = found.starts[has_words], np.empty_like(values)
        for number, factor in enumerate(_factors()):
            np.multiply(values, factor, out=permuted)
            # The low half: in the high one minima have almost no bits left.
            minima[number, has_words] = np.minimum.reduceat(permuted, starts).astype(np.uint16)
    return minima.T


def _batches(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut texts into runs of about ``_BATCH_BYTES``, which stay in the processor's cache."""
    start = size = 0
    for place, text in enumerate(texts):
        size += len(text)
        if size >= _BATCH_BYTES:
            yield texts[start : place + 1]
            start, size = place + 1, 0
    if start < len(texts):
        yield texts[start:]


def _hash_characters(text: str) -> int:
    data = text.strip().encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def _normal_bytes(text: str) -> bytes:
    if text.isascii():
        words = text.encode("ascii").translate(_ASCII_WORDS)
        for sign in _ASCII_SIGNS:
            if sign in words:
                words = words.replace(bytes([sign]), bytes([_SPACE, sign, _SPACE]))
        return words
    # Before anything else: NFKC turns some of them into what counts as a letter.
    seen = _INVISIBLE.sub("", text)
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", seen).casefold())
    return _NO_WORD.sub(" ", _ALONE.sub(_space, folded)).encode("utf-8", "surrogatepass")


def _space(run: re.Match[str]) -> str:
    return f" {' '.join(run[0])} "
