"""Images and videos between pixels and tokens: what an encoding takes and what it gives."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int
from PIL import Image
from torch import Tensor

from basereward.data.schema import PartType


class Clip(NamedTuple):
    """A video as decoded frames of one size, ``fps`` frames a second; None is what the family's processor assumes."""

    frames: tuple[Image.Image, ...]
    fps: float | None


class Expansion(NamedTuple):
    """What stands in the text for one image or video.

    Args:
        kind: ``image`` or ``video``.
        text: replaces the placeholder of the chat template. In it each run of pad tokens is written as one.
        counts: the lengths of these runs, in order.
    """

    kind: PartType
    text: str
    counts: tuple[int, ...]


class EncodedImages(NamedTuple):
    """The images and videos of one group, in the order of their tokens.

    Args:
        tensors: inputs of the backbone, the rows of all items after one another.
        rows: for each item, how many rows it has in each tensor.
        expansions: for each item, its tokens.
        rope: what the backbone's ``get_rope_index`` asks for beside ids and tensors.
        keys: for each item, a number that equal ones have; without them none is taken for another.
    """

    tensors: dict[str, Tensor]
    rows: list[dict[str, int]]
    expansions: list[Expansion]
    rope: Mapping[str, Any] = {}
    keys: tuple[int, ...] = ()


class Positions(NamedTuple):
    """Rotary positions of a prefix and the position at which every response continues."""

    prefix: Int[np.ndarray, "axis token"]
    following: int


def text_positions(ids: Int[np.ndarray, " token"], axes: int) -> Positions:
    """Return 0, 1, 2, ... on every axis."""
    return Positions(np.tile(np.arange(len(ids), dtype=np.int64), (axes, 1)), len(ids))
