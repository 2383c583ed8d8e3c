"""What is kept of prompts and images that come again: the least recently used goes first, each is made once."""

from collections.abc import Hashable
from typing import Any

from basereward.data.bounded import BoundedCache
from basereward.encoding.media import EncodedImages

# What a stretch of text and its ids take beside a byte for each character and eight for each id.
_ENTRY_BYTES = 300


class PromptMemory:
    """Stretches of text with their ids, and images with their tensors, that a template has encoded before.

    Args:
        text_bytes: most that stretches of text take.
        image_bytes: most that tensors of images take.
    """

    def __init__(self, text_bytes: int, image_bytes: int) -> None:
        self.texts: BoundedCache[list[int]] = BoundedCache(text_bytes, _text_bytes)
        self.images: BoundedCache[EncodedImages] = BoundedCache(image_bytes, _image_bytes)


def _text_bytes(key: Any, ids: list[int]) -> int:
    _, text = key
    return _ENTRY_BYTES + len(text) + 8 * len(ids)


def _image_bytes(key: Hashable, images: EncodedImages) -> int:
    return sum(tensor.nbytes for tensor in images.tensors.values())
