"""From what a user writes after MODEL to a scorer: a folder, a hub id, or a trivial baseline."""

import json
from pathlib import Path
from typing import Any

from basereward.errors import CheckpointError
from basereward.scoring.baselines import BASELINES
from basereward.scoring.interface import Scorer

BASELINE_PREFIX = "baseline:"


def open_scorer(spec: str, dtype: str | None = None, device: str | None = None, backend: str = "auto") -> Scorer:
    """Return the scorer that a spec names.

    Args:
        spec: ``baseline:longer``, a folder, or a hub id (``owner/name``); the model may be a basereward
            checkpoint or any one-label text ``*ForSequenceClassification``.
        dtype: ``float32`` or ``bfloat16``; by default as stored.
        device: by default CUDA if there is one.
        backend: ``auto``, ``plain`` or ``split``.

    Raises:
        UnknownNameError: no such baseline.
        MissingFileError: neither a folder nor a hub id that can be downloaded.
        CheckpointError: the folder holds no scalar reward model.
    """
    if spec.startswith(BASELINE_PREFIX):
        return BASELINES.get(spec.removeprefix(BASELINE_PREFIX))
    import torch

    from basereward.models.checkpoint import resolve_folder
    from basereward.models.reward_model import RewardModel
    from basereward.scoring.classifier import ClassifierScorer
    from basereward.scoring.local import LocalScorer

    folder = resolve_folder(spec)
    config = _read_config(folder)
    precision = getattr(torch, dtype) if dtype else None
    if "reward" in config:
        model = RewardModel.from_pretrained(folder, dtype=precision, device=device, backend=backend)  # type: ignore[arg-type]
        return LocalScorer(model, spec)
    architectures = config.get("architectures") or []
    if any(name.endswith("ForSequenceClassification") for name in architectures):
        return ClassifierScorer(folder, precision, device)
    raise CheckpointError(
        f"{spec} is a {', '.join(architectures) or 'model without architectures'}, not a reward model: expected a "
        "'reward' section in config.json, or *ForSequenceClassification with one label."
    )


def _read_config(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    if not file.exists():
        raise CheckpointError(f"{folder} has no config.json; expected a Hugging Face model folder.")
    return json.loads(file.read_text())
