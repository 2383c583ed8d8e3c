"""Images and videos as tokens: the contract that every family of vision-language backbones fills."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int
from PIL import Image

from basereward.data.images import VideoSize
from basereward.data.schema import PartType
from basereward.encoding.media import Clip, EncodedImages, Expansion, Positions


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

    def positions(self, ids: Int[np.ndarray, " token"], images: EncodedImages | None) -> Positions:
        """Return the rotary positions of a prefix."""
        ...

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return what decides pixels and token counts, as ``image_processor`` and ``video_processor``."""
        ...

    def dummy_ids(self, kind: PartType = "image") -> Int[np.ndarray, " token"]:
        """Return the ids around one smallest image or video, for rows that would otherwise have none."""
        ...

    def dummy_images(self, kind: PartType = "image") -> EncodedImages:
        """Return the smallest image or video, of zeros."""
        ...


def processor_backend(image_processor: Any) -> str:
    """Return ``pil`` or ``torchvision``, from the name of an image processor's class."""
    return "pil" if type(image_processor).__name__.endswith("Pil") else "torchvision"
