"""What a reward model is put together from, as it lies in a folder: backbone, head, inputs, data record."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import GenerationConfig

from basereward.data.record import DataRecord, read_record
from basereward.encoding.template import Template
from basereward.errors import CheckpointError
from basereward.models.adapter_files import AdaptedBackbone, is_adapter, load_adapter
from basereward.models.facts import SECTION, JudgeRole, WritingRole, read_facts
from basereward.models.foreign import FOREIGN_HEADS, FOREIGN_TWO_LAYERS, find_foreign_head
from basereward.models.head import HeadSettings, RewardHead, RewardHeads, draw_head
from basereward.models.hub import ModelFolder, WritingBackbone, load_backbone, load_writer, open_folder
from basereward.models.inputs import TemplateSettings, load_template
from basereward.models.quantization import QuantizationSettings
from basereward.models.stored import open_tensors

HEAD_PREFIX = "reward_head."


class Parts(NamedTuple):
    """The parts of a reward model.

    ``base_weights`` is the fingerprint of the base below adapters, ``quantization`` how its linear layers are held.
    A model that writes has a vocabulary head, how it generates and how it is asked; a judge has no reward head.
    """

    backbone: Any
    head: RewardHead | RewardHeads | None
    template: Template
    data_record: DataRecord | None = None
    base_weights: str | None = None
    lm_head: Any = None
    generation: GenerationConfig | None = None
    role: WritingRole | None = None
    quantization: QuantizationSettings | None = None


class StoredHead(NamedTuple):
    """The shape of a head and its fp32 weights, by the names of ``RewardHead`` or ``RewardHeads``."""

    settings: HeadSettings
    weights: dict[str, Tensor]


def new_parts(
    place: str | Path | ModelFolder,
    head: HeadSettings | None = None,
    template: TemplateSettings | Template | None = None,
    dtype: torch.dtype | None = torch.float32,
    role: WritingRole | None = None,
    head_seed: int | None = None,
    is_empty: bool = False,
    quantization: QuantizationSettings | None = None,
) -> Parts:
    """Load a backbone and draw a new head; a model that writes keeps its vocabulary head, and a judge has no other.

    Args:
        template: a template of this backbone that is loaded already, or what to change in the stored one.
        dtype: of the backbone, None for the stored one.
        role: of a model that writes.
        head_seed: as ``draw_head`` takes it.
        is_empty: leave the backbone on the meta device, where its weights only know where they lie.
        quantization: hold linear layers of the backbone in 4 bits; not of a model that writes.

    Raises:
        CheckpointError: backbone weights are missing, or it is a reward model, whose head would be lost.
    """
    folder = open_folder(place)
    if has_head(folder):
        raise CheckpointError(
            f"{folder.name} is a reward model: a new head would throw away the one that it has. To train on from it, "
            "name it under model.init_from; a backbone is a model without a reward head."
        )
    if role:
        writer = load_writer(folder, dtype, is_empty)
    else:
        writer = WritingBackbone(load_backbone(folder, dtype, is_empty, quantization), None, None)
    width = writer.backbone.config.get_text_config().hidden_size
    new_head = None if isinstance(role, JudgeRole) else draw_head(width, head or HeadSettings(), head_seed)
    # A judge that is trained on, or that becomes a reward model, has been trained on something before.
    record = read_record(folder.path)
    inputs = _template(folder, template)
    generation = _ending(writer.generation, inputs)
    return Parts(writer.backbone, new_head, inputs, record, None, writer.lm_head, generation, role, quantization)


def stored_parts(
    place: str | Path | ModelFolder,
    dtype: torch.dtype | None = None,
    template: TemplateSettings | Template | None = None,
    is_empty: bool = False,
    quantization: QuantizationSettings | None = None,
) -> Parts:
    """Load the parts of a trained reward model: whole, as adapter and head, or with another library's head.

    Args:
        dtype: of the backbone; by default the stored one.
        template: the model's template if it is loaded already, or what to change in the stored one.
        is_empty: as for ``new_parts``; of whole models alone.
        quantization: as for ``new_parts``; adapters know how the base of theirs was held.

    Raises:
        CheckpointError: backbone weights or the head are missing.
    """
    folder = open_folder(place)
    stored = read_head(folder)
    facts = read_facts(folder)
    role = facts.critic if facts else None
    writer = load_writer(folder, dtype, is_empty) if role else None
    if writer:
        adapted = AdaptedBackbone(writer.backbone)
    elif is_adapter(folder.path):
        quantization = facts.quantization if facts else None
        adapted = load_adapter(folder.path, dtype, facts.base_weights if facts else None, quantization)
    else:
        adapted = AdaptedBackbone(load_backbone(folder, dtype, is_empty, quantization))
    head = draw_head(adapted.model.config.get_text_config().hidden_size, stored.settings)
    try:
        head.load_state_dict(stored.weights)
    except RuntimeError as error:
        raise CheckpointError(f"The reward head of {folder.path} is not what its config.json says: {error}") from error
    record = read_record(folder.path)
    inputs = _template(folder, template)
    parts = Parts(adapted.model, head, inputs, record, adapted.base_weights, quantization=quantization)
    return parts._replace(lm_head=writer.lm_head, generation=writer.generation, role=role) if writer else parts


def has_head(folder: ModelFolder) -> bool:
    """Whether a folder is a reward model: ours, or one with the head of another library.

    Raises:
        CheckpointError: as ``find_foreign_head``.
    """
    return SECTION in folder.content or find_foreign_head(folder.path) is not None


def read_tensors(folder: Path, prefix: str = "") -> dict[str, Tensor]:
    """Return the stored tensors whose names begin with ``prefix``."""
    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        with open_tensors(file) as opened:
            found.update({name: opened.get_tensor(name) for name in opened.keys() if name.startswith(prefix)})  # noqa: SIM118
    return found


def _ending(generation: GenerationConfig | None, template: Template) -> GenerationConfig | None:
    """Return how answers are generated, ended by the token that training teaches to end them, too.

    A base model's own configuration may know its end of text alone; whatever generates with the trained model, here or
    elsewhere, would go on behind the end of the turn.
    """
    end = template.tokenizer.eos_token_id
    if generation is None or end is None:
        return generation
    known = generation.eos_token_id
    ends = [] if known is None else [known] if isinstance(known, int) else list(known)
    if end not in ends:
        generation = GenerationConfig.from_dict({**generation.to_dict(), "eos_token_id": [*ends, end]})
    return generation


def _template(folder: ModelFolder, template: TemplateSettings | Template | None) -> Template:
    return template if isinstance(template, Template) else load_template(folder, template)


def read_head(folder: ModelFolder) -> StoredHead:
    """Return the reward head of a folder, ours or that of another library.

    Raises:
        CheckpointError: it has none.
    """
    facts = read_facts(folder)
    own = read_tensors(folder.path, HEAD_PREFIX)
    if facts and own:
        return StoredHead(facts.head, {name.removeprefix(HEAD_PREFIX): weight.float() for name, weight in own.items()})
    if not facts and not own and (foreign := find_foreign_head(folder.path)):
        return StoredHead(foreign.settings, foreign.state_dict())
    raise CheckpointError(
        f"{folder.path} has no reward head ({HEAD_PREFIX}* and a {SECTION!r} section in config.json), and none of "
        f"another library ({', '.join((*FOREIGN_HEADS, *FOREIGN_TWO_LAYERS))}). To start from a bare backbone, train "
        "one: basereward train RECIPE."
    )
