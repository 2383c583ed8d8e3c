"""What is timed: a backbone of a preset shape with random weights, and groups of given lengths."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np
import torch
from transformers import AutoConfig, AutoModel, PreTrainedConfig
from transformers.utils import logging

from basereward.encoding.collate import PairBatch, PairIndex, collate, compare, move_batch
from basereward.encoding.groups import EncodedGroup, GroupLength
from basereward.encoding.keys import FIRST_SALT, key_tokens
from basereward.encoding.media import EncodedImages, Expansion, Positions
from basereward.encoding.packing import NodeLength, TreeLength
from basereward.encoding.qwen import mrope_positions
from basereward.errors import RecipeError
from basereward.models.families import weightless
from basereward.models.head import RewardHead
from basereward.models.reward_model import RewardModel
from basereward.models.shapes import backbone_config
from basereward.registry import Registry

# A share of the prompt like that of a photograph: 1,024 of 1,200 tokens, 256 of 300.
IMAGE_SHARE = 1024 / 1200
# A token of text and the one that opens an image.
BEFORE_IMAGE = 2


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
        groups: images in a batch, or without images prompts.
        prompts_per_image: prompts that ask about each image, which stands in front of their text.
        pairs: which responses of a prompt are compared: the ``first`` two, or ``all`` with each other.
        jitter: responses are drawn uniformly from ``response * (1 - jitter)`` to ``response * (1 + jitter)``.
        with_image: whether prompts have an image; it takes ``IMAGE_SHARE`` of the prompt.
    """

    prompt: int = 1200
    response: int = 200
    group: int = 2
    groups: int = 2
    jitter: float = 0.3
    with_image: bool = True
    prompts_per_image: int = 1
    pairs: Literal["first", "all"] = "first"

    @property
    def compared(self) -> list[tuple[int, int]]:
        """The responses of each pair, counted through the batch."""
        within = list(combinations(range(self.group), 2)) if self.pairs == "all" else [(0, 1)]
        starts = range(0, self.groups * self.prompts_per_image * self.group, self.group)
        return [(start + one, start + other) for start in starts for one, other in within]

    @property
    def opening(self) -> int:
        """Tokens that all prompts of an image share: the image and what stands in front of it."""
        return self.image_side**2 + BEFORE_IMAGE if self.with_image else 0

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
            for _ in range(self.groups * self.prompts_per_image)
        ]

    def tree(self, lengths: Sequence[GroupLength]) -> TreeLength:
        """Return the sizes of the whole batch with every distinct token once."""
        opening = self.opening if self.prompts_per_image > 1 else 0
        nodes = [NodeLength(opening, 0)] * self.groups if opening else []
        for length in lengths:
            nodes.append(NodeLength(length.prefix - opening, opening))
            nodes += [NodeLength(size, length.prefix) for size in length.suffixes]
        return TreeLength(tuple(nodes), (self.image_side**2,) * self.groups if self.with_image else ())


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


def encode_lengths(
    lengths: Sequence[GroupLength], config: PreTrainedConfig, seed: int = 0, prompts_per_image: int = 1
) -> list[EncodedGroup]:
    """Fill lengths with random tokens and pixels.

    Args:
        prompts_per_image: so many groups after one another show the same image behind the same beginning.

    Raises:
        RecipeError: the image does not fit the prompt.
    """
    draw, rope = np.random.default_rng(seed), weightless(config)
    groups: list[EncodedGroup] = []
    for place, length in enumerate(lengths):
        if length.image_tokens + BEFORE_IMAGE > length.prefix:
            raise RecipeError(f"An image of {length.image_tokens} tokens does not fit a prompt of {length.prefix}.")
        ids, images, pads = draw.integers(10, 1000, length.prefix), None, [config.image_token_id]
        if length.image_tokens:
            former = groups[place - place % prompts_per_image] if place % prompts_per_image else None
            images = former.images if former and former.images else _draw_image(length.image_tokens, config, place)
            stop = BEFORE_IMAGE + length.image_tokens
            ids[BEFORE_IMAGE - 1] = config.vision_start_token_id
            ids[BEFORE_IMAGE:stop] = config.image_token_id
            ids[:BEFORE_IMAGE] = former.prefix[:BEFORE_IMAGE] if former else ids[:BEFORE_IMAGE]
        positions: Positions = mrope_positions(rope, ids, images)
        suffixes = tuple(draw.integers(10, 1000, size) for size in length.suffixes)
        keys = key_tokens(ids, pads, images.expansions, images.keys) if images else ids
        groups.append(EncodedGroup(ids, suffixes, positions, length.suffixes, images, keys=keys))
    return groups


def _draw_image(tokens: int, config: PreTrainedConfig, key: int) -> EncodedImages:
    vision = config.vision_config
    side = math.isqrt(tokens) * vision.spatial_merge_size
    width = 3 * vision.temporal_patch_size * vision.patch_size**2
    tensors = {"pixel_values": torch.randn(side * side, width), "image_grid_thw": torch.tensor([[1, side, side]])}
    rows = [{"pixel_values": side * side, "image_grid_thw": 1}]
    return EncodedImages(tensors, rows, [Expansion("image", "", (tokens,))], keys=(key,))


def separate(groups: Sequence[EncodedGroup], responses: Sequence[int]) -> list[EncodedGroup]:
    """Give responses, counted through all groups, sequences of their own: nothing is shared, and nothing is padded."""
    owners = [(group, member) for group in groups for member in range(len(group.suffixes))]
    apart = []
    for number, response in enumerate(responses):
        group, member = owners[response]
        keys = group.keys.copy()
        # What differs in its first token shares nothing.
        keys[0] = FIRST_SALT + number
        images = group.images._replace(keys=(FIRST_SALT + number,)) if group.images else None
        apart.append(replace(group.take([member]), images=images, keys=keys))
    return apart


def pack(groups: Sequence[EncodedGroup], pairs: Sequence[tuple[int, int]], device: str) -> PairBatch:
    """Collate groups with the pairs to compare, on the device."""
    return move_batch(compare(collate(groups), [PairIndex(*pair) for pair in pairs]), device)
