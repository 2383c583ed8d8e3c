"""What sharing a prompt saves in the reward call of an RL loop: a group at once beside one response a call."""

import base64
import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from PIL import Image

from basereward.rl.adapters.trl import trl_reward
from basereward.rl.reward_function import RewardFunction
from basereward.speed.checkpoints import MEMBERS, SIDE, ServedModels
from basereward.speed.figures import Figure, middle
from basereward.speed.requests import Request

PARTS = (("image", SIDE, 4.0), ("text", 0, None))


class _TimedCall(NamedTuple):
    """Rollouts as TRL gives them to a reward function."""

    prompts: list[Any]
    completions: list[Any]
    images: list[Any]

    def rewards(self, reward: Any, members: slice = slice(None)) -> list[float | None]:
        columns = {"images": self.images[members]} if self.images[0] else {}
        return reward(prompts=self.prompts[members], completions=self.completions[members], **columns)


def measure_rewards(model: str, rounds: int = 3, on_part: Callable[[str], None] = lambda part: None) -> list[Figure]:
    """Return responses a CPU second of the TRL reward function for groups of eight, as a multiple of one a call.

    Prompts have about 1,200 tokens and responses 200; the model is the preset ``tiny`` with random weights. One thread.

    Args:
        model: a checkpoint whose template is taken, such as the demo's.
        rounds: of every part, each with new prompts; medians are returned with the smallest and the largest.
    """
    torch.set_num_threads(1)
    figures = []
    with TemporaryDirectory(prefix="basereward-speed-") as name:
        large = ServedModels(model, Path(name)).large
        for part, side, least in PARTS:
            on_part(part)
            reward = trl_reward(RewardFunction(large.scorer), group_size=MEMBERS, end_ids=[0])
            _call(large.large(0, side)).rewards(reward)
            ratios, differences = [], []
            for turn in range(rounds):
                group, alone = (_call(large.large(1 + 2 * turn + way, side)) for way in range(2))
                begun = time.process_time()
                found = group.rewards(reward)
                together = time.process_time() - begun
                _one_by_one(alone, reward)
                ratios.append((time.process_time() - begun - together) / together)
                differences.append(_difference(found, _one_by_one(group, reward)))
            figures += [
                middle(part, "CPU of 8 calls of one response, times one call of a group of 8", ratios, least),
                Figure(part, "largest difference of rewards", max(differences), most=1e-5),
            ]
    return figures


def _call(request: Request) -> _TimedCall:
    messages, images = _read(request.messages)
    completions = [[{"role": "assistant", "content": text}] for text in request.responses]
    count = len(completions)
    return _TimedCall([messages] * count, completions, [images] * count)


def _read(messages: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[Image.Image]]:
    """Return the messages of a request with bare image parts, and its images decoded, as TRL has them."""
    images, read = [], []
    for message in messages:
        parts = []
        for part in message["content"]:
            if part["type"] == "image_url":
                data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
                images.append(Image.open(io.BytesIO(data)).convert("RGB"))
                parts.append({"type": "image"})
            else:
                parts.append(part)
        read.append({**message, "content": parts})
    return read, images


def _one_by_one(call: _TimedCall, reward: Any) -> list[float | None]:
    return [call.rewards(reward, slice(place, place + 1))[0] for place in range(len(call.completions))]


def _difference(first: Sequence[float | None], second: Sequence[float | None]) -> float:
    pairs = zip(first, second, strict=True)
    return max(abs(one - other) if one is not None and other is not None else float("inf") for one, other in pairs)
