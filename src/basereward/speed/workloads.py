"""What is timed: a backbone of a preset shape with random weights, and groups of given lengths."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModel, PreTrainedConfig
from transformers.utils import logging

from basereward.encoding.collate import PairBatch, PairIndex, collate, compare, move_batch
from basereward.encoding.groups import EncodedGroup, GroupLength
from basereward.encoding.media import EncodedImages, Expansion, Positions
from basereward.encoding.qwen import mrope_positions
from basereward.errors import RecipeError
from basereward.models.families import weightless
from basereward.models.head import RewardHead
from basereward.models.reward_model import RewardModel
from basereward.models.shapes import backbone_config
from basereward.registry import Registry

# A share of the prompt like that of a photograph: 1,024 of 1,200 tokens, 256 of 300.
IMAGE_SHARE = 1024 / 1200


def _tiny() -> PreTrainedConfig:
    """Twenty million weights with the 3B's vision share: 41 % of the plain work at 1200/200."""
    text = {
        "hidden_size": 512,
        "intermediate_size": 2048,
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "vocab_size": 1024,
        "bos_token_id": None,
        "eos_token_id": None,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 12, 12]},
    }
    vision = {
        "depth": 4,
        "hidden_size": 256,
        "intermediate_size": 224,
        "num_heads": 4,
        "out_hidden_size": 512,
        "fullatt_block_indexes": [3],
        "window_size": 112,
    }
    ids = dict(
        zip(
            ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id"),
            range(1, 5),
            strict=True,
        )
    )
    return AutoConfig.for_model("qwen2_5_vl", text_config=text, vision_config=vision, **ids)


PRESETS: Registry[Any] = Registry(
    "speed preset",
    {
        "tiny": _tiny,
        "3b": lambda: backbone_config("Qwen/Qwen2.5-VL-3B-Instruct"),
        "7b": lambda: backbone_config("Qwen/Qwen2.5-VL-7B-Instruct"),
    },
)


@dataclass(frozen=True, slots=True)
class Workload:
    """Lengths of what is timed, in tokens.

    Args:
        prompt: tokens of every prompt, its image included.
        response: mean tokens of a response.
        group: responses of a prompt.
        groups: prompts in a batch.
        jitter: responses are drawn uniformly from ``response * (1 - jitter)`` to ``response * (1 + jitter)``.
        with_image: whether prompts have an image; it takes ``IMAGE_SHARE`` of the prompt.
    """

    prompt: int = 1200
    response: int = 200
    group: int = 2
    groups: int = 2
    jitter: float = 0.3
    with_image: bool = True

    @property
    def image_side(self) -> int:
        """Merged patches along one side of the image."""
        return math.isqrt(int(self.prompt * IMAGE_SHARE)) if self.with_image else 0

    def lengths(self, seed: int = 0) -> list[GroupLength]:
        """Draw the lengths of the groups."""
        draw = np.random.default_rng(seed)
        low, high = max(1, round(self.response * (1 - self.jitter))), round(self.response * (1 + self.jitter))
        return [
            GroupLength(self.prompt, tuple(draw.integers(low, high + 1, self.group).tolist()), self.image_side**2)
            for _ in range(self.groups)
        ]


def build_model(preset: str, dtype: torch.dtype, device: str, seed: int = 0) -> RewardModel:
    """Build a preset with random weights, straight on the device.

    Raises:
        UnknownNameError: no such preset.
    """
    config = PRESETS.get(preset)()
    torch.manual_seed(seed)
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    with torch.device(device):
        backbone = AutoModel.from_config(config, dtype=dtype)
        head = RewardHead(config.get_text_config().hidden_size)
    logging.set_verbosity(level)
    return RewardModel(backbone, head, None)


def encode_lengths(lengths: list[GroupLength], config: PreTrainedConfig, seed: int = 0) -> list[EncodedGroup]:
    """Fill lengths with random tokens and pixels.

    Raises:
        RecipeError: the image does not fit the prompt.
    """
    draw = np.random.default_rng(seed)
    vision, rope = config.vision_config, weightless(config)
    groups = []
    for length in lengths:
        if length.image_tokens + 2 > length.prefix:
            raise RecipeError(f"An image of {length.image_tokens} tokens does not fit a prompt of {length.prefix}.")
        ids = draw.integers(10, 1000, length.prefix)
        images = None
        if length.image_tokens:
            side = math.isqrt(length.image_tokens) * vision.spatial_merge_size
            grid = torch.tensor([[1, side, side]])
            width = 3 * vision.temporal_patch_size * vision.patch_size**2
            tensors = {"pixel_values": torch.randn(side * side, width), "image_grid_thw": grid}
            rows = [{"pixel_values": side * side, "image_grid_thw": 1}]
            images = EncodedImages(tensors, rows, [Expansion("image", "", (length.image_tokens,))])
            ids[1] = config.vision_start_token_id
            ids[2 : 2 + length.image_tokens] = config.image_token_id
        positions: Positions = mrope_positions(rope, ids, images)
        suffixes = tuple(draw.integers(10, 1000, size) for size in length.suffixes)
        groups.append(EncodedGroup(ids, suffixes, positions, length.suffixes, images))
    return groups


def separate(groups: list[EncodedGroup]) -> list[EncodedGroup]:
    """Give every response a prompt and images of its own: the same sequences without sharing, and without padding."""
    return [
        EncodedGroup(group.prefix, (suffix,), group.positions, (len(suffix),), group.images)
        for group in groups
        for suffix in group.suffixes
    ]


def pack(groups: list[EncodedGroup], pairs: list[tuple[int, int]], device: str) -> PairBatch:
    """Collate groups with the pairs to compare, on the device."""
    return move_batch(compare(collate(groups), [PairIndex(*pair) for pair in pairs]), device)
