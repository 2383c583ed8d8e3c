"""Sharding a reward model over ranks with FSDP2, and the state of its optimiser on disk.

``fully_shard`` is called here, and not by Accelerate, so that the head keeps an fp32 group of its own and the
same code runs on CPU (gloo) and CUDA. It is called before any weight of the backbone is read, so that no rank ever
holds more than its part.
"""

import warnings
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter, load, save
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from transformers.trainer_utils import unwrap_peft_model

from basereward.models.empty import unread_weights
from basereward.models.reward_model import RewardModel
from basereward.models.sharded import read_parts

# The optimiser state in a checkpoint: whole, or in shards.
OPTIMIZER_FILE, OPTIMIZER_FOLDER = "optimizer.pt", "optimizer"


def shard_model(model: RewardModel, device: torch.device, bf16: bool, size: int) -> None:
    """Shard every block of the backbone, then the rest, and read this rank's part; the head is an fp32 group.

    Args:
        model: with its backbone on the meta device, or whole.
        device: of this rank, ``cuda`` or ``cpu``.
        bf16: compute the backbone in bf16 over fp32 shards.
        size: ranks of one replica; fewer than all ranks gives HSDP.
    """
    # The rewards are a view, which nobody changes in place; torch warns about it in every forward pass.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    places = unread_weights(model)
    mesh = _mesh(device.type, size)
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16 if bf16 else None, reduce_dtype=torch.float32)
    if model.head is not None:
        fully_shard(model.head, mesh=mesh)
    block_names = set(unwrap_peft_model(model.backbone)._no_split_modules)
    for module in model.backbone.modules():
        if type(module).__name__ in block_names:
            fully_shard(module, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    read_parts(model, places, device)


def save_sharded_optimizer(model: nn.Module, optimizer: Any, folder: Path) -> None:
    """Write each rank's part of the optimiser state under the names of the weights (collective)."""
    save({"optimizer": get_optimizer_state_dict(model, optimizer)}, storage_writer=FileSystemWriter(folder))


def load_optimizer(model: nn.Module, optimizer: Any, checkpoint: Path) -> None:
    """Read the optimiser state of a checkpoint, whole or in shards of any number, into a whole or sharded model.

    Collective when there are several ranks.
    """
    if not (checkpoint / OPTIMIZER_FOLDER).exists():
        _load_whole_optimizer(model, optimizer, checkpoint / OPTIMIZER_FILE)
        return
    # Its own state gives the shapes that are read: shards of this rank, or whole tensors.
    state = {"optimizer": get_optimizer_state_dict(model, optimizer)}
    load(state, storage_reader=FileSystemReader(checkpoint / OPTIMIZER_FOLDER), no_dist=not dist.is_initialized())
    set_optimizer_state_dict(model, optimizer, state["optimizer"])


def _load_whole_optimizer(model: nn.Module, optimizer: Any, file: Path) -> None:
    """Shard a whole optimiser state, which knows weights by their number in the optimiser's groups."""
    state: dict[str, Any] = {}
    # Read on one rank, as far as it is needed; the others receive their shards.
    if dist.get_rank() == 0:
        stored = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        known = {id(weight): name for name, weight in model.named_parameters()}
        names = [known[id(weight)] for group in optimizer.param_groups for weight in group["params"]]
        groups = [{**group, "params": [names[place] for place in group["params"]]} for group in stored["param_groups"]]
        state = {"state": {names[place]: own for place, own in stored["state"].items()}, "param_groups": groups}
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_optimizer_state_dict(model, optimizer, state, options=options)


def _mesh(device_type: str, size: int) -> Any:
    world = dist.get_world_size()
    if size == world:
        return init_device_mesh(device_type, (world,), mesh_dim_names=("shard",))
    return init_device_mesh(device_type, (world // size, size), mesh_dim_names=("replicate", "shard"))
