"""A whole model from the checkpoint of a sharded run: the parts of every rank, joined weight by weight."""

import shutil
from pathlib import Path

import torch

from basereward.data.io import read_json, write_json
from basereward.models.card.file import write_card
from basereward.models.hub import CONFIG
from basereward.models.parts import HEAD_PREFIX
from basereward.models.sharded import read_shard, shard_facts
from basereward.models.stored import SHARD_BYTES, SHARDS, write_weights

# What a checkpoint holds to go on from, beside the model.
_OF_TRAINING = ("files.json", "trainer_state.json", "training_args.bin", "*.pt", "rng_state*.pth")


def is_sharded(checkpoint: Path) -> bool:
    """Whether a checkpoint holds the weights of a sharded run in parts."""
    return (checkpoint / SHARDS).is_dir()


def join_shards(
    checkpoint: Path, folder: Path, dtype: torch.dtype | None = None, shard_bytes: int = SHARD_BYTES
) -> None:
    """Write the model of a sharded checkpoint in the hub layout; memory holds one file of the result.

    Args:
        checkpoint: a complete one, of any number of ranks.
        folder: is there and empty.
        dtype: of the backbone, by default the stored one; the head stays fp32.
        shard_bytes: largest file of weights.

    Raises:
        CheckpointError: the checkpoint holds no complete weights.
    """
    shards = checkpoint / SHARDS
    stored = shard_facts(shards)
    written = {
        name: facts._replace(dtype=dtype) if dtype and not name.startswith(HEAD_PREFIX) else facts
        for name, facts in stored.items()
    }
    write_weights(folder, written, lambda name: read_shard(shards, name, stored[name]), shard_bytes)
    for file in checkpoint.iterdir():
        if file.is_file() and not any(file.match(pattern) for pattern in _OF_TRAINING):
            shutil.copy2(file, folder / file.name)
    if dtype:
        write_json(folder / CONFIG, read_json(folder / CONFIG) | {"dtype": str(dtype).removeprefix("torch.")})
    write_card(folder)
