"""Vision towers of the families: where their weights stand and what their attention costs."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Tower:
    """The cost of a vision tower.

    Args:
        blocks: path, inside the backbone, of the layers that see every patch.
        mergers: paths of what sees every merged patch: one for each image token.
        patches_per_token: patches that are merged into one token.
        full: sum of the attention widths of layers in which a patch sees its whole image.
        windowed: the same for layers in which it sees a window of ``window`` patches.
    """

    blocks: str
    mergers: tuple[str, ...]
    patches_per_token: int
    full: int = 0
    windowed: int = 0
    window: int = 0


def qwen2_tower(config: Any) -> Tower:
    """Qwen2-VL: every layer sees the whole image."""
    vision = config.vision_config
    width = vision.depth * vision.embed_dim
    return Tower("visual.blocks", ("visual.merger",), vision.spatial_merge_size**2, full=width)


def qwen2_5_tower(config: Any) -> Tower:
    """Qwen2.5-VL: most layers see a window."""
    vision = config.vision_config
    full = len(vision.fullatt_block_indexes)
    return Tower(
        "visual.blocks",
        ("visual.merger",),
        vision.spatial_merge_size**2,
        full=full * vision.hidden_size,
        windowed=(vision.depth - full) * vision.hidden_size,
        window=(vision.window_size // vision.patch_size) ** 2,
    )


def qwen3_tower(config: Any) -> Tower:
    """Qwen3-VL: every layer sees the whole image, and some have a merger of their own (deepstack)."""
    vision = config.vision_config
    mergers = ("visual.merger", "visual.deepstack_merger_list")
    return Tower("visual.blocks", mergers, vision.spatial_merge_size**2, full=vision.depth * vision.hidden_size)


def internvl_tower(config: Any) -> Tower:
    """InternVL: every layer sees one tile and its class token."""
    vision = config.vision_config
    sides = [size // patch for size, patch in zip(vision.image_size, vision.patch_size, strict=True)]
    return Tower(
        "vision_tower.encoder",
        ("multi_modal_projector",),
        round(config.downsample_ratio**-2),
        windowed=vision.num_hidden_layers * vision.hidden_size,
        window=sides[0] * sides[1] + 1,
    )
