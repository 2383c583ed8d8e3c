"""LoRA adapters on disk: their weights, and the base that they change, known by its name and its weights."""

import hashlib
import json
import re
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from basereward.errors import CheckpointError, MissingExtraError, MissingFileError
from basereward.models.hub import load_backbone, resolve_folder
from basereward.models.quantization import QuantizationSettings
from basereward.models.stored import open_tensors

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
# Numbers of one tensor that its fingerprint reads: small ones whole, of large ones rows at equal distances.
SAMPLE = 2**16


class AdaptedBackbone(NamedTuple):
    """A backbone, with an adapter if there is one, and then the fingerprint of its base's weights."""

    model: Any
    base_weights: str | None = None


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and not a whole backbone."""
    return (folder / CONFIG).exists()


def base_folder(folder: Path) -> Path:
    """Return the folder of the backbone that an adapter changes, downloaded if its name is a hub id.

    Raises:
        MissingFileError: it is not there; the message names the adapter that needs it.
    """
    name = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["base_model_name_or_path"]
    try:
        return resolve_folder(name)
    except MissingFileError as error:
        raise MissingFileError(
            f"{folder} is an adapter of {name!r}, which is not there. {error} Put the base there, or write its place "
            f"under base_model_name_or_path in {folder / CONFIG}."
        ) from error


def load_adapter(
    folder: Path,
    dtype: torch.dtype | None = None,
    base_weights: str | None = None,
    quantization: QuantizationSettings | None = None,
) -> AdaptedBackbone:
    """Load the base that an adapter names and put the adapter on it.

    Args:
        dtype: of the base; by default the stored one.
        base_weights: the fingerprint that the base had in training, None if it is unknown.
        quantization: how the base was held in training, None if it was whole: on other weights rewards would differ.

    Raises:
        MissingExtraError: peft is not installed, or bitsandbytes if it is needed.
        MissingFileError: the base is not there.
        CheckpointError: another base, or adapter weights are missing; they would do nothing.
    """
    file = folder / WEIGHTS
    if not file.exists():
        raise CheckpointError(f"{folder} has an {CONFIG}, but no {WEIGHTS}.")
    base = base_folder(folder)
    found = weights_fingerprint(base)
    if base_weights and found != base_weights:
        raise CheckpointError(
            f"{folder} is an adapter of a base with weights {base_weights}, but {base} has weights {found}; on another "
            f"base its rewards mean nothing. Put the base of its training there, or correct base_model_name_or_path in "
            f"{folder / CONFIG}."
        )
    model = import_peft().PeftModel.from_pretrained(load_backbone(base, dtype, quantization=quantization), folder)
    with open_tensors(file) as opened:
        stored = {adapter_name(name) for name in opened.keys()}  # noqa: SIM118
    missing = sorted(name for name in model.state_dict() if is_of_adapter(name) and name not in stored)
    if missing:
        raise CheckpointError(f"{folder} lacks {len(missing)} adapter weights: {', '.join(missing[:4])}.")
    return AdaptedBackbone(model, found)


def adapter_name(stored: str) -> str:
    """Return a stored adapter weight's name in the live model, which adds the adapter's own name."""
    # PEFT stores the magnitudes of DoRA without the name of their tensor.
    stored = re.sub(r"\.lora_magnitude_vector$", r".lora_magnitude_vector.weight", stored)
    return re.sub(r"\.(lora_[AB]|lora_magnitude_vector)\.weight$", r".\1.default.weight", stored)


def stored_name(live: str) -> str:
    """Return a live adapter weight's name in its file."""
    stored = re.sub(r"\.(lora_[AB]|lora_magnitude_vector)\.default\.weight$", r".\1.weight", live)
    return stored.replace(".lora_magnitude_vector.weight", ".lora_magnitude_vector")


def is_of_adapter(live: str) -> bool:
    """Whether a weight of the live model is one of its adapter."""
    return ".lora_" in live


def save_adapter(backbone: Any, folder: Path, state_dict: Mapping[str, Tensor]) -> None:
    """Write adapter weights and configuration."""
    # PEFT would write a card of its own, into ours if there is one.
    card = folder / "README.md"
    before = card.read_bytes() if card.is_file() else None
    # Embeddings are never adapted; by default PEFT would ask the hub whether they have grown.
    backbone.save_pretrained(folder, state_dict=dict(state_dict), save_embedding_layers=False)
    if before is None:
        card.unlink(missing_ok=True)
    else:
        card.write_bytes(before)


def weights_fingerprint(folder: Path) -> str:
    """Return a hash of a folder's weights: names, types, shapes and a sample of every tensor, heads left out.

    It does not depend on how the tensors are spread over files. Another training, another type or another model gives
    another hash; a single number changed by hand in a large tensor may not.
    """
    facts = {}
    for file in sorted(folder.glob("*.safetensors")):
        with open_tensors(file) as opened:
            names = [name for name in opened.keys() if not name.startswith(("reward_head.", "lm_head."))]  # noqa: SIM118
            facts.update({name: _sample(opened, name) for name in names})
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def import_peft() -> Any:
    """Return the module.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import peft
    except ImportError as error:
        raise MissingExtraError("LoRA needs peft; install it with: pip install 'basereward[peft]'.") from error
    return peft


def _sample(opened: Any, name: str) -> tuple[str, list[int], str]:
    piece = opened.get_slice(name)
    shape = piece.get_shape()
    # A step over rows, as long as what it takes is SAMPLE numbers; a scalar has no rows.
    read = piece[:: max(1, prod(shape) // SAMPLE)] if shape else opened.get_tensor(name)
    numbers = read.contiguous().flatten().view(torch.uint8).numpy()
    return piece.get_dtype(), shape, hashlib.sha256(numbers.tobytes()).hexdigest()
