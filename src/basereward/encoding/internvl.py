"""Images and videos of InternVL: square tiles of one size, and plain positions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from PIL import Image
from torch import Tensor

from basereward.data.images import VideoSize
from basereward.data.schema import PartType
from basereward.encoding.facts import processor_facts
from basereward.encoding.media import Clip, EncodedImages, Expansion, Positions, text_positions
from basereward.encoding.vision import processor_backend


class InternVision:
    """InternVL3: an image is cut into tiles (and a thumbnail), a video has one tile a frame.

    Every tile takes the same number of tokens, and images and video frames share one tensor.

    Args:
        processor: the Hugging Face processor of the backbone.
        config: the backbone's configuration.
        rope_model: not needed; positions count tokens.
    """

    kinds: tuple[PartType, ...] = ("image",)

    def __init__(self, processor: Any, config: Any, rope_model: Any) -> None:
        self.image_processor = processor.image_processor
        self.video_processor = processor.video_processor
        self.placeholders: Mapping[PartType, str] = {"image": processor.image_token, "video": processor.video_token}
        self.pad_ids: tuple[int, ...] = (config.image_token_id,)
        self._around = (processor.start_image_token, processor.end_image_token)
        self._around_ids = (processor.start_image_token_id, processor.end_image_token_id)
        self._tile = int(processor.image_seq_length)

    @property
    def backend(self) -> str:
        """``pil`` or ``torchvision``."""
        return processor_backend(self.image_processor)

    @property
    def pixels(self) -> dict[str, int]:
        """The pixels of the fewest and of the most tiles."""
        area = _tile_area(self.image_processor)
        return {"min": self.image_processor.min_patches * area, "max": self.image_processor.max_patches * area}

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return the facts of both processors, and the tokens of a tile."""
        image = {**processor_facts(self.image_processor), "tile_tokens": self._tile}
        return {"image_processor": image, "video_processor": processor_facts(self.video_processor)}

    def encode(self, items: Sequence[Image.Image | Clip]) -> EncodedImages:
        """Cut images into tiles, resize frames, and normalise."""
        pixels = [self._frames(item) if isinstance(item, Clip) else self._tiles(item) for item in items]
        expansions = [
            self._expand_frames(len(own)) if isinstance(item, Clip) else self._expand_tiles(len(own))
            for item, own in zip(items, pixels, strict=True)
        ]
        return EncodedImages(
            {"pixel_values": torch.cat(pixels)}, [{"pixel_values": len(own)} for own in pixels], expansions
        )

    def expand_image(self, width: int, height: int) -> Expansion:
        """Return the tokens of all tiles of an image of this size."""
        tiles = self.image_processor.get_number_of_image_patches(height, width, {"crop_to_patches": True})
        return self._expand_tiles(tiles)

    def expand_video(self, size: VideoSize, fps: float | None) -> Expansion:
        """Return the tokens of all frames, which are counted and have no time."""
        return self._expand_frames(size.frames)

    def positions(self, ids: Int[np.ndarray, " token"], images: EncodedImages | None) -> Positions:
        """Return 0, 1, 2, ..."""
        return text_positions(ids, axes=1)

    def dummy_ids(self, kind: PartType = "image") -> Int[np.ndarray, " token"]:
        """Return start, the tokens of one tile, end."""
        return np.array([self._around_ids[0], *self.pad_ids * self._tile, self._around_ids[1]], dtype=np.int64)

    def dummy_images(self, kind: PartType = "image") -> EncodedImages:
        """Return one tile of zeros."""
        size = self.image_processor.size
        pixels = torch.zeros(1, 3, size["height"], size["width"])
        return EncodedImages({"pixel_values": pixels}, [{"pixel_values": 1}], [self._expand_tiles(1)])

    def _tiles(self, image: Image.Image) -> Tensor:
        # The processor class turns cropping on, whatever the image processor's own configuration says.
        return self.image_processor(images=[image], crop_to_patches=True, return_tensors="pt")["pixel_values"]

    def _frames(self, clip: Clip) -> Tensor:
        done = self.video_processor(videos=[list(clip.frames)], do_sample_frames=False, return_tensors="pt")
        return done["pixel_values_videos"].flatten(0, 1)

    def _expand_tiles(self, tiles: int) -> Expansion:
        text = f"{self._around[0]}{self.placeholders['image']}{self._around[1]}"
        return Expansion("image", text, (tiles * self._tile,))

    def _expand_frames(self, frames: int) -> Expansion:
        run = f"{self._around[0]}{self.placeholders['image']}{self._around[1]}"
        text = "\n".join(f"Frame{number}: {run}" for number in range(1, frames + 1))
        return Expansion("video", text, (self._tile,) * frames)


def limit_tiles(image_processor: Any, least: int | None, most: int | None) -> dict[str, Any]:
    """Return the options of an image processor that limit an image to the tiles of a number of pixels."""
    area = _tile_area(image_processor)
    options = {}
    if least:
        options["min_patches"] = max(1, -(-least // area))
    if most:
        options["max_patches"] = max(1, most // area)
    return options


def _tile_area(image_processor: Any) -> int:
    return image_processor.size["height"] * image_processor.size["width"]
