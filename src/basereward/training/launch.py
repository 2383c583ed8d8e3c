"""The ranks of a run: which one this is, how they find each other, and what the first one does for all."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from basereward.errors import BaseRewardError, TrainingError
from basereward.training.recipe import HardwareRecipe

# How long the other ranks wait while the first one opens and measures the data.
PREPARATION_LIMIT = timedelta(days=1)
T = TypeVar("T")


def world_size() -> int:
    """Return the number of ranks of this launch."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Return which rank this process is."""
    return int(os.environ.get("RANK", "0"))


def launch_command() -> str:
    """Return what starts as many processes on this machine as there are."""
    if world_size() == 1:
        return "basereward"
    return f"torchrun --nproc-per-node {os.environ.get('LOCAL_WORLD_SIZE', world_size())} -m basereward"


def replica_ranks(hardware: HardwareRecipe, ranks: int) -> int:
    """Return over how many ranks one set of weights is spread.

    Raises:
        TrainingError: the number of ranks is not a multiple of ``shard_size``.
    """
    if hardware.sharding == "none" or ranks == 1:
        return 1
    size = hardware.shard_size or ranks
    if ranks % size:
        raise TrainingError(f"{ranks} ranks are not a multiple of shard_size {size}.")
    return size


def check_sharding(hardware: HardwareRecipe) -> None:
    """Refuse a sharded run in one process.

    Raises:
        TrainingError: it is one.
    """
    if world_size() == 1 and hardware.sharding != "none":
        raise TrainingError(
            f"sharding: {hardware.sharding} needs several processes; start them with torchrun, or give "
            "hardware.sharding=none, which also resumes from a sharded checkpoint."
        )


@contextmanager
def process_group(use_cpu: bool) -> Iterator[None]:
    """Open the process group under torchrun, and close it however the run ends."""
    if world_size() == 1:
        yield
        return
    on_cuda = torch.cuda.is_available() and not use_cpu
    if on_cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("cuda:nccl,cpu:gloo" if on_cuda else "gloo")
    try:
        yield
    finally:
        # Gloo aborts a process that ends with its group open.
        dist.destroy_process_group()


@contextmanager
def first_rank_first() -> Iterator[None]:
    """Let the first rank read and measure the data before the others take what it kept.

    Raises:
        TrainingError: on the others, with the message of what the first rank failed with, so that none waits for it.
    """
    if world_size() == 1:
        yield
        return
    # A collective of NCCL gives up after ten minutes, and millions of images take longer.
    patient: Any = dist.new_group(backend="gloo", timeout=PREPARATION_LIMIT)
    if rank() > 0:
        told: list[Any] = [None]
        dist.broadcast_object_list(told, src=0, group=patient)
        if told[0] is not None:
            raise TrainingError(f"The first rank failed while it prepared the data: {told[0]}")
        yield
        return
    try:
        yield
    except BaseException as error:
        # Others that are gone too need not hear of it.
        with suppress(RuntimeError):
            dist.broadcast_object_list([str(error) or type(error).__name__], src=0, group=patient)
        raise
    dist.broadcast_object_list([None], src=0, group=patient)


def on_first_rank(function: Callable[[], T]) -> T:
    """Call a function on the first rank alone and return what it returns on all.

    Raises:
        TrainingError: on the others, with the message of the first rank's own error, so that none waits for it.
    """
    told: list[Any] = [None, None]
    error: BaseException | None = None
    if rank() == 0:
        try:
            told[0] = function()
        except (BaseRewardError, OSError) as refused:
            error, told[1] = refused, str(refused)
    if world_size() > 1:
        dist.broadcast_object_list(told, src=0)
    if error:
        raise error
    if told[1] is not None:
        raise TrainingError(told[1])
    return told[0]


def agree_on_largest(number: int) -> int:
    """Return the largest number that any rank gives (collective)."""
    if world_size() == 1:
        return number
    # On the CPU, so that no rank waits for its device.
    largest = torch.tensor(number)
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return int(largest)
