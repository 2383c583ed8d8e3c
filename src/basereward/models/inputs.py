"""What turns records into a model's inputs, as it lies in a folder: tokenizer, chat template, image processor."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer

from basereward.encoding.facts import InputFacts
from basereward.encoding.template import Template
from basereward.errors import CheckpointError
from basereward.models.facts import TrainedFacts, read_facts, read_judge_facts
from basereward.models.families import Family, family_of, weightless
from basereward.models.hub import ModelFolder, open_folder
from basereward.models.positions import position_limit

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TemplateSettings:
    """Limits of the inputs: pixels of an image, tokens of the longest sequence, and the image backend.

    ``None`` keeps what the backbone's own processor says. ``image_backend`` is ``pil`` or ``torchvision``.
    """

    min_pixels: int | None = None
    max_pixels: int | None = None
    max_length: int | None = None
    image_backend: str | None = None


def load_template(place: str | Path | ModelFolder, settings: TemplateSettings | None = None) -> Template:
    """Load the tokenizer, chat template and image processor of a folder, without weights.

    Args:
        settings: what to change; what they leave open is as stored.

    Raises:
        CheckpointError: the files are not those of the training; what has changed is named.
    """
    folder, wanted = open_folder(place), settings or TemplateSettings()
    family, stored = family_of(folder.config), read_facts(folder) or read_judge_facts(folder)
    max_length = wanted.max_length or (stored.max_length if stored else None)
    limits: dict[str, Any] = {"max_length": max_length, "positions": position_limit(folder.config)}
    if family.vision is None:
        template = Template(_load(AutoTokenizer, folder), **limits)
        found = template.facts
    else:
        processor = _load(AutoProcessor, folder)
        backend = wanted.image_backend or (stored.image_backend if stored else None)
        processor.image_processor = _load(AutoImageProcessor, folder, **({"backend": backend} if backend else {}))
        rope_model = weightless(folder.config)
        in_files = family.vision(processor, folder.config, rope_model).describe()
        processor.image_processor = _limit_pixels(processor.image_processor, family, wanted)
        vision = family.vision(processor, folder.config, rope_model)
        template = Template(processor, vision, family.axes, **limits)
        found = template.facts.model_copy(update=in_files)
    if stored:
        _check_inputs(folder, stored, found)
    return template


def _check_inputs(folder: ModelFolder, stored: TrainedFacts, found: InputFacts) -> None:
    if stored.inputs is None:
        logger.warning("%s does not say with which tokenizer and image processor it was trained.", folder.path)
    elif changed := stored.inputs.differences(found):
        raise CheckpointError(
            f"The inputs of {folder.path} are no longer those that it was trained with: {', '.join(changed)} changed, "
            f"and what it says would mean nothing. Restore its files as they were saved (by basereward "
            f"{stored.basereward_version})."
        )


def _load(auto: Any, folder: ModelFolder, **options: Any) -> Any:
    """Load by one of transformers' Auto classes, which never runs code of the folder."""
    try:
        return auto.from_pretrained(folder.path, config=folder.config, trust_remote_code=False, **options)
    except (OSError, ValueError) as error:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{folder.path} holds nothing that {auto.__name__} can load: {cause}") from error


def _limit_pixels(image_processor: Any, family: Family, settings: TemplateSettings) -> Any:
    limits = family.limit_pixels(image_processor, settings.min_pixels, settings.max_pixels)
    return type(image_processor)(**{**image_processor.to_dict(), **limits})
