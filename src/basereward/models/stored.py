"""Stored weights read and written tensor by tensor, so that memory holds one shard of the result and no whole model."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from basereward.data.content import FileState, file_state
from basereward.data.io import write_json
from basereward.errors import CheckpointError

SINGLE, SHARD, INDEX = (
    "model.safetensors",
    "model-{number:05d}-of-{count:05d}.safetensors",
    "model.safetensors.index.json",
)
SHARD_BYTES = 2 * 2**30
# The folder in a checkpoint with the weights of a sharded run, a file for each rank.
SHARDS = "shards"
# Numbers of two tensors that are compared at once.
_COMPARED = 2**24


class TensorFacts(NamedTuple):
    """Shape and dtype of a stored tensor."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def numbers(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)


def open_tensors(file: Path) -> Any:
    """Return a file of tensors, opened; it closes at the end of a ``with``.

    Raises:
        CheckpointError: it is damaged, or shorter than it says.
    """
    try:
        return safe_open(file, "pt")
    except SafetensorError as error:
        raise CheckpointError(
            f"{file} is no whole file of tensors ({error}), as a download or a copy that broke off leaves it; fetch it "
            "again."
        ) from error


class StoredTensor(NamedTuple):
    """Where a tensor lies: its file, its name there, and how the file was when it was found."""

    file: Path
    name: str
    stamp: FileState

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape, from the header of the file."""
        with open_tensors(self.file) as opened:
            return tuple(opened.get_slice(self.name).get_shape())

    def copy_to(self, target: Tensor, start: Sequence[int] = ()) -> None:
        """Fill ``target`` with the part of the tensor that begins at ``start``; no other part is read.

        Args:
            target: of any dtype, on any device.
            start: for each dimension, 0 by default.

        Raises:
            CheckpointError: the file has changed since the tensor was found, which may be hours ago.
        """
        if file_state(self.file) != self.stamp:
            raise CheckpointError(f"{self.file} has changed since this run looked at it; start it again.")
        # Opened anew for each tensor: mapped pages that were read count as resident until their file is closed.
        with open_tensors(self.file) as opened:
            if not target.ndim:
                target.copy_(opened.get_tensor(self.name))
                return
            places = zip(start or (0,) * target.ndim, target.shape, strict=True)
            target.copy_(opened.get_slice(self.name)[tuple(slice(low, low + size) for low, size in places)])

    def equals(self, other: "StoredTensor") -> bool:
        """Whether another tensor has the same shape and numbers."""
        if not (shape := self.shape) or shape != other.shape:
            return False
        rows = max(1, _COMPARED * shape[0] // max(1, prod(shape)))
        return all(
            torch.equal(self.rows(start, start + rows), other.rows(start, start + rows))
            for start in range(0, shape[0], rows)
        )

    def rows(self, start: int, end: int) -> Tensor:
        """Return some rows, mapped into memory."""
        with open_tensors(self.file) as opened:
            return opened.get_slice(self.name)[start:end]


def find_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Return where every tensor of a folder lies, in the order of files."""
    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        stamp = file_state(file)
        with open_tensors(file) as opened:
            found.update({name: StoredTensor(file, name, stamp) for name in opened.keys()})  # noqa: SIM118
    return found


class StoredWeights:
    """The weights of a model folder, mapped into memory and read one by one.

    Args:
        folder: with ``*.safetensors``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def facts(self) -> dict[str, TensorFacts]:
        """Every tensor by name, in the order of names; nothing is read but headers."""
        return {name: TensorFacts(*_facts(self._files[name], name)) for name in sorted(self._files)}

    def read(self, name: str) -> Tensor:
        """Return a tensor as it is stored."""
        return self._files[name].get_tensor(name)

    @cached_property
    def _files(self) -> dict[str, Any]:
        opened = [open_tensors(file) for file in sorted(self.folder.glob("*.safetensors"))]
        return {name: file for file in opened for name in file.keys()}  # noqa: SIM118


def _facts(opened: Any, name: str) -> tuple[tuple[int, ...], torch.dtype]:
    piece = opened.get_slice(name)
    shape = tuple(piece.get_shape())
    # safetensors names dtypes in its own way; an empty or the first row tells torch's.
    dtype = piece[:0].dtype if shape else opened.get_tensor(name).dtype
    return shape, dtype


def write_weights(
    folder: Path, written: Mapping[str, TensorFacts], compute: Callable[[str], Tensor], shard_bytes: int = SHARD_BYTES
) -> None:
    """Compute tensors in order and write them as transformers reads them: one file, or shards and an index.

    Args:
        folder: must be there.
        written: every tensor with the shape and dtype that it will have.
        compute: gives a tensor by name.
        shard_bytes: largest shard; a larger tensor has one of its own.
    """
    shards = list(_shards(written, shard_bytes))
    clear_weights(folder)
    places: dict[str, str] = {}
    for number, names in enumerate(shards, start=1):
        file = SINGLE if len(shards) == 1 else SHARD.format(number=number, count=len(shards))
        held = {name: compute(name).to(written[name].dtype).contiguous().cpu() for name in names}
        save_file(held, folder / file, metadata={"format": "pt"})
        places.update(dict.fromkeys(names, file))
    if len(shards) > 1:
        total = sum(map(_bytes, written.values()))
        write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": places})


def clear_weights(folder: Path) -> None:
    """Delete the weights of a model that was written here before: their names need not be those of the next one."""
    for file in (*folder.glob("model*.safetensors"), folder / INDEX):
        file.unlink(missing_ok=True)


def _shards(written: Mapping[str, TensorFacts], limit: int) -> Iterator[Sequence[str]]:
    names: list[str] = []
    filled = 0
    for name, facts in written.items():
        if names and filled + _bytes(facts) > limit:
            yield names
            names, filled = [], 0
        names.append(name)
        filled += _bytes(facts)
    if names:
        yield names


def _bytes(facts: TensorFacts) -> int:
    return facts.numbers * facts.dtype.itemsize
