"""Images and videos as tokens: the contract that every family of vision-language backbones fills."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from basereward.data.images import VideoSize
from basereward.data.schema import PartType

IntArray = NDArray[np.int64]


class Clip(NamedTuple):
    """A video as decoded frames of one size, ``fps`` frames a second; None is what the family's processor assumes."""

    frames: tuple[Image.Image, ...]
    fps: float | None


class Expansion(NamedTuple):
    """What stands in the text for one image or video.

    Args:
        kind: ``image`` or ``video``.
        text: replaces the placeholder of the chat template. In it each run of pad tokens is written as one.
        counts: the lengths of these runs, in order.
    """

    kind: PartType
    text: str
    counts: tuple[int, ...]


class EncodedImages(NamedTuple):
    """The images and videos of one group, in the order of their tokens.

    Args:
        tensors: inputs of the backbone, the rows of all items after one another.
        rows: for each item, how many rows it has in each tensor.
        expansions: for each item, its tokens.
        rope: what the backbone's ``get_rope_index`` asks for beside ids and tensors.
    """

    tensors: dict[str, Tensor]
    rows: list[dict[str, int]]
    expansions: list[Expansion]
    rope: Mapping[str, Any] = {}

    @property
    def token_counts(self) -> list[int]:
        """Pad tokens of each item."""
        return [sum(expansion.counts) for expansion in self.expansions]


class Positions(NamedTuple):
    """Rotary positions of a prefix and the position at which every response continues."""

    prefix: Int[np.ndarray, "axis token"]
    following: int


@runtime_checkable
class VisionEncoding(Protocol):
    """What a family must say about its images and videos.

    Attributes:
        placeholders: what the chat template writes for an image and for a video.
        pad_ids: the ids whose embeddings the backbone replaces by features.
        kinds: what passes through the vision tower in a call of its own.
    """

    placeholders: Mapping[PartType, str]
    pad_ids: tuple[int, ...]
    kinds: tuple[PartType, ...]

    @property
    def backend(self) -> str:
        """The image processor's backend: ``pil`` or ``torchvision``; their pixels differ slightly."""
        ...

    @property
    def pixels(self) -> dict[str, int]:
        """The limits ``min`` and ``max`` between which an image is resized, in pixels."""
        ...

    def encode(self, items: Sequence[Image.Image | Clip]) -> EncodedImages:
        """Turn images and videos, in the order of their placeholders, into tensors."""
        ...

    def expand_image(self, width: int, height: int) -> Expansion:
        """Return the tokens of an image of this size, without decoding it."""
        ...

    def expand_video(self, size: VideoSize, fps: float | None) -> Expansion:
        """Return the tokens of a video of this size, without decoding it."""
        ...

    def positions(self, ids: IntArray, images: EncodedImages | None) -> Positions:
        """Return the rotary positions of a prefix."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return what decides pixels and token counts, for cache keys."""
        ...

    def dummy_ids(self, kind: PartType = "image") -> IntArray:
        """Return the ids around one smallest image or video, for rows that would otherwise have none."""
        ...

    def dummy_images(self, kind: PartType = "image") -> EncodedImages:
        """Return the smallest image or video, of zeros."""
        ...


def processor_backend(image_processor: Any) -> str:
    """Return ``pil`` or ``torchvision``, from the name of an image processor's class."""
    return "pil" if type(image_processor).__name__.endswith("Pil") else "torchvision"


def text_positions(ids: IntArray, axes: int) -> Positions:
    """Return 0, 1, 2, ... on every axis."""
    return Positions(np.tile(np.arange(len(ids), dtype=np.int64), (axes, 1)), len(ids))
