"""Weights that are spread over ranks: each reads and writes its own part, and a whole weight is gathered at a time."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint import CheckpointException, FileSystemReader, FileSystemWriter, load, save
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from basereward.errors import CheckpointError
from basereward.models.stored import StoredTensor, TensorFacts


class LocalPart(NamedTuple):
    """What this rank holds of a weight, and where in the whole it begins."""

    values: Tensor
    start: tuple[int, ...]


def local_part(weight: Tensor) -> LocalPart:
    """Return this rank's part of a weight, sharing its memory; all of one that is not spread."""
    if not isinstance(weight, DTensor):
        return LocalPart(weight, (0,) * weight.ndim)
    _, start = compute_local_shape_and_global_offset(weight.shape, weight.device_mesh, weight.placements)
    return LocalPart(weight.to_local(), tuple(start))


@torch.no_grad()
def read_parts(model: nn.Module, places: Mapping[str, StoredTensor], device: torch.device) -> None:
    """Move a model to a device, and read this rank's part of those weights that are on the meta device.

    Args:
        model: sharded or not.
        places: where each of them lies, by the names of the model.
    """
    swaps = torch.__future__.get_swap_module_params_on_conversion()
    # Weights stay the objects that they are, so that tied ones stay tied.
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        # ``to_empty`` would lose what has been drawn already: heads and adapters.
        model._apply(lambda weight: torch.empty_like(weight, device=device) if weight.is_meta else weight.to(device))
    finally:
        torch.__future__.set_swap_module_params_on_conversion(swaps)
    state = model.state_dict()
    fill({name: state[name] for name in places}, places)


@torch.no_grad()
def fill(weights: Mapping[str, Tensor], places: Mapping[str, StoredTensor]) -> None:
    """Read this rank's part of weights from where they lie, in the order of the files."""
    for name, place in sorted(places.items(), key=lambda own: own[1].file):
        part = local_part(weights[name])
        if part.values.numel():
            place.copy_to(part.values, part.start)


@torch.no_grad()
def gather(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a whole weight in another dtype (collective if it is spread over ranks)."""
    cast = weight.detach().to(dtype)
    if not isinstance(cast, DTensor):
        return cast
    whole = cast.full_tensor()
    # One that the ranks do not divide evenly has padding behind it, and safetensors refuses a part of a storage.
    return whole.clone() if whole.untyped_storage().nbytes() > whole.nbytes else whole


def write_shards(weights: Mapping[str, Tensor], folder: Path) -> None:
    """Write each rank's part of weights into a file of its own (collective)."""
    save(dict(weights), storage_writer=FileSystemWriter(folder))


def read_shards(weights: Mapping[str, Tensor], folder: Path) -> None:
    """Read weights that any number of ranks wrote, in place: this rank's part, or whole ones (collective).

    Raises:
        CheckpointError: other weights lie there, or a part is gone.
    """
    if unlike := sorted(set(shard_facts(folder)) ^ set(weights)):
        raise CheckpointError(f"{folder} holds other weights than this model: {', '.join(unlike[:4])}.")
    _load(dict(weights), folder)


def read_shard(folder: Path, name: str, facts: TensorFacts) -> Tensor:
    """Return a whole weight that ranks wrote in parts, in one process.

    Raises:
        CheckpointError: a part of it is gone.
    """
    whole = torch.empty(facts.shape, dtype=facts.dtype)
    _load({name: whole}, folder)
    return whole


def shard_facts(folder: Path) -> dict[str, TensorFacts]:
    """Return the names, shapes and dtypes of weights that ranks wrote.

    Raises:
        CheckpointError: nobody finished writing there.
    """
    try:
        metadata = FileSystemReader(folder).read_metadata()
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder} holds no complete weights of a sharded run: {error}") from error
    facts = metadata.state_dict_metadata
    return {name: TensorFacts(tuple(own.size), own.properties.dtype) for name, own in facts.items()}  # type: ignore[union-attr]


def _load(weights: dict[str, Tensor], folder: Path) -> None:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            load(weights, storage_reader=FileSystemReader(folder), no_dist=not dist.is_initialized())
    except CheckpointException as error:
        causes = "; ".join(f"rank {rank}: {cause[0]}" for rank, cause in sorted(error.failures.items()))
        raise CheckpointError(
            f"The weights in {folder} cannot be read ({causes}): damaged, or deleted by the run that goes on."
        ) from error
