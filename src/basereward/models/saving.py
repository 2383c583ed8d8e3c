"""Reward models written to disk and to the hub: weights in the hub layout, head, and what a reader must know."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import torch
from huggingface_hub import HfApi
from safetensors.torch import save_file
from torch import Tensor
from transformers import GenerationConfig, PreTrainedConfig

from basereward import __version__
from basereward.data.record import DataRecord, write_record
from basereward.encoding.template import Template
from basereward.models import adapter_files
from basereward.models.card.file import forget_card, write_card
from basereward.models.facts import JUDGE_SECTION, SECTION, CriticRole, JudgeFacts, JudgeRole, RewardFacts, WritingRole
from basereward.models.families import Family
from basereward.models.hub import CONFIG
from basereward.models.parts import HEAD_PREFIX
from basereward.models.quantization import QuantizationSettings
from basereward.models.sharded import gather, write_shards
from basereward.models.stored import SHARDS, TensorFacts, write_weights

HEAD_FILE = "reward_head.safetensors"
SHARD_BYTES = 5 * 10**9


class Saved(Protocol):
    """What is written of a reward model; the model itself stands above this module."""

    backbone: Any
    head: Any
    lm_head: Any
    data_record: DataRecord | None
    base_weights: str | None
    quantization: QuantizationSettings | None
    role: WritingRole | None
    generation: GenerationConfig | None

    @property
    def config(self) -> Any:
        """The backbone's configuration."""

    @property
    def family(self) -> Family:
        """The backbone's row in the family table."""

    @property
    def template(self) -> Template:
        """Turns groups into tokens."""

    @property
    def is_adapted(self) -> bool:
        """Whether the backbone carries PEFT adapters."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return all weights by name."""


def save_reward_model(
    model: Saved,
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
        # A card speaks of a model that can be opened; parts of one have theirs when they are joined.
        write_card(folder)
    return folder


def push_reward_model(
    model: Saved, repo: str, *, private: bool | None = None, message: str | None = None, revision: str | None = None
) -> str:
    """Write a reward model into a repository of the hub, which is made if it is not there; return the commit's address.

    Args:
        repo: ``owner/name``.
        private: whether a new repository is private; the owner's default if not given.
        message: of the commit.
        revision: branch to write to.
    """
    with TemporaryDirectory() as folder:
        save_reward_model(model, folder)
        return push_folder(Path(folder), repo, private=private, message=message, revision=revision)


def push_folder(
    folder: Path, repo: str, *, private: bool | None = None, message: str | None = None, revision: str | None = None
) -> str:
    """Write a model folder into a repository of the hub, as ``push_reward_model``; return the commit's address."""
    hub = HfApi()
    hub.create_repo(repo, private=private, exist_ok=True)
    done = hub.upload_folder(
        repo_id=repo, folder_path=folder, commit_message=message or "Upload a reward model", revision=revision
    )
    return str(done.commit_url)


def save_shards(model: Saved, path: str | Path, is_writer: bool) -> None:
    """Write a sharded whole model to go on from: each rank its part, one of them the rest (collective).

    Args:
        is_writer: whether this rank writes the rest.
    """
    folder = Path(path)
    write_shards(live_weights(model), folder / SHARDS)
    if is_writer:
        _save_rest(model, folder, None)


def live_weights(model: Saved) -> dict[str, Tensor]:
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


def _save_whole(model: Saved, folder: Path, dtype: torch.dtype | None, shard_bytes: int, is_writer: bool) -> None:
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


def _save_adapter(model: Saved, folder: Path, is_writer: bool) -> None:
    gathered = {name: gather(weight, weight.dtype).cpu() for name, weight in live_weights(model).items()}
    if not is_writer:
        return
    head = {name: weight.contiguous() for name, weight in gathered.items() if name.startswith(HEAD_PREFIX)}
    adapter = {adapter_files.adapter_name(name): weight for name, weight in gathered.items() if name not in head}
    adapter_files.save_adapter(model.backbone, folder, adapter)
    save_file(head, folder / HEAD_FILE)


def _save_rest(model: Saved, folder: Path, dtype: torch.dtype | None) -> None:
    """Write what belongs to a model beside its weights."""
    model.template.processor.save_pretrained(folder)
    if model.generation is not None:
        model.generation.save_pretrained(folder)
    _write_config(model, folder, dtype)
    if model.data_record is not None:
        write_record(model.data_record, folder)
    forget_card(folder)


def _stored_dtype(name: str, weight: Tensor, dtype: torch.dtype | None) -> torch.dtype:
    return torch.float32 if name.startswith(HEAD_PREFIX) else dtype or weight.dtype


def _is_word(model: Saved, name: str) -> bool:
    """Whether a weight is of a vocabulary head that is stored; one that is tied to the embeddings is not."""
    return name.startswith("lm_head.") and model.lm_head.weight is not model.backbone.get_input_embeddings().weight


def _write_config(model: Saved, folder: Path, dtype: torch.dtype | None) -> None:
    """Write config.json; these keys go in afterwards, because ``save_pretrained`` drops or overwrites them."""
    config: PreTrainedConfig = model.config
    config.save_pretrained(folder)
    file = folder / CONFIG
    content = json.loads(file.read_text(encoding="utf-8"))
    stored = dtype or next(model.backbone.parameters()).dtype
    content |= {"dtype": str(stored).removeprefix("torch."), **_sections(model)}
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _sections(model: Saved) -> dict[str, Any]:
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


def reward_facts(model: Saved) -> RewardFacts:
    """Return the ``reward`` section of a checkpoint's configuration."""
    return RewardFacts(
        **_trained_facts(model),
        head=model.head.settings,
        base_weights=model.base_weights,
        quantization=model.quantization,
        critic=model.role if isinstance(model.role, CriticRole) else None,
    )


def _trained_facts(model: Saved) -> dict[str, Any]:
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
