"""A text reward model merged into a vision-language model: its language model by module names, and its head."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from basereward.data.record import DataRecord, read_record, united_record, write_record
from basereward.data.schema import messages_from_text
from basereward.data.shards import appearing, check_free
from basereward.encoding.template import Template
from basereward.errors import CheckpointError
from basereward.models.adapter_files import is_adapter
from basereward.models.card.facts import CardFacts
from basereward.models.card.file import write_card
from basereward.models.card.page import place_name
from basereward.models.checkpoint import trained_facts
from basereward.models.facts import SECTION, RewardFacts
from basereward.models.hub import open_folder
from basereward.models.inputs import load_template
from basereward.models.merging.distance import ModuleTable
from basereward.models.merging.language import EMBEDDINGS, LanguageWeights, check_fit, shared_tokens
from basereward.models.merging.report import MergeReport, check_connected, write_report
from basereward.models.merging.soup import write_config
from basereward.models.parts import HEAD_PREFIX, StoredHead, has_head, read_head
from basereward.models.stored import SHARD_BYTES, TensorFacts, write_weights

_ADVICE = "Graft a text reward model whose language model is the one that the vision-language model was made from."

# What two chat templates are compared by.
_SPOKEN = (*messages_from_text("?"), *messages_from_text("!", "assistant"))


def graft(
    text: str | Path,
    vision: str | Path,
    out: str | Path,
    text_weight: float | None = None,
    base: str | Path | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> MergeReport:
    """Write a reward model that reads images, from a text reward model and a vision-language model.

    Language model: ``(1 - w) vision + w text``, or with a base ``vision + w (text - base)``. Embeddings are
    merged for tokens that both know. The vision tower is kept, and the head is that of the text reward model.

    Args:
        text: a text reward model.
        vision: a vision-language model, or a reward model on one, whose head is left out.
        out: folder, which may not hold anything.
        text_weight: w, how much of the text model; 0.5, with a base 1.
        base: the language model that the text reward model was trained from.
        shard_bytes: largest file of weights.

    Raises:
        CheckpointError: another architecture, shape or tokenizer, or weights that are not connected.
        DataError: ``out`` holds something else.

    Source: Li et al., Transferring Textual Preferences to Vision-Language Understanding through Model Merging, 2025;
        Ilharco et al., Editing Models with Task Arithmetic, ICLR 2023.
    """
    places = {"vision": vision, "text": text, **({} if base is None else {"base": base})}
    models = {role: LanguageWeights(open_folder(place)) for role, place in places.items()}
    _check(models)
    share = text_weight if text_weight is not None else 0.5 if base is None else 1.0
    merge = _Graft(models, share)
    target = Path(out)
    check_free(target)
    with appearing(target) as folder:
        report = merge.write(folder, shard_bytes)
        check_connected(report, _ADVICE)
        write_report(report, folder)
        write_card(folder, CardFacts(backbone=place_name(str(vision))))
    return report


def _check(models: Mapping[str, LanguageWeights]) -> None:
    """Check that the models are what their roles say and have one language model."""
    for role, own in models.items():
        name = own.folder.name
        if is_adapter(own.folder.path):
            raise CheckpointError(f"{name} holds adapters; merge them first: basereward merge {name}.")
        if (role == "vision") != bool(own.family.vision_module):
            found = "reads images" if own.family.vision_module else "reads text alone"
            raise CheckpointError(f"{name} {found}; expected a text model first, then one that reads images.")
    if not has_head(models["text"].folder):
        name = models["text"].folder.name
        raise CheckpointError(f"{name} has no reward head; the new model takes over that of the text model.")
    for role in models.keys() - {"vision"}:
        try:
            check_fit(models[role], models["vision"])
        except CheckpointError as error:
            raise CheckpointError(f"{error} {_ADVICE}") from error


class _Graft:
    """The weights and files of the new model."""

    def __init__(self, models: Mapping[str, LanguageWeights], share: float) -> None:
        self.models = models
        self.share = share
        self.text, self.vision = models["text"], models["vision"]
        self.template: Template = load_template(self.vision.folder)
        text_template = load_template(self.text.folder)
        self.tokens = shared_tokens(text_template, self.template)
        self.is_read_alike = np.array_equal(
            text_template.conversation_ids(_SPOKEN), self.template.conversation_ids(_SPOKEN)
        )
        self.head: StoredHead = read_head(self.text.folder)
        self.head_weights = {HEAD_PREFIX + name: weight for name, weight in self.head.weights.items()}
        self.inner_names = {hub: name for name, hub in self.vision.names.items()}
        self.table = ModuleTable()

    def write(self, folder: Path, shard_bytes: int) -> MergeReport:
        """Write everything but the report."""
        left_out = (HEAD_PREFIX, self.vision.family.lm_head, "lm_head.")
        kept = {name: facts for name, facts in self.vision.stored.facts.items() if not name.startswith(left_out)}
        heads = {name: TensorFacts(tuple(own.shape), own.dtype) for name, own in self.head_weights.items()}
        write_weights(folder, {**kept, **heads}, self.compute, shard_bytes)
        self.template.processor.save_pretrained(folder)
        # A bare backbone was trained on no preferences.
        trained = [own.folder for own in (self.text, self.vision) if has_head(own.folder)]
        record = united_record([(one.name, read_record(one.path)) for one in trained])
        # No run of the text model's recipe has these weights.
        record = record.model_copy(update={"trained_by": None})
        write_record(record, folder)
        self._write_config(folder, record)
        share = f"{self.share:g}"
        formula = (
            f"vision + {share} (text - base)" if "base" in self.models else f"{1 - self.share:g} vision + {share} text"
        )
        return MergeReport(
            kind="graft",
            members=tuple(f"{role}: {own.folder.name}" for role, own in self.models.items()),
            formula=formula,
            modules=self.table.modules(),
            notes=tuple(self._notes()),
        )

    def _notes(self) -> Iterator[str]:
        yield f"Embeddings are merged for the {len(self.tokens):,} tokens that both models know."
        if not self.is_read_alike:
            yield (
                f"The chat templates write a conversation differently: the head learnt behind that of "
                f"{self.text.folder.name}, and the new model reads that of {self.vision.folder.name}. Measure it on "
                "text before you use it."
            )

    def compute(self, name: str) -> Tensor:
        """Return a tensor of the new model: of its head, of its language model, or of the rest."""
        if name in self.head_weights:
            self.table.add(name, "text", self.head_weights[name].numel())
            return self.head_weights[name]
        inner = self.inner_names.get(name)
        if inner is None:
            tensor = self.vision.stored.read(name)
            self.table.add(name, "vision", tensor.numel())
            return tensor
        whole = self.vision.read(inner)
        own = {role: model.read(inner) for role, model in self.models.items()}
        if inner == EMBEDDINGS:
            own = {role: tensor[self.tokens] for role, tensor in own.items()}
        self.table.add(name, "average", whole.numel(), list(own.values()))
        merged = self._merge(**own)
        return whole.index_copy(0, self.tokens, merged) if inner == EMBEDDINGS else merged

    def _merge(self, vision: Tensor, text: Tensor, base: Tensor | None = None) -> Tensor:
        if base is None:
            return (1 - self.share) * vision + self.share * text
        return vision + self.share * (text - base)

    def _write_config(self, folder: Path, record: DataRecord) -> None:
        reward = RewardFacts(**trained_facts(self.template, record), head=self.head.settings)
        content = {
            **self.vision.folder.content,
            "architectures": [f"{self.vision.family.architecture}ForReward"],
            "num_labels": 1,
            "problem_type": "regression",
            SECTION: reward.to_dict(),
        }
        write_config(folder, content)
