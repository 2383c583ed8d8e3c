"""Which pairs a model was trained on: a fingerprint of each, the same wherever the pair is stored.

It is made of the words of prompt and responses, whichever of them is chosen, and of the sizes and both ends of the
image files: no image is decoded, and of a large one little is read.
"""

from collections.abc import Iterable
from itertools import product

import numpy as np

from basereward.benchmarks.items import BenchmarkItem
from basereward.curation.fingerprints.text import mix, text_hashes
from basereward.data.cache import making, user_cache
from basereward.data.columns import column, list_counts, read_spoken
from basereward.data.digests import ends_hash
from basereward.data.pairs import PairDataset
from basereward.data.parts import Stored, load_arrays, save_arrays
from basereward.data.rows import row_images
from basereward.data.schema import REQUIRED_KEYS, messages_text

# Grows whenever the same texts give other hashes.
_TEXTS_VERSION = 1


def pair_fingerprints(pairs: PairDataset) -> np.ndarray:
    """Return the fingerprint of each pair, uint64 of shape (n,).

    What is made of texts is kept by the content of the pairs, so that it is read once.
    """
    return mix(_text_fingerprints(pairs) + mix(image_hashes(pairs)))


def image_hashes(pairs: PairDataset) -> np.ndarray:
    """Return a hash of the image files that each pair shows, uint64 of shape (n,); 0 for one without."""
    if pairs.shown is not None:
        return pairs.shown
    found = [0] * len(pairs)
    for place in np.flatnonzero(_has_media(pairs)).tolist():
        found[place] = ends_hash(row_images(pairs.row(place)))
    return np.array(found, dtype=np.uint64)


def _text_fingerprints(pairs: PairDataset) -> np.ndarray:
    if pairs.fingerprint is None:
        return _read_texts(pairs)
    path = user_cache() / "seen" / f"{pairs.fingerprint}-{_TEXTS_VERSION}.npz"
    with making(path):
        if (stored := load_arrays(path)) is None:
            stored = Stored({"texts": _read_texts(pairs)}, {})
            save_arrays(path, stored)
    return stored.arrays["texts"]


def _read_texts(pairs: PairDataset) -> np.ndarray:
    found = [np.empty(0, np.uint64)]
    for table in pairs.tables(REQUIRED_KEYS):
        texts = [read_spoken(column(table, side)).texts.to_pylist() for side in REQUIRED_KEYS]
        found.append(_combine(*map(text_hashes, texts)))
    return np.concatenate(found)


def item_fingerprints(item: BenchmarkItem) -> dict[int, np.ndarray]:
    """Return the fingerprints of the pairs of each row of an item: of every right response with every wrong one."""
    prompt, *answers = text_hashes([*map(messages_text, (item.prompt, *(one.messages for one in item.responses)))])
    images = mix(np.array([ends_hash(item.images)], np.uint64))
    found = {}
    for row in item.rows:
        pairs = np.array([(answers[right], answers[wrong]) for right, wrong in product(row.correct, row.rejected)])
        found[row.row] = mix(_combine(np.full(len(pairs), prompt), *pairs.T) + images)
    return found


def pack(fingerprints: np.ndarray) -> bytes:
    """Return distinct fingerprints as a data record keeps them."""
    return np.unique(fingerprints).astype("<u8").tobytes()


def seen_rows(items: Iterable[BenchmarkItem], packed: bytes) -> list[int]:
    """Return the rows of items of which a pair is among packed fingerprints."""
    found = [(row, _is_among(own, packed)) for item in items for row, own in item_fingerprints(item).items()]
    return [row for row, is_seen in found if is_seen.any()]


def count_seen(fingerprints: np.ndarray, packed: bytes) -> int:
    """Return how many fingerprints are among packed ones."""
    return int(_is_among(fingerprints, packed).sum())


def _is_among(values: np.ndarray, packed: bytes) -> np.ndarray:
    known = np.frombuffer(packed, "<u8")
    if not len(known):
        return np.zeros(len(values), dtype=bool)
    return known[np.minimum(np.searchsorted(known, values), len(known) - 1)] == values


def _combine(prompt: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    # Not which one is chosen: a model that saw the pair the other way round saw it too.
    return mix(prompt + mix(np.minimum(first, second) + mix(np.maximum(first, second))))


def _has_media(pairs: PairDataset) -> np.ndarray:
    found = [np.empty(0, bool)]
    for table in pairs.tables(["images", "videos"]):
        found.append(list_counts(column(table, "images")) + list_counts(column(table, "videos")) > 0)
    return np.concatenate(found)
