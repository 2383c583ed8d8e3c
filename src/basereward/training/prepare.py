"""From a recipe to what a run needs: the template, measured pairs, and the model to train."""

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from transformers import set_seed

from basereward.data.pairs import LoadedPairs, PairDataset, load_pairs
from basereward.data.schema import PartType
from basereward.encoding.lengths import Lengths, measure_lengths
from basereward.encoding.template import Template
from basereward.errors import DataError
from basereward.models.adapters import LoraSettings, attach_lora, freeze_vision
from basereward.models.checkpoint import HeadSettings, TemplateSettings, load_template, new_reward_model
from basereward.models.reward_model import RewardModel
from basereward.training.recipe import Recipe


@dataclass(frozen=True)
class MeasuredPairs:
    """Pairs that fit the model, their sizes, what was dropped, and what they show besides text."""

    pairs: PairDataset
    lengths: Lengths
    drops: dict[str, Any]
    fingerprint: str
    kinds: tuple[PartType, ...]


def prepare_template(recipe: Recipe) -> Template:
    """Load the template of a recipe's backbone with the recipe's limits."""
    model = recipe.model
    settings = TemplateSettings(model.min_pixels, model.max_pixels, model.max_length, model.image_backend)
    return load_template(model.backbone, settings)


def prepare_pairs(recipe: Recipe, template: Template, paths: list[str], limit: int | None = None) -> MeasuredPairs:
    """Read, validate and measure pairs; what does not fit is dropped and counted.

    Raises:
        DataError: a bad row when the recipe is strict, or nothing is left.
    """
    data, workers = recipe.data, recipe.hardware.workers
    loaded = load_pairs(paths, limit=limit, strict=data.strict, check=data.image_check, workers=workers)
    lengths = measure_lengths(loaded, template, workers)
    _drop_unfit(loaded, lengths, data.strict)
    usable = lengths.usable
    if not usable:
        raise DataError(f"No pair of {', '.join(paths)} is shorter than max_length {template.max_length}.")
    fingerprint = hashlib.sha256(f"{loaded.sidecar.fingerprint}-{len(usable)}".encode()).hexdigest()[:16]
    kinds: tuple[PartType, ...] = ("image", "video") if len(loaded.sidecar.video_sizes) else ("image",)
    return MeasuredPairs(
        loaded.pairs.select(usable), lengths.select(usable), loaded.ledger.to_dict(), fingerprint, kinds
    )


def prepare_model(recipe: Recipe) -> RewardModel:
    """Build the reward model of a recipe: backbone, seeded head, freezing, adapters, checkpointing."""
    model = recipe.model
    set_seed(recipe.run.seed)
    dtype = getattr(torch, model.frozen_dtype)
    template = TemplateSettings(model.min_pixels, model.max_pixels, model.max_length, model.image_backend)
    reward_model = new_reward_model(model.backbone, HeadSettings(**model.head.model_dump()), template, dtype=dtype)
    if model.freeze_vision:
        freeze_vision(reward_model)
    if model.lora:
        attach_lora(reward_model, LoraSettings(**model.lora.model_dump()))
    if model.checkpointing:
        reward_model.enable_checkpointing()
    if model.compile:
        reward_model.compile_text_model()
    return reward_model


def _drop_unfit(loaded: LoadedPairs, lengths: Lengths, strict: bool) -> None:
    for row in lengths.rows:
        if row.problem is None:
            continue
        if strict:
            raise DataError(f"{row.problem[0]}: {row.problem[1]}")
        loaded.ledger.add(*row.problem)
