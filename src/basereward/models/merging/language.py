"""The language model inside a model, known by module names, and whether two of them are of one kind."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from basereward.encoding.template import Template
from basereward.errors import CheckpointError
from basereward.models.families import Family, family_of
from basereward.models.hub import ModelFolder
from basereward.models.stored import StoredWeights, TensorFacts

EMBEDDINGS = "embed_tokens.weight"
# What of a text model's configuration decides its numbers beside the shapes of its weights.
_DECISIVE = ("hidden_act", "num_attention_heads", "num_key_value_heads", "head_dim", "rms_norm_eps", "sliding_window")


@dataclass(frozen=True)
class LanguageWeights:
    """The language model that lies in a folder, alone or inside a vision-language model, under names without prefix."""

    folder: ModelFolder

    @cached_property
    def family(self) -> Family:
        """Of the whole model."""
        return family_of(self.folder.config)

    @cached_property
    def stored(self) -> StoredWeights:
        """All weights of the folder."""
        return StoredWeights(self.folder.path)

    @cached_property
    def names(self) -> dict[str, str]:
        """The stored name of every tensor of the language model."""
        inside = f"{self.family.text_module}." if self.family.text_module else ""
        hubs = tuple(hub for _, hub in self.family.hub_prefixes)
        native = {self.family.to_native(name): name for name in self.stored.facts if name.startswith(hubs)}
        return {name.removeprefix(inside): hub for name, hub in native.items() if name.startswith(inside)}

    def facts(self, name: str) -> TensorFacts:
        """Return shape and dtype of a tensor."""
        return self.stored.facts[self.names[name]]

    def read(self, name: str) -> Tensor:
        """Return a tensor in fp32."""
        return self.stored.read(self.names[name]).float()


def check_fit(text: LanguageWeights, vision: LanguageWeights) -> None:
    """Check that two language models compute alike and have the same tensors.

    Raises:
        CheckpointError: they do not; says in what.
    """
    pair = f"{text.folder.name} and the language model of {vision.folder.name} differ in"
    own, other = (_decisive(model.folder.config.get_text_config()) for model in (text, vision))
    if unlike := [f"{key} ({own[key]}, not {other[key]})" for key in own if own[key] != other[key]]:
        raise CheckpointError(f"{pair} {', '.join(unlike)}.")
    if alone := sorted(text.names.keys() ^ vision.names.keys()):
        raise CheckpointError(f"{pair} {len(alone)} tensors that one of them lacks, such as {alone[0]}.")
    for name in text.names:
        # Vocabularies may be padded to different sizes; their rows are compared by tokens.
        first = 1 if name == EMBEDDINGS else 0
        shapes = [model.facts(name).shape for model in (text, vision)]
        if shapes[0][first:] != shapes[1][first:]:
            raise CheckpointError(f"{pair} the shape of {name} ({shapes[0]}, not {shapes[1]}).")


def shared_tokens(text: Template, vision: Template) -> Int[Tensor, " token"]:
    """Return the ids of the tokens that two tokenizers know under the same number.

    Raises:
        CheckpointError: they number a token differently, or split words differently.
    """
    own, other = (template.tokenizer.get_vocab() for template in (text, vision))
    if moved := [word for word, number in own.items() if other.get(word, number) != number]:
        raise CheckpointError(f"The tokenizers number {len(moved)} tokens differently, such as {moved[0]!r}.")
    if text.facts.tokenizer.merges != vision.facts.tokenizer.merges:
        raise CheckpointError("The tokenizers split words differently.")
    return torch.tensor(sorted(number for word, number in own.items() if word in other))


def _decisive(config: Any) -> Mapping[str, Any]:
    rope = getattr(config, "rope_parameters", None) or {}
    return {**{key: getattr(config, key, None) for key in _DECISIVE}, "rope_theta": rope.get("rope_theta")}
