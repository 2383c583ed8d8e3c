"""Images as hashes: one of the pixels, and one of what the image shows that survives re-encoding and resizing."""

import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from PIL import Image

from basereward.curation.fingerprints.looks import ROW_LOOKS, Look

# Bits in which the hashes of one image in two encodings or sizes may differ.
MAX_DISTANCE = 6
# An image flatter than this (standard deviation of its grey values, of 255) looks like every other flat image.
MIN_CONTRAST = 5.0
NO_HASH = 0
_SIZE, _KEPT, _MARGIN = 32, 8, 0.1
_BLOCK = 1 << 22


class ImageHashes(NamedTuple):
    """The hash of an image's pixels, and the perceptual ones of its looks; a look that changes nothing has none."""

    exact: int
    looks: tuple[int, ...]


def hash_image(image: Image.Image, looks: Sequence[Look] = ROW_LOOKS) -> ImageHashes:
    """Return the hashes of a decoded image, and of its looks."""
    grey = image.convert("L")
    found: list[int] = []
    for look in looks:
        seen = look.of(grey)
        found.append(NO_HASH if found and seen is grey else perceptual_hash(seen))
    return ImageHashes(exact_hash(image), tuple(found))


def pictures_type(looks: Sequence[Look]) -> np.dtype:
    """Return the type of a table of images.

    ``owner`` is the row or item of an image, ``place`` its place among the images there, ``exact`` the hash of its
    pixels, and ``looks`` the perceptual ones.
    """
    return np.dtype([("owner", np.int64), ("place", np.int32), ("exact", np.uint64), ("looks", np.uint64, len(looks))])


def exact_hash(image: Image.Image) -> int:
    """Return a 64-bit hash of size and pixels: lossless copies of a picture are equal."""
    digest = hashlib.blake2b(f"{image.mode} {image.size}:".encode(), digest_size=8)
    digest.update(image.tobytes())
    return int.from_bytes(digest.digest(), "little")


def perceptual_hash(image: Image.Image) -> int:
    """Return the 64-bit pHash of an image, ``NO_HASH`` for one that is too flat to be told from others.

    Grey, 32 x 32, cosine transform; a bit says whether one of the 8 x 8 lowest frequencies but the constant lies above
    their median, by a tenth of their mean size: in symmetric drawings many are zero but for rounding, which the bare
    median of the source would turn into bits that another size changes.

    Source: Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010, section 3.2.1.
    """
    grey = np.asarray(image.convert("L").resize((_SIZE, _SIZE), Image.Resampling.BOX), dtype=np.float64)
    if grey.std() < MIN_CONTRAST:
        return NO_HASH
    low = (_cosines() @ grey @ _cosines().T).reshape(-1)
    bits = low > np.median(low[1:]) + _MARGIN * np.abs(low[1:]).mean()
    bits[0] = True
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


class NearImages(NamedTuple):
    """Places of queries, and of the index's images that look like them."""

    queries: np.ndarray
    entries: np.ndarray


def near_hashes(queries: np.ndarray, index: np.ndarray, max_distance: int = MAX_DISTANCE) -> NearImages:
    """Return the places of queries and of index entries whose hashes differ in at most ``max_distance`` bits.

    Cut into more than half as many pieces as bits may differ, such hashes differ in at most one bit of some piece, so
    only entries that share a piece, or all but one bit of it, are compared. ``NO_HASH`` is near nothing.

    Args:
        queries: 64-bit hashes, shape (n,).
        index: 64-bit hashes, shape (m,).

    Source: Norouzi, Punjani and Fleet, Fast Search in Hamming Space with Multi-Index Hashing, 2012.
    """
    # Two places in one number, as a pair may agree in several pieces.
    codes = [
        (found.queries.astype(np.uint64) << np.uint64(32)) | found.entries.astype(np.uint64)
        for found in near_blocks(queries, index, max_distance)
    ]
    pairs = np.unique(np.concatenate([np.empty(0, np.uint64), *codes]))
    low_half = np.uint64((1 << 32) - 1)
    return NearImages((pairs >> np.uint64(32)).astype(np.int64), (pairs & low_half).astype(np.int64))


def near_blocks(queries: np.ndarray, index: np.ndarray, max_distance: int = MAX_DISTANCE) -> Iterator[NearImages]:
    """Yield what ``near_hashes`` returns in blocks of bounded size, some pairs several times."""
    places = np.flatnonzero(queries != NO_HASH), np.flatnonzero(index != NO_HASH)
    asked, stored = queries[places[0]], index[places[1]]
    pieces = max_distance // 2 + 1
    for low, high in pairwise(64 * piece // pieces for piece in range(pieces + 1)):
        piece = np.uint64((1 << high) - (1 << low))
        for flip in (0, *(1 << bit for bit in range(low, high))):
            for query, entry in _equal_pairs((asked & piece) ^ np.uint64(flip), stored & piece):
                is_near = np.bitwise_count(asked[query] ^ stored[entry]) <= max_distance
                yield NearImages(places[0][query[is_near]], places[1][entry[is_near]])


def _equal_pairs(left: np.ndarray, right: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the places of all equal values, about ``_BLOCK`` pairs at once."""
    order = np.argsort(right, kind="stable")
    ordered = right[order]
    first, last = (np.searchsorted(ordered, left, side) for side in ("left", "right"))
    ends = np.cumsum(last - first)
    total = int(ends[-1]) if len(ends) else 0
    cuts = np.searchsorted(ends, range(_BLOCK, total, _BLOCK))
    for query in np.split(np.arange(len(left)), cuts):
        counts = (last - first)[query]
        place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        yield np.repeat(query, counts), order[np.repeat(first[query], counts) + place]


@lru_cache(maxsize=1)
def _cosines() -> np.ndarray:
    """Return the 8 lowest rows of the cosine transform of 32 values."""
    frequency, place = np.arange(_KEPT)[:, None], np.arange(_SIZE)[None, :]
    return np.cos(np.pi * frequency * (2 * place + 1) / (2 * _SIZE))
