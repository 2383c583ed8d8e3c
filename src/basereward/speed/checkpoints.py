"""The models that a server is measured with, and the requests that are written for them."""

from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import AutoModel

from basereward.errors import RecipeError
from basereward.models.checkpoint import load_reward_model, save_reward_model
from basereward.models.head import RewardHead
from basereward.models.hub import open_folder
from basereward.models.inputs import TemplateSettings, load_template
from basereward.models.reward_model import RewardModel
from basereward.scoring.local import LocalScorer
from basereward.speed.requests import Request, Writer
from basereward.speed.workloads import PRESETS

# Tokens along a side of an image of 1,024 tokens.
SIDE, LARGE_PROMPT, LARGE_RESPONSE, MEMBERS = 32, 1200, 200, 8
_FAMILY = "qwen2_5_vl"
_TOKENS = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")


class ServedCheckpoint(NamedTuple):
    """A checkpoint on disk, the same in this process, and what writes requests for it."""

    folder: Path
    scorer: LocalScorer
    writer: Writer

    def small(self, number: int) -> Request:
        """Return a group of two, of about 90 tokens and 30 for a response; one in four has an image of 4 tokens."""
        return self.writer.write(number, 90, (24, 36), 0 if number % 4 else 2)

    def large(self, number: int, side: int) -> Request:
        """Return a group of eight, of about 1,200 tokens and 200 for a response, with an image of ``side`` or none."""
        return self.writer.write(number, LARGE_PROMPT, [LARGE_RESPONSE] * MEMBERS, side)


class ServedModels:
    """The model that was named, and the preset ``tiny`` with its template, which is made when it is needed."""

    def __init__(self, model: str, folder: Path) -> None:
        self._model = model
        self._folder = folder

    @cached_property
    def small(self) -> ServedCheckpoint:
        """The model that was named."""
        return open_served(Path(self._model))

    @cached_property
    def large(self) -> ServedCheckpoint:
        """The preset, with random weights."""
        return open_served(_write_tiny(Path(self._model), self._folder / "tiny"))


def open_served(folder: Path) -> ServedCheckpoint:
    """Load a checkpoint to be compared with the server of its folder."""
    scorer = LocalScorer(load_reward_model(folder), folder.name)
    return ServedCheckpoint(folder, scorer, Writer(scorer.model.template))


def _write_tiny(model: Path, folder: Path) -> Path:
    """Write the preset ``tiny`` with random weights and a model's template, whose images may be large."""
    own = open_folder(model).config
    if own.model_type != _FAMILY:
        raise RecipeError(f"{model} is a {own.model_type}; expected a {_FAMILY}, such as the demo's model.")
    config = PRESETS.get("tiny")()
    config.text_config.vocab_size = own.get_text_config().vocab_size
    for name in _TOKENS:
        setattr(config, name, getattr(own, name))
    template = load_template(model, TemplateSettings(max_pixels=(28 * SIDE) ** 2))
    torch.manual_seed(0)
    backbone = AutoModel.from_config(config, dtype=torch.float32)
    head = RewardHead(config.text_config.hidden_size)
    return save_reward_model(RewardModel(backbone, head, template), folder)
