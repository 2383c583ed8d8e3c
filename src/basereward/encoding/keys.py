"""What tells tokens apart that may be shared: their ids, and where an image stands the image itself."""

import hashlib
from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Int, Integer

from basereward.data.digests import image_key
from basereward.data.schema import ResponseGroup
from basereward.encoding.media import EncodedImages, Expansion

# Ids are smaller, and keys of images are negative.
FIRST_SALT = 1 << 40


def content_key(content: Hashable | bytes) -> int:
    """Return 62 bits of the SHA-256 of bytes, or of what a value is written as: two of a million agree once in 10^7."""
    data = content if isinstance(content, bytes) else repr(content).encode()
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "big") >> 2


def media_keys(group: ResponseGroup, kinds: Sequence[str]) -> tuple[int, ...]:
    """Return what tells the images and videos of a group from others, in the order of their ``kinds``."""
    # The frames of two videos may be equal and their rates not, which moves what stands behind them.
    left = {
        "image": iter([image_key(image) for image in group.images]),
        "video": iter([(video.fps, *map(image_key, video.frames)) for video in group.videos]),
    }
    return tuple(content_key((kind, next(left[kind]))) for kind in kinds)


def key_tokens(
    ids: Int[np.ndarray, " token"], pad_ids: Sequence[int], expansions: Sequence[Expansion], keys: Sequence[int]
) -> Int[np.ndarray, " token"]:
    """Return the ids of a conversation; where features of an image or video stand, minus its key and one.

    Args:
        ids: with all pad tokens of ``expansions``, in their order.
        keys: of each image and video.
    """
    if not expansions:
        return ids
    keyed = ids.copy()
    counts = [sum(expansion.counts) for expansion in expansions]
    keyed[np.isin(ids, pad_ids)] = np.repeat(-1 - np.array(keys, dtype=np.int64), counts)
    return keyed


def media_spans(keys: Int[np.ndarray, " token"], images: EncodedImages) -> list[tuple[int, int]]:
    """Return the places of each image and video of a keyed prompt: of its first pad token, and behind its last."""
    places = np.flatnonzero(keys < 0)
    counts = [sum(expansion.counts) for expansion in images.expansions]
    stops = np.cumsum(counts)
    return [(int(places[stop - count]), int(places[stop - 1]) + 1) for stop, count in zip(stops, counts, strict=True)]


def shrink_keys(keys: Integer[np.ndarray, " key"]) -> Int[np.ndarray, " key"]:
    """Return keys as what is small where it is kept: 0 for a new one, else how many are newer than its last one.

    Which of them are equal is all that is left; a hash takes 8 bytes, and a column of zeros next to nothing.
    """
    _, firsts, codes = np.unique(keys, return_index=True, return_inverse=True)
    # In order of first appearance, so that the next new one is always the number of those before it.
    ranks = np.empty(len(firsts), dtype=np.int64)
    ranks[np.argsort(firsts)] = np.arange(len(firsts))
    is_new = np.zeros(len(keys), dtype=bool)
    is_new[firsts] = True
    return np.where(is_new, 0, np.cumsum(is_new) - ranks[codes]).astype(np.int32)


def grow_keys(steps: Int[np.ndarray, " key"]) -> Int[np.ndarray, " key"]:
    """Return keys from 1 on that are equal where those of ``shrink_keys`` were; 0 stays free for what has none."""
    seen = np.cumsum(steps == 0, dtype=np.int32)
    return np.where(steps == 0, seen, seen - steps + 1)
