"""The average of the weights of reward models that were trained on from one start."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from basereward import __version__
from basereward.data.identity import differences
from basereward.data.io import write_json
from basereward.data.record import read_record, united_record, write_record
from basereward.errors import CheckpointError
from basereward.models.adapter_files import is_adapter
from basereward.models.card.facts import CardFacts, former_card_facts, write_card_facts
from basereward.models.facts import SECTION, RewardFacts, read_facts
from basereward.models.hub import CONFIG, ModelFolder, open_folder
from basereward.models.merging.distance import MergedModule, ModuleTable
from basereward.models.merging.report import REPORT
from basereward.models.stored import SHARD_BYTES, StoredWeights, write_weights

# Of a configuration what says nothing of how the model computes.
_FREE = (SECTION, "transformers_version", "_name_or_path", "dtype", "text_config.dtype", "vision_config.dtype")
# Neither the card of a member, which speaks of its weights alone.
_NOT_COPIED = (
    *(CONFIG, "README.md", "card.yaml", REPORT),
    *("data.json", "data.pairs.bin", "model.safetensors.index.json"),
)


def open_members(places: Sequence[str | Path]) -> tuple[ModelFolder, ...]:
    """Return the folders of reward models whose weights have the same names and shapes, inputs and heads.

    Raises:
        CheckpointError: fewer than two, adapters, no reward model of this library, or models that differ; says in what.
    """
    if len(set(map(str, places))) < 2:
        raise CheckpointError("A soup is made of two or more different models.")
    folders = tuple(open_folder(place) for place in places)
    facts = [_facts_of(folder) for folder in folders]
    weights = [StoredWeights(folder.path) for folder in folders]
    for folder, own, stored in zip(folders[1:], facts[1:], weights[1:], strict=True):
        pair = f"{folder.name} and {folders[0].name} differ in"
        if unlike := differences(folder.config.to_dict(), folders[0].config.to_dict(), _FREE):
            raise CheckpointError(f"{pair} config.json: {'; '.join(unlike[:4])}. Weights are averaged of one shape.")
        if own.head != facts[0].head:
            raise CheckpointError(f"{pair} their heads: {own.head}, not {facts[0].head}.")
        if own.inputs and facts[0].inputs and (unlike := own.inputs.differences(facts[0].inputs)):
            raise CheckpointError(f"{pair} their inputs: {', '.join(unlike[:4])}; they read the same text otherwise.")
        if own.critic != facts[0].critic:
            raise CheckpointError(f"{pair} how they write critiques: {own.critic}, not {facts[0].critic}.")
        if own.pixels and facts[0].pixels and own.pixels != facts[0].pixels:
            raise CheckpointError(f"{pair} the sizes of images that they read: {own.pixels}, not {facts[0].pixels}.")
        if unlike := _unlike_tensors(stored, weights[0]):
            raise CheckpointError(f"{pair} {len(unlike)} tensors by name or shape: {', '.join(unlike[:4])}.")
    return folders


def write_average(
    members: Sequence[ModelFolder], folder: Path, shard_bytes: int = SHARD_BYTES
) -> tuple[MergedModule, ...]:
    """Write the model whose weights are the mean of those of the members, and return what its modules were made of.

    Sums are fp32, the result is stored in the dtypes of the first member, from which files other than weights come.

    Args:
        members: as ``open_members`` gives them; one alone is copied.
        folder: is there and empty.

    Raises:
        CheckpointError: a tensor that is not of floating point differs.

    Source: Wortsman et al., Model soups, ICML 2022; Rame et al., WARM, ICML 2024.
    """
    weights = [StoredWeights(member.path) for member in members]
    table = ModuleTable()

    def average(name: str) -> Tensor:
        tensors = [own.read(name) for own in weights]
        if not tensors[0].is_floating_point():
            if any(not torch.equal(tensors[0], other) for other in tensors[1:]):
                raise CheckpointError(f"{name} holds {tensors[0].dtype}, which has no average, and differs.")
            table.add(name, "all", tensors[0].numel())
            return tensors[0]
        table.add(name, "average", tensors[0].numel(), tensors)
        total = tensors[0].float()
        for other in tensors[1:]:
            total = total + other
        return total / len(tensors)

    write_weights(folder, weights[0].facts, average, shard_bytes)
    copy_files(members[0].path, folder)
    record = united_record([(member.name, read_record(member.path)) for member in members])
    write_record(record, folder)
    reward = {**members[0].content[SECTION], "data_hash": record.fingerprint, "basereward_version": __version__}
    write_config(folder, {**members[0].content, SECTION: reward})
    first = former_card_facts(members[0].path)
    write_card_facts(CardFacts(backbone=first.backbone, backbone_licence=first.backbone_licence), folder)
    return table.modules()


def copy_files(source: Path, folder: Path) -> None:
    """Copy what lies beside the weights of a model: tokenizer, processor, chat template, generation settings."""
    for file in source.iterdir():
        if file.is_file() and file.suffix != ".safetensors" and file.name not in _NOT_COPIED:
            shutil.copy2(file, folder / file.name)


def write_config(folder: Path, content: Mapping[str, Any]) -> None:
    """Write ``config.json`` as checkpoints have it."""
    write_json(folder / CONFIG, dict(sorted(content.items())))


def _facts_of(folder: ModelFolder) -> RewardFacts:
    if is_adapter(folder.path):
        raise CheckpointError(f"{folder.name} holds adapters; merge them first: basereward merge {folder.name}.")
    if (facts := read_facts(folder)) is None:
        raise CheckpointError(f"{folder.name} has no section {SECTION!r} in {CONFIG}; expected a reward model.")
    return facts


def _unlike_tensors(own: StoredWeights, other: StoredWeights) -> list[str]:
    names = sorted({*own.facts, *other.facts})
    shapes = [{name: facts.shape for name, facts in stored.facts.items()} for stored in (own, other)]
    return [name for name in names if shapes[0].get(name) != shapes[1].get(name)]
