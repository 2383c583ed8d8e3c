"""Reward models on disk: the hub layout of the backbone, plus a head, plus what a reader must know."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedConfig

from basereward import __version__
from basereward.data.record import DataRecord, write_record
from basereward.encoding.template import Template
from basereward.errors import CheckpointError
from basereward.models import adapter_files
from basereward.models.backends import Backend
from basereward.models.card.file import forget_card, write_card
from basereward.models.facts import (
    JUDGE_SECTION,
    SECTION,
    CriticRole,
    JudgeFacts,
    JudgeRole,
    RewardFacts,
    WritingRole,
)
from basereward.models.head import HeadSettings
from basereward.models.hub import CONFIG, ModelFolder, open_folder
from basereward.models.inputs import TemplateSettings
from basereward.models.parts import HEAD_PREFIX, new_parts, stored_parts
from basereward.models.reward_model import RewardModel
from basereward.models.sharded import fill, gather, read_shards, write_shards
from basereward.models.stored import SHARDS, TensorFacts, find_tensors, write_weights

HEAD_FILE = "reward_head.safetensors"
SHARD_BYTES = 5 * 10**9


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
) -> RewardModel:
    """Put a new head on a backbone; of a judge there is none, and the model is a backbone that goes on writing.

    Args:
        backbone: folder or hub id.
        template: a template of this backbone that is loaded already, or what to change in the stored one.
        dtype: of the backbone, None for the stored one; train in fp32, other dtypes are for frozen weights.
        role: of a critic or a judge, how it is asked.
        head_seed: head k is drawn with ``head_seed + k``; None draws from torch's own generator.
        is_empty: leave the backbone on the meta device, to be sharded before it is read.

    Raises:
        CheckpointError: backbone weights are missing, or it is a reward model, whose head would be lost.
    """
    return RewardModel.from_parts(new_parts(backbone, head, template, dtype, role, head_seed, is_empty), backend)


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
) -> RewardModel:
    """Load a reward model to train it on: its head is kept, and ``data_record`` says what it was trained on so far.

    Args:
        template: the model's template if it is loaded already, or what to change in the stored one.
        dtype: of the backbone, as for ``new_reward_model``.
        is_empty: as for ``new_reward_model``.

    Raises:
        CheckpointError: no reward model, or adapters, whose base would no longer be the one that they name.
    """
    folder = open_folder(path)
    if adapter_files.is_adapter(folder.path):
        raise CheckpointError(
            f"{folder.name} holds adapters; merge them into a whole model to train on from it: "
            f"basereward merge {folder.name} OUT."
        )
    return RewardModel.from_parts(stored_parts(folder, dtype, template, is_empty), backend)


def save_reward_model(
    model: RewardModel,
    path: str | Path,
    *,
    dtype: torch.dtype | None = None,
    shard_bytes: int = SHARD_BYTES,
    is_writer: bool = True,
) -> Path:
    """Write a reward model: weights in the hub layout, head, configuration, processor, template, data record and card.

    Collective if the model is sharded: a whole weight is gathered at a time, and no rank holds the whole model.

    Args:
        dtype: of the stored backbone; the head stays fp32.
        shard_bytes: largest file of weights, which is what is in memory at once.
        is_writer: whether this rank writes; the others only gather.
    """
    folder = Path(path)
    if is_writer:
        folder.mkdir(parents=True, exist_ok=True)
    if model.is_adapted:
        _save_adapter(model, folder, is_writer)
    else:
        _save_whole(model, folder, dtype, shard_bytes, is_writer)
    if is_writer:
        _save_rest(model, folder, dtype)
        write_card(folder)
    return folder


def save_shards(model: RewardModel, path: str | Path, is_writer: bool) -> None:
    """Write a sharded whole model to go on from: each rank its part, one of them the rest, no card (collective).

    Args:
        is_writer: whether this rank writes the rest.
    """
    folder = Path(path)
    write_shards(live_weights(model), folder / SHARDS)
    if is_writer:
        _save_rest(model, folder, None)


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


def live_weights(model: RewardModel) -> dict[str, Tensor]:
    """Return the weights of a model that its checkpoint holds, sharing their memory, by the names that they have there.

    Of a model with adapters these are adapters and head; a vocabulary head that is tied to the embeddings is none.
    """
    state = model.state_dict()
    head = {HEAD_PREFIX + k.removeprefix("head."): v for k, v in state.items() if k.startswith("head.")}
    body = {k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")}
    if model.is_adapted:
        return {adapter_files.stored_name(k): v for k, v in body.items() if adapter_files.is_of_adapter(k)} | head
    weights = {model.family.to_hub(name): model.family.turn(name, tensor) for name, tensor in body.items()}
    words = {model.family.lm_head + k.removeprefix("lm_head."): v for k, v in state.items() if _is_word(model, k)}
    return {**weights, **words, **head}


def _save_whole(model: RewardModel, folder: Path, dtype: torch.dtype | None, shard_bytes: int, is_writer: bool) -> None:
    weights = live_weights(model)
    kinds = {name: _stored_dtype(name, weight, dtype) for name, weight in weights.items()}
    if not is_writer:
        for name, weight in weights.items():
            gather(weight, kinds[name])
        return
    facts = {name: TensorFacts(tuple(weight.shape), kinds[name]) for name, weight in weights.items()}
    write_weights(folder, facts, lambda name: gather(weights[name], kinds[name]), shard_bytes)
    for name in (adapter_files.CONFIG, adapter_files.WEIGHTS, HEAD_FILE):
        # An adapter that was saved here before would be loaded instead, with its old head.
        (folder / name).unlink(missing_ok=True)


def _save_adapter(model: RewardModel, folder: Path, is_writer: bool) -> None:
    gathered = {name: gather(weight, weight.dtype).cpu() for name, weight in live_weights(model).items()}
    if not is_writer:
        return
    head = {name: weight.contiguous() for name, weight in gathered.items() if name.startswith(HEAD_PREFIX)}
    adapter = {adapter_files.adapter_name(name): weight for name, weight in gathered.items() if name not in head}
    adapter_files.save_adapter(model.backbone, folder, adapter)
    save_file(head, folder / HEAD_FILE)


def _save_rest(model: RewardModel, folder: Path, dtype: torch.dtype | None) -> None:
    """Write what belongs to a model beside its weights and its card, which is written of a whole model alone."""
    model.template.processor.save_pretrained(folder)
    if model.generation is not None:
        model.generation.save_pretrained(folder)
    _write_config(model, folder, dtype)
    if model.data_record is not None:
        write_record(model.data_record, folder)
    forget_card(folder)


def _stored_dtype(name: str, weight: Tensor, dtype: torch.dtype | None) -> torch.dtype:
    return torch.float32 if name.startswith(HEAD_PREFIX) else dtype or weight.dtype


def _is_word(model: RewardModel, name: str) -> bool:
    """Whether a weight is of a vocabulary head that is stored; one that is tied to the embeddings is not."""
    return name.startswith("lm_head.") and model.lm_head.weight is not model.backbone.get_input_embeddings().weight


def _write_config(model: RewardModel, folder: Path, dtype: torch.dtype | None) -> None:
    """Write config.json; these keys go in afterwards, because ``save_pretrained`` drops or overwrites them."""
    config: PreTrainedConfig = model.config
    config.save_pretrained(folder)
    file = folder / CONFIG
    content = json.loads(file.read_text())
    stored = dtype or next(model.backbone.parameters()).dtype
    content |= {"dtype": str(stored).removeprefix("torch."), **_sections(model)}
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def _sections(model: RewardModel) -> dict[str, Any]:
    if isinstance(model.role, JudgeRole):
        # Whatever generates reads it: transformers, vLLM, and ``judge:`` here.
        facts = JudgeFacts(**_trained_facts(model), role=model.role)
        return {"architectures": [model.family.generator], JUDGE_SECTION: facts.to_dict()}
    return {
        "architectures": [f"{model.family.architecture}ForReward"],
        "num_labels": 1,
        "problem_type": "regression",
        SECTION: reward_facts(model).to_dict(),
    }


def reward_facts(model: RewardModel) -> RewardFacts:
    """Return the ``reward`` section of a checkpoint's configuration."""
    return RewardFacts(
        **_trained_facts(model),
        head=model.head.settings,
        base_weights=model.base_weights,
        critic=model.role if isinstance(model.role, CriticRole) else None,
    )


def _trained_facts(model: RewardModel) -> dict[str, Any]:
    return trained_facts(model.template, model.data_record)


def trained_facts(template: Template, record: DataRecord | None) -> dict[str, Any]:
    """Return what the section of any trained model says of its inputs and its data."""
    return {
        "inputs": template.facts,
        "max_length": template.max_length,
        "image_backend": template.vision.backend if template.vision else None,
        "pixels": template.vision.pixels if template.vision else None,
        "data_hash": record.fingerprint if record else None,
        "basereward_version": __version__,
    }
