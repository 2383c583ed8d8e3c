"""Reward models on disk: the hub layout of the backbone, plus a head, plus what a reader must know."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import save_torch_state_dict
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedConfig

from basereward import __version__
from basereward.data.record import DataRecord, write_record
from basereward.encoding.template import Template
from basereward.errors import CheckpointError
from basereward.models import adapter_files
from basereward.models.backends import Backend
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
from basereward.models.parts import HEAD_PREFIX, new_parts, read_tensors, stored_parts
from basereward.models.reward_model import RewardModel

HEAD_FILE = "reward_head.safetensors"


def new_reward_model(
    backbone: str | Path | ModelFolder,
    head: HeadSettings | None = None,
    template: TemplateSettings | Template | None = None,
    *,
    dtype: torch.dtype | None = torch.float32,
    backend: Backend = "auto",
    role: WritingRole | None = None,
    head_seed: int | None = None,
) -> RewardModel:
    """Put a new head on a backbone; of a judge there is none, and the model is a backbone that goes on writing.

    Args:
        backbone: folder or hub id.
        template: a template of this backbone that is loaded already, or what to change in the stored one.
        dtype: of the backbone, None for the stored one; train in fp32, other dtypes are for frozen weights.
        role: of a critic or a judge, how it is asked.
        head_seed: head k is drawn with ``head_seed + k``; None draws from torch's own generator.

    Raises:
        CheckpointError: backbone weights are missing, or it is a reward model, whose head would be lost.
    """
    return RewardModel.from_parts(new_parts(backbone, head, template, dtype, role, head_seed), backend)


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
) -> RewardModel:
    """Load a reward model to train it on: its head is kept, and ``data_record`` says what it was trained on so far.

    Args:
        template: the model's template if it is loaded already, or what to change in the stored one.
        dtype: of the backbone, as for ``new_reward_model``.

    Raises:
        CheckpointError: no reward model, or adapters, whose base would no longer be the one that they name.
    """
    folder = open_folder(path)
    if adapter_files.is_adapter(folder.path):
        raise CheckpointError(
            f"{folder.name} holds adapters; merge them into a whole model to train on from it: "
            f"basereward merge {folder.name} OUT."
        )
    return RewardModel.from_parts(stored_parts(folder, dtype, template), backend)


def save_reward_model(
    model: RewardModel,
    path: str | Path,
    *,
    state_dict: Mapping[str, Tensor] | None = None,
    dtype: torch.dtype | None = None,
    max_shard_size: str = "5GB",
) -> Path:
    """Write a reward model: weights in the hub layout, head, configuration, processor, chat template, data record.

    Args:
        state_dict: gathered weights of a sharded model; by default the model's own.
        dtype: of the stored backbone; the head stays fp32.
    """
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    state = dict(state_dict if state_dict is not None else model.state_dict())
    head = {HEAD_PREFIX + k.removeprefix("head."): v.float() for k, v in state.items() if k.startswith("head.")}
    body = {k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")}
    if model.is_adapted:
        adapter_files.save_adapter(model.backbone, folder, body)
        save_file({key: value.contiguous().cpu() for key, value in head.items()}, folder / HEAD_FILE)
    else:
        weights = {
            model.family.to_hub(name): model.family.turn(name, tensor.to(dtype or tensor.dtype))
            for name, tensor in body.items()
        }
        words = {model.family.lm_head + k.removeprefix("lm_head."): v for k, v in state.items() if _is_word(model, k)}
        words = {name: tensor.to(dtype or tensor.dtype) for name, tensor in words.items()}
        save_torch_state_dict({**weights, **words, **head}, folder, max_shard_size=max_shard_size)
        for name in (adapter_files.CONFIG, adapter_files.WEIGHTS, HEAD_FILE):
            # An adapter that was saved here before would be loaded instead, with its old head.
            (folder / name).unlink(missing_ok=True)
    model.template.processor.save_pretrained(folder)
    if model.generation is not None:
        model.generation.save_pretrained(folder)
    _write_config(model, folder, dtype)
    if model.data_record is not None:
        write_record(model.data_record, folder)
    return folder


def _is_word(model: RewardModel, name: str) -> bool:
    """Whether a weight is of a vocabulary head that is stored; one that is tied to the embeddings is not."""
    return name.startswith("lm_head.") and model.lm_head.weight is not model.backbone.get_input_embeddings().weight


def read_weights(model: RewardModel, folder: Path) -> dict[str, Tensor]:
    """Return the stored weights under the names of ``model.state_dict()``: all of them, or adapter and head.

    Raises:
        CheckpointError: a stored weight has no place in the model.
    """
    native = adapter_files.adapter_name if model.is_adapted else model.family.to_native
    state = {}
    for name, tensor in read_tensors(folder).items():
        if name.startswith(HEAD_PREFIX):
            state["head." + name.removeprefix(HEAD_PREFIX)] = tensor
        elif model.lm_head is not None and name.startswith(model.family.lm_head):
            state["lm_head." + name.removeprefix(model.family.lm_head)] = tensor
        else:
            state["backbone." + native(name)] = tensor if model.is_adapted else model.family.turn(name, tensor)
    if model.lm_head is not None and "lm_head.weight" not in state:
        tied = model.backbone.get_input_embeddings().weight
        state["lm_head.weight"] = state[next(name for name, own in model.named_parameters() if own is tied)]
    strange = sorted(set(state) - set(model.state_dict()))
    if strange:
        raise CheckpointError(f"{folder} holds weights that this model lacks: {', '.join(strange[:4])}.")
    return state


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
