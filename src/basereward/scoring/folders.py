"""Scorers from model folders and hub ids: reward models of any kind, and backbones for their hidden states."""

from pathlib import Path
from typing import get_args

from basereward.errors import CheckpointError, MissingFileError, ScoringError
from basereward.models.adapter_files import base_folder, is_adapter
from basereward.models.backends import Backend
from basereward.models.facts import SECTION, read_facts
from basereward.models.foreign import FOREIGN_HEADS
from basereward.models.hub import ModelFolder, open_folder
from basereward.models.parts import has_head
from basereward.models.reward_model import RewardModel
from basereward.registry import close_names
from basereward.scoring.baselines import BASELINES, PREFIX
from basereward.scoring.classifier import ClassifierScorer
from basereward.scoring.compose.files import SUFFIXES, read_spec
from basereward.scoring.critics import CriticScorer
from basereward.scoring.devices import parse_device, parse_dtype
from basereward.scoring.interface import Scorer
from basereward.scoring.local import LocalScorer
from basereward.scoring.model_spec import ModelSpec, OpenSpec
from basereward.scoring.weights import Weights

_BASELINES = PREFIX + "|".join(BASELINES.names())
FORMS = f"a checkpoint folder, a hub id (owner/name), http://HOST:PORT, a .yaml file, or {_BASELINES}"


def open_model(member: ModelSpec, open_spec: OpenSpec) -> Scorer:
    """Return the scorer of a basereward checkpoint, a one-label text classifier, or another library's head.

    Raises:
        MissingFileError: neither a folder nor a hub id that can be downloaded.
        CheckpointError: the folder holds no scalar reward model.
        ScoringError: no such dtype, device or backend, or options of a critic for another model.
    """
    folder = _open(member)
    architectures = folder.content.get("architectures") or []
    is_classifier = any(name.endswith("ForSequenceClassification") for name in architectures)
    if is_classifier and not {SECTION, "vision_config"} & folder.content.keys():
        return ClassifierScorer(folder, parse_dtype(member.dtype), parse_device(member.device), member.label)
    facts = read_facts(folder)
    if facts and facts.critic:
        return CriticScorer(_local(member, folder, is_bare=False), member.critic)
    if member.critic:
        raise ScoringError(f"{member.model} is no critic; leave out {member.critic!r}.")
    if has_head(folder):
        return _local(member, folder, is_bare=False)
    raise CheckpointError(
        f"{member.model} is a {', '.join(architectures) or 'model without architectures'}, not a reward model: "
        f"expected a {SECTION!r} section in config.json, *ForSequenceClassification with one label, or a linear head "
        f"named {', '.join(FOREIGN_HEADS)}. To make a reward model of a backbone, train one: basereward train RECIPE."
    )


def weights_of(folder: Path) -> Weights:
    """Return the files that decide the scores of a checkpoint: its own, and those of the base of an adapter.

    Raises:
        MissingFileError: the base is not there.
    """
    return Weights([folder, base_folder(folder)] if is_adapter(folder) else [folder])


def open_encoder(spec: str, dtype: str | None = None, device: str | None = None, backend: str = "auto") -> LocalScorer:
    """Return a reward model or a bare backbone, of a known family, for its hidden states.

    Args:
        spec: a folder, a hub id (``owner/name``), or a YAML file. A bare backbone gets a random head, whose scores mean
            nothing.
        dtype: as for ``open_scorer``.
        device: as for ``open_scorer``.
        backend: as for ``open_scorer``.

    Raises:
        MissingFileError: neither a folder nor a hub id that can be downloaded.
        CheckpointError: backbone weights are missing.
        ScoringError: a baseline, which has no hidden states, or no such dtype, device or backend.
    """
    asked = ModelSpec(model=spec, dtype=dtype, device=device, backend=backend)
    member = read_spec(asked) if spec.endswith(SUFFIXES) else asked
    if not isinstance(member, ModelSpec):
        raise ScoringError(f"{spec} is composed of several models; expected one, whose hidden states are meant.")
    if member.model.startswith(PREFIX):
        raise ScoringError(
            f"{member.model} has no hidden states; expected a checkpoint folder or a hub id (owner/name)."
        )
    folder = _open(member)
    return _local(member, folder, is_bare=not has_head(folder))


def _open(member: ModelSpec) -> ModelFolder:
    """Open a folder once for everyone who reads its configuration, after a look at what costs nothing."""
    if member.backend not in (known := get_args(Backend)):
        raise ScoringError(f"Found backend {member.backend!r}, expected one of {', '.join(known)}.")
    place = member.model
    if "://" in place:
        raise MissingFileError(f"{place} is a web address of another kind; expected {FORMS}.")
    if Path(place).is_file():
        raise MissingFileError(f"{place} is a file; expected {FORMS}.")
    if "/" not in place and not Path(place).is_dir():
        hint = close_names(place, [PREFIX + name for name in BASELINES.names()])
        raise MissingFileError(f"There is no folder {place!r}.{hint} Expected {FORMS}.")
    return open_folder(place)


def _local(member: ModelSpec, folder: ModelFolder, is_bare: bool) -> LocalScorer:
    # Before the model is loaded: a file that changes meanwhile is then found when its hash is asked for.
    weights = weights_of(folder.path)
    model = RewardModel.from_pretrained(
        folder,
        dtype=parse_dtype(member.dtype),
        device=parse_device(member.device),
        backend=member.backend,  # type: ignore[arg-type]
        new_head=is_bare,
    )
    return LocalScorer(model, member.label, weights=weights)
