"""Images as tokens: pixel tensors, placeholder counts and positions, without a line of model weights."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

IntArray = NDArray[np.int64]


class EncodedImages(NamedTuple):
    """The images of one group: model inputs, and how many tokens each takes."""

    pixel_values: Float[Tensor, "patch pixel"]
    image_grid_thw: Int[Tensor, "image 3"]
    token_counts: list[int]


class Positions(NamedTuple):
    """Rotary positions of a prefix and the position at which every response continues."""

    prefix: Int[np.ndarray, "axis token"]
    following: int


@runtime_checkable
class VisionEncoding(Protocol):
    """What a family must say about its images."""

    image_token_id: int

    @property
    def backend(self) -> str:
        """The image processor's backend: ``pil`` or ``torchvision``."""
        ...

    def encode(self, images: Sequence[Image.Image]) -> EncodedImages:
        """Turn images into pixel tensors."""
        ...

    def count_tokens(self, width: int, height: int) -> int:
        """Return how many tokens an image of this size takes, without decoding it."""
        ...

    def positions(self, ids: IntArray, grid: Int[Tensor, "image 3"] | None) -> Positions:
        """Return the rotary positions of a prefix."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return what decides pixels and token counts, for cache keys."""
        ...

    def dummy_ids(self) -> IntArray:
        """Return the ids around one smallest image, for rows that would otherwise have none."""
        ...

    def dummy_images(self) -> EncodedImages:
        """Return the smallest image, of zeros."""
        ...


class QwenVision:
    """Images of the Qwen-VL families: patches merged 2x2, M-RoPE positions from the model's own ``get_rope_index``.

    Args:
        image_processor: the Hugging Face image processor of the backbone.
        config: the backbone's configuration.
        rope_model: a backbone of this class without weights (meta device); only ``get_rope_index`` is called.
    """

    def __init__(self, image_processor: Any, config: Any, rope_model: Any) -> None:
        self.image_processor = image_processor
        self.image_token_id: int = config.image_token_id
        self._around = (config.vision_start_token_id, config.vision_end_token_id)
        self._rope_model = rope_model
        self._merge = int(image_processor.merge_size)

    @property
    def backend(self) -> str:
        """``pil`` or ``torchvision``: their pixels differ slightly, so a checkpoint names its own."""
        return "pil" if type(self.image_processor).__name__.endswith("Pil") else "torchvision"

    def describe(self) -> dict[str, Any]:
        """Return the image processor's configuration."""
        return self.image_processor.to_dict()

    def encode(self, images: Sequence[Image.Image]) -> EncodedImages:
        """Resize, normalise and cut into patches."""
        tensors = self.image_processor(images=list(images), return_tensors="pt")
        grid = tensors["image_grid_thw"]
        counts = (grid.prod(-1) // self._merge**2).tolist()
        return EncodedImages(tensors["pixel_values"], grid, counts)

    def count_tokens(self, width: int, height: int) -> int:
        """Return the number of merged patches of an image of this size in pixels."""
        return self.image_processor.get_number_of_image_patches(height, width, {}) // self._merge**2

    def positions(self, ids: IntArray, grid: Int[Tensor, "image 3"] | None) -> Positions:
        """Return temporal, height and width positions; the continuation is that of one more text token."""
        if grid is None:
            return text_positions(ids, axes=3)
        extended = torch.from_numpy(np.append(ids, -1))[None]
        kinds = (extended == self.image_token_id).int()
        positions, _ = self._rope_model.get_rope_index(extended, mm_token_type_ids=kinds, image_grid_thw=grid)
        array = positions[:, 0].numpy()
        return Positions(np.ascontiguousarray(array[:, :-1]), int(array[0, -1]))

    def dummy_ids(self) -> IntArray:
        """Return start, one image token, end."""
        return np.array([self._around[0], self.image_token_id, self._around[1]], dtype=np.int64)

    def dummy_images(self) -> EncodedImages:
        """Return one image of zeros that takes a single token."""
        processor = self.image_processor
        width = 3 * processor.temporal_patch_size * processor.patch_size**2
        pixels = torch.zeros(self._merge**2, width)
        return EncodedImages(pixels, torch.tensor([[1, self._merge, self._merge]]), [1])


def text_positions(ids: IntArray, axes: int) -> Positions:
    """Return 0, 1, 2, ... on every axis."""
    return Positions(np.tile(np.arange(len(ids), dtype=np.int64), (axes, 1)), len(ids))
