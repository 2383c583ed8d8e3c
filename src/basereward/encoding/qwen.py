"""Images and videos of the Qwen-VL families: merged patches, and M-RoPE positions from the model's own rule."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from basereward.errors import RowError

# Patches and their grids (time, rows, columns) as the backbone takes them.
TENSORS: dict[PartType, tuple[str, str]] = {
    "image": ("pixel_values", "image_grid_thw"),
    "video": ("pixel_values_videos", "video_grid_thw"),
}
# What the processors assume of frames without a rate.
DEFAULT_FPS = 24


class QwenVision:
    """Qwen2-VL and Qwen2.5-VL: an image or a video is one run of pad tokens, one for each merged patch.

    Args:
        processor: the Hugging Face processor of the backbone.
        config: the backbone's configuration.
        rope_model: a backbone of this class without weights (meta device); only ``get_rope_index`` is called.
    """

    kinds: tuple[PartType, ...] = ("image", "video")

    def __init__(self, processor: Any, config: Any, rope_model: Any) -> None:
        self.image_processor = processor.image_processor
        self.video_processor = processor.video_processor
        self.placeholders: Mapping[PartType, str] = {"image": processor.image_token, "video": processor.video_token}
        self.pad_ids: tuple[int, ...] = (config.image_token_id, config.video_token_id)
        self._around = (config.vision_start_token_id, config.vision_end_token_id)
        self._marks = tuple(processor.tokenizer.convert_ids_to_tokens(self._around))
        self._rope_model = rope_model
        self._merge = int(self.image_processor.merge_size)

    @property
    def backend(self) -> str:
        """``pil`` or ``torchvision``."""
        return processor_backend(self.image_processor)

    @property
    def pixels(self) -> dict[str, int]:
        """The limits of an image."""
        size = self.image_processor.size
        return {"min": size["shortest_edge"], "max": size["longest_edge"]}

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return the facts of both processors."""
        both = {"image_processor": self.image_processor, "video_processor": self.video_processor}
        return {name: processor_facts(processor) for name, processor in both.items()}

    def encode(self, items: Sequence[Image.Image | Clip]) -> EncodedImages:
        """Resize, normalise and cut into patches."""
        images = [item for item in items if not isinstance(item, Clip)]
        clips = [item for item in items if isinstance(item, Clip)]
        tensors: dict[str, Tensor] = {}
        rope: dict[str, Any] = {}
        if images:
            done = self.image_processor(images=images, return_tensors="pt")
            tensors |= {key: done[key] for key in TENSORS["image"]}
        if clips:
            tensors |= self._encode_clips(clips)
            rope["second_per_grid_ts"] = torch.tensor(
                [self.video_processor.temporal_patch_size / (clip.fps or DEFAULT_FPS) for clip in clips]
            )
        return self._assemble(items, tensors, rope)

    def expand_image(self, width: int, height: int) -> Expansion:
        """Return one run of pad tokens for an image of this size."""
        patches = self.image_processor.get_number_of_image_patches(height, width, {})
        return self._expand("image", (1, 1, patches), None)

    def expand_video(self, size: VideoSize, fps: float | None) -> Expansion:
        """Return the tokens of a video of this size."""
        with _refusing_sizes(size.frames):
            patches = self.video_processor.get_num_of_video_patches(size.frames, size.height, size.width, {})
        steps = -(-size.frames // self.video_processor.temporal_patch_size)
        return self._expand("video", (steps, 1, patches // steps), fps, size.frames)

    def positions(self, ids: Int[np.ndarray, " token"], images: EncodedImages | None) -> Positions:
        """Return temporal, height and width positions; the continuation is that of one more text token."""
        return mrope_positions(self._rope_model, ids, images)

    def dummy_ids(self, kind: PartType = "image") -> Int[np.ndarray, " token"]:
        """Return start, one pad token, end."""
        return np.array([self._around[0], self.pad_ids[self.kinds.index(kind)], self._around[1]], dtype=np.int64)

    def dummy_images(self, kind: PartType = "image") -> EncodedImages:
        """Return one image or video of zeros that takes a single token."""
        processor = self.image_processor
        width = 3 * processor.temporal_patch_size * processor.patch_size**2
        pixels, grid = TENSORS[kind]
        tensors = {pixels: torch.zeros(self._merge**2, width), grid: torch.tensor([[1, self._merge, self._merge]])}
        expansion = Expansion(kind, self.placeholders[kind], (1,))
        rope = {} if kind == "image" else {"second_per_grid_ts": torch.ones(1)}
        return EncodedImages(tensors, [{pixels: self._merge**2, grid: 1}], [expansion], rope)

    def _encode_clips(self, clips: Sequence[Clip]) -> dict[str, Tensor]:
        with _refusing_sizes(min(len(clip.frames) for clip in clips)):
            done = self.video_processor(
                videos=[list(clip.frames) for clip in clips],
                do_sample_frames=False,
                video_metadata=[_metadata(clip) for clip in clips],
                return_tensors="pt",
            )
        return {key: done[key] for key in TENSORS["video"]}

    def _assemble(
        self, items: Sequence[Image.Image | Clip], tensors: dict[str, Tensor], rope: dict[str, Any]
    ) -> EncodedImages:
        grids = {grid: iter(tensors[grid].tolist()) for _, grid in TENSORS.values() if grid in tensors}
        rows, expansions = [], []
        for item in items:
            kind: PartType = "video" if isinstance(item, Clip) else "image"
            name, grid_name = TENSORS[kind]
            grid = next(grids[grid_name])
            rows.append({name: int(np.prod(grid)), grid_name: 1})
            fps, frames = (item.fps, len(item.frames)) if isinstance(item, Clip) else (None, 1)
            expansions.append(self._expand(kind, grid, fps, frames))
        return EncodedImages(tensors, rows, expansions, rope)

    def _expand(self, kind: PartType, grid: Sequence[int], fps: float | None, frames: int = 1) -> Expansion:
        return Expansion(kind, self.placeholders[kind], (int(np.prod(grid)) // self._merge**2,))


class Qwen3Vision(QwenVision):
    """Qwen3-VL: as Qwen2.5-VL, but every temporal step of a video is an image of its own behind its time."""

    def _expand(self, kind: PartType, grid: Sequence[int], fps: float | None, frames: int = 1) -> Expansion:
        if kind == "image":
            return super()._expand(kind, grid, fps)
        steps, *area = grid
        run = f"{self._marks[0]}{self.placeholders['video']}{self._marks[1]}"
        group = self.video_processor.temporal_patch_size
        # Frames of one step share the mean time of its first and last frame; a last step is filled with the last frame.
        ends = [(step * group, min(step * group + group, frames) - 1) for step in range(steps)]
        times = [(first / (fps or DEFAULT_FPS) + last / (fps or DEFAULT_FPS)) / 2 for first, last in ends]
        text = "".join(f"<{time:.1f} seconds>{run}" for time in times)
        return Expansion(kind, text, (int(np.prod(area)) // self._merge**2,) * steps)


def mrope_positions(rope_model: Any, ids: Int[np.ndarray, " token"], images: EncodedImages | None) -> Positions:
    """Return what the backbone's ``get_rope_index`` gives a prefix; responses go on where one more text token stands.

    The largest position plus one would be wrong behind a video, whose time runs further than the text after it.

    Args:
        rope_model: a backbone of the family, possibly without weights.
    """
    if images is None:
        return text_positions(ids, axes=3)
    config = rope_model.config
    extended = torch.from_numpy(np.append(ids, -1))[None]
    kinds = (extended == config.image_token_id).int() + 2 * (extended == config.video_token_id).int()
    grids = {grid: images.tensors.get(grid) for _, grid in TENSORS.values()}
    positions, _ = rope_model.get_rope_index(extended, mm_token_type_ids=kinds, **grids, **images.rope)
    array = positions[:, 0].numpy()
    return Positions(np.ascontiguousarray(array[:, :-1]), int(array[0, -1]))


def limit_edges(image_processor: Any, least: int | None, most: int | None) -> dict[str, Any]:
    """Return the options of an image processor that limit an image to a number of pixels."""
    size = dict(image_processor.size)
    return {"size": {**size, **({"shortest_edge": least} if least else {}), **({"longest_edge": most} if most else {})}}


def _metadata(clip: Clip) -> dict[str, Any]:
    frames = len(clip.frames)
    return {"total_num_frames": frames, "fps": clip.fps or DEFAULT_FPS, "frames_indices": list(range(frames))}


@contextmanager
def _refusing_sizes(frames: int) -> Iterator[None]:
    """Turn the processor's refusal of a size (Qwen3-VL wants two frames) into a bad row."""
    try:
        yield
    except ValueError as error:
        found = f"The video processor refuses {frames} frame{'s' * (frames != 1)}"
        raise RowError("video", f"{found} ({error}); give more frames, or of another shape.") from error
