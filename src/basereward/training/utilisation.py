"""What share of a known GPU's peak a run turns into model FLOPs."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from basereward.encoding.groups import EncodedGroup
from basereward.encoding.packing import NodeLength, TreeLength
from basereward.models.device_rates import data_sheet_rate
from basereward.models.flops import BackboneSize
from basereward.training.memory import step_size
from basereward.training.recipe import Recipe

# The key of a batch that holds its work.
MODEL_FLOPS = "model_flops"


class Utilisation(NamedTuple):
    """What the model FLOPs of a run are counted by.

    Args:
        size: ``step_size`` of the backbone.
        peak: FLOPs a second of one device.
    """

    size: BackboneSize
    peak: float

    def share(self, model_flops: float, seconds: float, ranks: int) -> float:
        """Return ``FLOPs / (seconds * ranks * peak)``, the FLOPs of all ranks."""
        return model_flops / (seconds * ranks * self.peak)


def utilisation_of(recipe: Recipe, size: BackboneSize, device: torch.device, dtype: torch.dtype) -> Utilisation | None:
    """Return what a run is measured by; None on a CPU, a GPU without a known rate, and in fp32."""
    peak = data_sheet_rate(device, dtype)
    return None if peak is None else Utilisation(step_size(recipe, size), peak)


def row_flops(size: BackboneSize, nodes: Int[Tensor, "node 3"], groups: Sequence[EncodedGroup]) -> float:
    """Return the FLOPs of one forward pass over a packed row, whatever stands there once counted once.

    Args:
        size: of the backbone; ``step_size`` of it gives those of a step.
        nodes: parent, start and end of each node; a parent comes before its children.
        groups: what the row was made of, for the sizes of its images.
    """
    above: list[int] = []
    lengths: list[NodeLength] = []
    for parent, start, end in nodes.tolist():
        above.append(0 if parent < 0 else above[parent] + lengths[parent].own)
        lengths.append(NodeLength(end - start, above[-1]))
    images: dict[int | tuple[int, int], int] = {}
    for group in groups:
        if group.images:
            for item, expansion in enumerate(group.images.expansions):
                key = group.images.keys[item] if group.images.keys else (id(group.images), item)
                images[key] = sum(expansion.counts)
    return size.tree_flops(TreeLength(tuple(lengths), tuple(images.values())))
