"""Reward models on disk: the hub layout of the backbone, plus a head, plus what a reader must know."""

from pathlib import Path

import torch

from basereward.encoding.template import Template
from basereward.errors import CheckpointError
from basereward.models import adapter_files
from basereward.models.backends import Backend
from basereward.models.facts import WritingRole
from basereward.models.head import HeadSettings
from basereward.models.hub import ModelFolder, open_folder
from basereward.models.inputs import TemplateSettings
from basereward.models.parts import new_parts, stored_parts
from basereward.models.quantization import QuantizationSettings
from basereward.models.reward_model import RewardModel
from basereward.models.saving import (
    HEAD_FILE,
    SHARD_BYTES,
    live_weights,
    reward_facts,
    save_reward_model,
    save_shards,
    trained_facts,
)
from basereward.models.sharded import fill, read_shards
from basereward.models.stored import SHARDS, find_tensors

__all__ = [
    "HEAD_FILE",
    "SHARD_BYTES",
    "continue_reward_model",
    "live_weights",
    "load_reward_model",
    "load_weights",
    "new_reward_model",
    "reward_facts",
    "save_reward_model",
    "save_shards",
    "trained_facts",
]


def new_reward_model(
    backbone: str | Path | ModelFolder,
    head: HeadSettings | None = None,
    template: TemplateSettings | Template | None = None,
    *,
    dtype: torch.dtype | None = torch.float32,
    backend: Backend = "auto",
    role: WritingRole | None = None,
    head_seed: int | None = None,
    is_empty: bool = False,
    quantization: QuantizationSettings | None = None,
) -> RewardModel:
    """Put a new head on a backbone; of a judge there is none, and the model is a backbone that goes on writing.

    Args:
        backbone: folder or hub id.
        template: a template of this backbone that is loaded already, or what to change in the stored one.
        dtype: of the backbone, None for the stored one; train in fp32, other dtypes are for frozen weights.
        role: of a critic or a judge, how it is asked.
        head_seed: head k is drawn with ``head_seed + k``; None draws from torch's own generator.
        is_empty: leave the backbone on the meta device, to be sharded before it is read.
        quantization: hold linear layers of the text model in 4 bits; only adapters train on them.

    Raises:
        CheckpointError: backbone weights are missing, or it is a reward model, whose head would be lost.
    """
    parts = new_parts(backbone, head, template, dtype, role, head_seed, is_empty, quantization)
    return RewardModel.from_parts(parts, backend)


def load_reward_model(
    path: str | Path | ModelFolder, dtype: torch.dtype | None = None, backend: Backend = "auto"
) -> RewardModel:
    """Load a trained reward model: whole, as adapter and head, or with the head of another library.

    Args:
        dtype: of the backbone; by default the stored one.

    Raises:
        CheckpointError: backbone weights or the head are missing.
    """
    return RewardModel.from_parts(stored_parts(path, dtype), backend)


def continue_reward_model(
    path: str | Path | ModelFolder,
    template: TemplateSettings | Template | None = None,
    *,
    dtype: torch.dtype | None = torch.float32,
    backend: Backend = "auto",
    is_empty: bool = False,
    quantization: QuantizationSettings | None = None,
) -> RewardModel:
    """Load a reward model to train it on: its head is kept, and ``data_record`` says what it was trained on so far.

    Args:
        template: the model's template if it is loaded already, or what to change in the stored one.
        dtype: of the backbone, as for ``new_reward_model``.
        is_empty: as for ``new_reward_model``.
        quantization: as for ``new_reward_model``.

    Raises:
        CheckpointError: no reward model, or adapters, whose base would no longer be the one that they name.
    """
    folder = open_folder(path)
    if adapter_files.is_adapter(folder.path):
        raise CheckpointError(
            f"{folder.name} holds adapters; merge them into a whole model to train on from it: "
            f"basereward merge {folder.name}."
        )
    return RewardModel.from_parts(stored_parts(folder, dtype, template, is_empty, quantization), backend)


def load_weights(model: RewardModel, folder: Path) -> None:
    """Read stored weights in place: all of them, or adapter and head; of a sharded model this rank's part.

    Args:
        folder: a checkpoint of a sharded run or of another.

    Raises:
        CheckpointError: it holds other weights than the model.
    """
    weights = live_weights(model)
    if (folder / SHARDS).is_dir():
        read_shards(weights, folder / SHARDS)
        return
    places = find_tensors(folder)
    if strange := sorted(set(places) - set(weights)):
        raise CheckpointError(f"{folder} holds weights that this model lacks: {', '.join(strange[:4])}.")
    if missing := sorted(set(weights) - set(places)):
        raise CheckpointError(f"{folder} lacks weights of this model: {', '.join(missing[:4])}.")
    if unlike := [name for name, weight in weights.items() if places[name].shape != weight.shape]:
        raise CheckpointError(f"{folder} holds weights of another shape: {', '.join(unlike[:4])}.")
    fill(weights, places)
