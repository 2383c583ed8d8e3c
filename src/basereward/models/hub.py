"""Model folders, local or of the hub, and complete loading: a weight that is not there is an error."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub import snapshot_download
from safetensors import SafetensorError
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    GenerationConfig,
    PreTrainedConfig,
)
from transformers.utils import logging

from basereward.errors import CheckpointError, MissingFileError
from basereward.models.empty import META, mark_weights
from basereward.models.families import family_of
from basereward.models.foreign import UNREADABLE
from basereward.models.quantization import QuantizationSettings, check_unquantised, loading_options, settle_quantised
from basereward.models.stored import SHARDS

CONFIG = "config.json"
PATTERNS = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model")


@dataclass(frozen=True)
class ModelFolder:
    """A folder on this machine whose ``config.json`` has been read, once for everyone who asks.

    Args:
        path: where it lies.
        name: what the user called it: a path or a hub id.
        content: what ``config.json`` holds.
    """

    path: Path
    name: str
    content: dict[str, Any]

    @cached_property
    def config(self) -> PreTrainedConfig:
        """The same as transformers reads it."""
        return AutoConfig.from_pretrained(self.path, trust_remote_code=False)


def resolve_folder(path: str | Path, patterns: Sequence[str] = PATTERNS) -> Path:
    """Return the local folder of a path, or download a hub id (``owner/name``, ``owner/name@revision``).

    Args:
        patterns: the files to fetch from the hub.

    Raises:
        MissingFileError: neither a folder nor a hub id that can be downloaded.
        CheckpointError: the hub's ``config.json`` needs code of the repository.
    """
    if not Path(path).is_dir():
        # The configuration alone first: a model that cannot be used is refused before its weights are fetched.
        _read_config(fetch_folder(path, [CONFIG]), str(path).partition("@")[0])
    return fetch_folder(path, patterns)


def fetch_folder(path: str | Path, patterns: Sequence[str]) -> Path:
    """Return the local folder of a path, or download a hub id, whatever model it holds.

    Raises:
        MissingFileError: neither a folder nor a hub id that can be downloaded.
    """
    if Path(path).is_dir():
        return Path(path)
    name, _, revision = str(path).partition("@")
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise MissingFileError(
            f"No folder {str(path)!r}, and it is not a hub id; expected the folder of a model, or owner/name."
        )
    return _download(name, revision, patterns)


def read_json_config(folder: Path, name: str) -> dict[str, Any]:
    """Return what ``config.json`` holds, whatever model it describes.

    Args:
        name: what the user called the folder.

    Raises:
        CheckpointError: it is not there, or no JSON object.
    """
    file = folder / CONFIG
    if not file.exists():
        # The model of a run lies inside it.
        meant = f" Did you mean {Path(name) / 'model'}?" if (folder / "model" / CONFIG).exists() else ""
        raise CheckpointError(f"{name} has no {CONFIG}; expected a Hugging Face model folder.{meant}")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{file} is not JSON: {error}.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{file} holds {type(content).__name__}, expected an object.")
    return content


def open_folder(place: str | Path | ModelFolder, patterns: Sequence[str] = PATTERNS) -> ModelFolder:
    """Return a model folder with its configuration read; one that is open already is returned as it is.

    Args:
        patterns: the files to fetch from the hub.

    Raises:
        MissingFileError: neither a folder nor a hub id that can be downloaded.
        CheckpointError: no readable ``config.json``, or one that needs code of the repository or of another project;
            or the weights of a sharded run, which are to be merged first.
    """
    if isinstance(place, ModelFolder):
        return place
    path = resolve_folder(place, patterns)
    if (path / SHARDS).is_dir():
        raise CheckpointError(
            f"{place} is a checkpoint of a sharded run, whose weights are in parts; make a model of it first: "
            f"basereward merge {place}."
        )
    return ModelFolder(path, str(place), _read_config(path, str(place)))


def load_complete(
    auto: Any,
    place: str | Path | ModelFolder,
    dtype: torch.dtype | None = None,
    is_empty: bool = False,
    quantization: QuantizationSettings | None = None,
) -> Any:
    """Load a model by one of transformers' Auto classes; every weight must be there.

    Args:
        dtype: by default the stored one.
        is_empty: leave the weights on the meta device, where they only know where they lie.
        quantization: hold linear layers of the text model in 4 bits.

    Raises:
        CheckpointError: weights are missing or have another shape; they would be random. Or they are to be quantised
            and are so already.
        MissingExtraError: bitsandbytes is needed and not installed.
    """
    folder = open_folder(place)
    # Ignored sizes are reported, and refused below with their names.
    options: dict[str, Any] = {"output_loading_info": True, "ignore_mismatched_sizes": True}
    if is_empty:
        options["device_map"] = META
    config = folder.config
    if quantization:
        check_unquantised(folder.content, folder.name)
        options |= loading_options(quantization, family_of(config))
    asked = "auto" if quantization or dtype is None else dtype
    try:
        with quiet_loading():
            model, info = auto.from_pretrained(folder.path, config=config, dtype=asked, **options)
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"{folder.path} holds no readable weights for {auto.__name__}: {error}") from error
    missing = sorted(info["missing_keys"]) + sorted(str(key[0]) for key in info["mismatched_keys"])
    if missing:
        raise CheckpointError(
            f"{folder.path} lacks {len(missing)} weights, or has them in another shape "
            f"({', '.join(missing[:4])}{', ...' * (len(missing) > 4)}); they would be random. "
            f"Expected the hub layout of {type(model).__name__}."
        )
    if is_empty:
        mark_weights(model, folder.path)
    if quantization:
        settle_quantised(model, dtype)
    return model


def load_backbone(
    place: str | Path | ModelFolder,
    dtype: torch.dtype | None = None,
    is_empty: bool = False,
    quantization: QuantizationSettings | None = None,
) -> Any:
    """Load a backbone of a known family without its vocabulary head; every weight must be there.

    Args:
        dtype: by default the stored one.
        is_empty: as for ``load_complete``.
        quantization: as for ``load_complete``.

    Raises:
        CheckpointError: another family, or weights are missing or have another shape.
    """
    folder = open_folder(place)
    family_of(folder.config)
    model = load_complete(AutoModel, folder, dtype, is_empty, quantization)
    # Adapters store where their base came from: a hub id, since the cache of this machine is no use to another, and of
    # a folder its whole path, since the next process may stand elsewhere.
    model.name_or_path = str(Path(folder.name).absolute()) if Path(folder.name).is_dir() else folder.name
    return model


class WritingBackbone(NamedTuple):
    """A backbone, and of one that writes its vocabulary head and how it generates: what ends an answer, above all."""

    backbone: Any
    lm_head: Any
    generation: GenerationConfig | None


def load_writer(
    place: str | Path | ModelFolder, dtype: torch.dtype | None = None, is_empty: bool = False
) -> WritingBackbone:
    """Load a backbone of a known family with its vocabulary head; every weight must be there.

    Args:
        dtype: by default the stored one.
        is_empty: as for ``load_complete``.

    Raises:
        CheckpointError: another family, or weights are missing, such as the vocabulary head of a Naive-RM.
    """
    folder = open_folder(place)
    auto = AutoModelForImageTextToText if family_of(folder.config).vision_module else AutoModelForCausalLM
    model = load_complete(auto, folder, dtype, is_empty)
    return WritingBackbone(model.model, model.lm_head, model.generation_config)


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Silence transformers' load report, which calls the reward head unexpected; missing weights are our error."""
    level, has_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if has_bar:
            logging.enable_progress_bar()


def _download(name: str, revision: str, patterns: Sequence[str]) -> Path:
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=list(patterns)))
    except Exception as error:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MissingFileError(
            f"No folder {name!r}, and the hub did not give it: {cause.removesuffix('.')}. Check the name and the "
            "network, or give the folder of a copy."
        ) from error


def _read_config(folder: Path, name: str) -> dict[str, Any]:
    content = read_json_config(folder, name)
    kind = content.get("model_type")
    if kind in UNREADABLE:
        raise CheckpointError(f"{name} is a {kind!r}: {UNREADABLE[kind]}")
    if "auto_map" in content and kind not in CONFIG_MAPPING:
        raise CheckpointError(
            f"{name} is a {kind!r} that only the Python code in its repository can read, and no code of repositories "
            "is run here. Use the checkpoint in transformers' own layout; those of InternVL end in -hf "
            f"(OpenGVLab/InternVL3-8B-hf), and others of InternVL are converted by basereward import {name}."
        )
    return content
