"""How far apart the weights of models are, module by module, and from where on they are not connected."""

import math
import re
from collections.abc import Sequence

from torch import Tensor

from basereward.configuration import Section

# The relative distance of weights that have nothing in common: as vectors they are orthogonal, of equal length.
UNRELATED = math.sqrt(2)
# Models that were trained on from one start stay far below; from half the way to unrelated weights on, the way between
# two models is not looked for in their weights.
LIMIT = UNRELATED / 2

# Numbers that are doubles at one time.
PIECE = 2**22


class MergedModule(Section):
    """A module of a merged model: where its weights came from, and how far apart those of the models were."""

    name: str
    origin: str
    """``average``, or the model that it was taken from."""
    tensors: int
    parameters: int
    distance: float | None
    """The largest relative distance of any model from the first, ``|a - b| / sqrt((|a|^2 + |b|^2) / 2)``: 0 if they are
    equal, 1.41 if they have nothing in common; null where only one model has it."""


class ModuleSums:
    """Sums over the tensors of one module, from which its distance follows."""

    def __init__(self, name: str, origin: str) -> None:
        self._name = name
        self._origin = origin
        self._tensors = self._parameters = 0
        self._apart: list[float] = []
        self._size: list[float] = []

    def add(self, parameters: int, tensors: Sequence[Tensor] = ()) -> None:
        """Count a tensor, and compare what the models have of it, the first with each other."""
        self._tensors += 1
        self._parameters += parameters
        if len(tensors) < 2:
            return
        first, *others = tensors
        self._apart = self._apart or [0.0] * len(others)
        self._size = self._size or [0.0] * len(others)
        own = square_sum(first)
        for place, other in enumerate(others):
            self._apart[place] += square_sum(first, other)
            self._size[place] += (own + square_sum(other)) / 2

    def module(self) -> MergedModule:
        """Return the module."""
        shares = [apart / size if size else 0.0 for apart, size in zip(self._apart, self._size, strict=True)]
        return MergedModule(
            name=self._name,
            origin=self._origin,
            tensors=self._tensors,
            parameters=self._parameters,
            distance=math.sqrt(max(shares)) if shares else None,
        )


class ModuleTable:
    """The modules of a model that is being merged, filled tensor by tensor."""

    def __init__(self) -> None:
        self._modules: dict[str, ModuleSums] = {}

    def add(self, tensor_name: str, origin: str, parameters: int, tensors: Sequence[Tensor] = ()) -> None:
        """Count a tensor in its module; ``tensors`` are what the models have of it."""
        name = module_of(tensor_name)
        self._modules.setdefault(name, ModuleSums(name, origin)).add(parameters, tensors)

    def modules(self) -> tuple[MergedModule, ...]:
        """Return all modules, in the order of the model."""
        return tuple(self._modules[name].module() for name in sorted(self._modules, key=_natural))


def square_sum(tensor: Tensor, other: Tensor | None = None) -> float:
    """Return the sum of squares of a tensor, or of its difference from another, in double precision.

    Piece by piece: embeddings as doubles would be several times the memory of the rest.
    """
    pieces = tensor.flatten().split(PIECE)
    if other is None:
        return sum(float(own.double().square().sum()) for own in pieces)
    others = other.flatten().split(PIECE)
    return sum(float((own.double() - away.double()).square().sum()) for own, away in zip(pieces, others, strict=True))


def module_of(tensor_name: str) -> str:
    """Return the module of a tensor: its block, such as ``model.layers.3``, or what stands beside the blocks."""
    if tensor_name.startswith("reward_head."):
        return "reward_head"
    found = re.match(r"(.*?\.\d+)\.", tensor_name)
    return found[1] if found else tensor_name.rpartition(".")[0]


def _natural(name: str) -> list[tuple[int, str]]:
    # Block 10 stands behind block 9.
    return [(int(part), "") if part.isdigit() else (-1, part) for part in name.split(".")]
