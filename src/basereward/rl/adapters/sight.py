"""Whether a policy sees: prompts without images where images were meant are refused, as nothing else would tell."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from basereward.errors import RewardError
from basereward.rl.adapters.rollout import Rollout, as_list, shown_images

# What data sets and chat templates write where an image stands.
_MARKS = ("<image>", "<|image_pad|>", "<|vision_start|>", "<IMG_CONTEXT>")
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")


def check_sight(rows: Sequence[Rollout], columns: Mapping[str, Any], expects_images: bool | None) -> None:
    """Check that prompts show the images that the data hold.

    Args:
        columns: all columns of the data, by name, with one value for each rollout.
        expects_images: True: every prompt shows one; None: they do if a column holds images; False: none is expected.

    Raises:
        RewardError: they do not.
    """
    if expects_images is False:
        return
    shown = [shown_images(row) for row in rows]
    for place, (prompt, images) in enumerate(shown):
        if not images and (mark := next((mark for mark in _MARKS if mark in _text(prompt)), None)):
            raise RewardError(f"Prompt {place} has {mark} and no image; it was lost on the way to the reward.")
    blind = [place for place in range(len(rows)) if not shown[place].images]
    if expects_images and blind:
        raise RewardError(f"{len(blind)} of {len(rows)} prompts show no image, the first is number {blind[0]}.")
    if len(blind) < len(rows):
        return
    for name, values in columns.items():
        if any(_is_image(one) for value in values[:1] for one in as_list(value)):
            raise RewardError(
                f"Column {name!r} holds images, and no prompt shows any: the policy is trained blind. Call the column "
                "image or images, or pass expects_images=False."
            )


def _text(prompt: Any) -> str:
    return prompt if isinstance(prompt, str) else json.dumps(prompt, default=str, ensure_ascii=False)


def _is_image(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "bytes" in value and "path" in value
    if isinstance(value, (str, Path)):
        return str(value).startswith("data:image/") or str(value).lower().endswith(_SUFFIXES)
    return isinstance(value, Image.Image)
