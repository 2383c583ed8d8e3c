"""Vision towers of the families: where their weights stand and what their attention costs."""

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Tower:
    """The cost of a vision tower.

    Args:
        blocks: path, inside the backbone, of the layers that see every patch.
        mergers: paths of what sees every merged patch: one for each image token.
        patches_per_token: patches that are merged into one token.
        global_width: sum of the attention widths of layers in which a patch sees its whole image.
        window_width: the same for layers in which it sees a window of ``window`` patches.
        layers: number of layers.
        hidden: width of a layer.
        intermediate: width inside its MLP.
        is_gated: whether the MLP has a gate, and RMSNorm stands for LayerNorm.
    """

    blocks: str
    mergers: tuple[str, ...]
    patches_per_token: int
    layers: int
    hidden: int
    intermediate: int
    is_gated: bool = False
    global_width: int = 0
    window_width: int = 0
    window: int = 0


def qwen2_tower(config: Any) -> Tower:
    """Qwen2-VL: every layer sees the whole image."""
    vision = config.vision_config
    return Tower(
        "visual.blocks",
        ("visual.merger",),
        vision.spatial_merge_size**2,
        layers=vision.depth,
        hidden=vision.embed_dim,
        intermediate=int(vision.embed_dim * vision.mlp_ratio),
        global_width=vision.depth * vision.embed_dim,
    )


def qwen2_5_tower(config: Any) -> Tower:
    """Qwen2.5-VL: most layers see a window."""
    vision = config.vision_config
    full = len(vision.fullatt_block_indexes)
    return Tower(
        "visual.blocks",
        ("visual.merger",),
        vision.spatial_merge_size**2,
        layers=vision.depth,
        hidden=vision.hidden_size,
        intermediate=vision.intermediate_size,
        is_gated=True,
        global_width=full * vision.hidden_size,
        window_width=(vision.depth - full) * vision.hidden_size,
        window=(vision.window_size // vision.patch_size) ** 2,
    )


def qwen3_tower(config: Any) -> Tower:
    """Qwen3-VL: every layer sees the whole image, and some have a merger of their own (deepstack)."""
    vision = config.vision_config
    return Tower(
        "visual.blocks",
        ("visual.merger", "visual.deepstack_merger_list"),
        vision.spatial_merge_size**2,
        layers=vision.depth,
        hidden=vision.hidden_size,
        intermediate=vision.intermediate_size,
        global_width=vision.depth * vision.hidden_size,
    )


def qwen3_5_tower(config: Any) -> Tower:
    """Qwen3.5: the tower of Qwen3-VL without the mergers inside it."""
    return replace(qwen3_tower(config), mergers=("visual.merger",))


def internvl_tower(config: Any) -> Tower:
    """InternVL: every layer sees one tile and its class token."""
    vision = config.vision_config
    sides = [size // patch for size, patch in zip(vision.image_size, vision.patch_size, strict=True)]
    return Tower(
        "vision_tower.encoder",
        ("multi_modal_projector",),
        round(config.downsample_ratio**-2),
        layers=vision.num_hidden_layers,
        hidden=vision.hidden_size,
        intermediate=vision.intermediate_size,
        window_width=vision.num_hidden_layers * vision.hidden_size,
        window=sides[0] * sides[1] + 1,
    )
