"""Backbones on the meta device: of every weight where its values lie, so that a rank may read its part alone.

A weight keeps its place when adapters are put around it; once the model is sharded, ``unread_weights`` of before tells
the places by names.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

from basereward.errors import CheckpointError
from basereward.models.stored import StoredTensor, find_tensors

META = {"": "meta"}
# The attribute of a weight on the meta device that says where its values lie.
_PLACE = "stored_tensor"


def mark_weights(model: PreTrainedModel, folder: Path) -> None:
    """Tell every weight of a model on the meta device where in a folder its values lie, and compute its buffers.

    Names are matched as transformers matches them when it loads, whatever layout the folder has.

    Raises:
        CheckpointError: a weight lies in no file as it is.
    """
    places = _find_places(model, folder)
    _tie_weights(model, places)
    state = model.state_dict(keep_vars=True)
    for name, tensor in state.items():
        if name in places:
            setattr(tensor, _PLACE, places[name])
    # A vocabulary head that is tied to the embeddings has their place.
    if missing := [name for name, tensor in state.items() if not hasattr(tensor, _PLACE)]:
        raise CheckpointError(
            f"{folder} holds no such weights as they are: {', '.join(missing[:4])}. A sharded run reads no layout that "
            "transformers converts; load the model with transformers and save it again."
        )
    _compute_buffers(model)


def unread_weights(model: nn.Module) -> dict[str, StoredTensor]:
    """Return where the values of those weights of a model lie that are on the meta device.

    Raises:
        CheckpointError: nobody knows of one of them.
    """
    unread = {name: tensor for name, tensor in model.state_dict(keep_vars=True).items() if tensor.is_meta}
    if lost := [name for name, tensor in unread.items() if not hasattr(tensor, _PLACE)]:
        raise CheckpointError(f"Nobody knows where the values of {', '.join(lost[:4])} lie.")
    return {name: getattr(tensor, _PLACE) for name, tensor in unread.items()}


@contextmanager
def stand_ins(model: nn.Module) -> Iterator[None]:
    """Let weights on the meta device stand on the CPU, of one number each, while something is attached to them.

    PEFT draws an adapter and moves it to where its base stands; on the meta device its values would be lost.
    """
    weights = [(module, name, own) for module in model.modules() for name, own in module._parameters.items()]
    unread = [(module, name, own) for module, name, own in weights if own is not None and own.is_meta]
    for module, name, weight in unread:
        one = torch.zeros((), dtype=weight.dtype).expand(weight.shape)
        module._parameters[name] = nn.Parameter(one, requires_grad=weight.requires_grad)
    try:
        yield
    finally:
        for module, name, weight in unread:
            stand_in: Any = module._parameters[name]
            weight.requires_grad = stand_in.requires_grad
            module._parameters[name] = weight


def _find_places(model: PreTrainedModel, folder: Path) -> dict[str, StoredTensor]:
    """Return the places of weights by the model's names."""
    conversions = get_model_conversion_mapping(model)
    renamings = [own for own in conversions if isinstance(own, WeightRenaming)]
    converters = [own for own in conversions if isinstance(own, WeightConverter)]
    state: dict[str, Any] = model.state_dict()
    prefix = model.base_model_prefix
    places = {}
    for stored, place in find_tensors(folder).items():
        name, is_converted = rename_source_key(stored, renamings, converters, prefix, state)
        if name not in state and stored in state:
            name, is_converted = rename_source_key(stored, [], [], prefix, state)
        if name in state and is_converted is None:
            places[name] = place
    return places


def _tie_weights(model: PreTrainedModel, places: Mapping[str, StoredTensor]) -> None:
    """Tie weights that are stored twice and alike; transformers, which compares values, leaves this to be done."""
    for name, other in list(model.all_tied_weights_keys.items()):
        if model.get_parameter(name) is model.get_parameter(other) or not {name, other} <= places.keys():
            continue
        if places[name].equals(places[other]):
            path, _, own = name.rpartition(".")
            setattr(model.get_submodule(path), own, model.get_parameter(other))
        else:
            model.all_tied_weights_keys.pop(name)


def _compute_buffers(model: PreTrainedModel) -> None:
    """Compute what no file holds, such as rotary frequencies, by the rule of each module."""
    for name, buffer in list(model.named_non_persistent_buffers()):
        path, _, own = name.rpartition(".")
        module: Any = model.get_submodule(path)
        module._buffers[own] = torch.empty_like(buffer, device="cpu")
        # Set when the model was built, on the meta device; such modules are passed over.
        module._is_hf_initialized = False
    # Weights are left alone: they are marked as initialised themselves.
    model.initialize_weights()
