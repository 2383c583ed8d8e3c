"""Encoded groups and their comparisons as one packed row: a dict of tensors."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Required, TypedDict, TypeVar, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from basereward.data.schema import PartType
from basereward.encoding.template import EncodedGroup
from basereward.encoding.vision import VisionEncoding


class GroupBatch(TypedDict, total=False):
    """One packed row ``[prompt | r1 | r2 | prompt | r1 | ...]``, a dictionary so that Trainer moves it between devices.

    ``prefixes`` are the start and end of every prompt, ``responses`` the group, start and end of every response,
    ``answer_lengths`` its tokens after the generation prompt. A row with images or videos also has ``image_groups``,
    the group of every one in row order; ``image_rows``, how many rows it has in the tensor of each of ``VISION_KEYS``;
    and these tensors, those that the family has.
    """

    input_ids: Required[Int[Tensor, "1 token"]]
    position_ids: Required[Int[Tensor, "axis 1 token"]]
    prefixes: Required[Int[Tensor, "group 2"]]
    responses: Required[Int[Tensor, "response 3"]]
    answer_lengths: Required[Int[Tensor, " response"]]
    image_groups: Int[Tensor, " item"]
    image_rows: Int[Tensor, "item key"]
    pixel_values: Float[Tensor, "..."]
    image_grid_thw: Int[Tensor, "image 3"]
    pixel_values_videos: Float[Tensor, "..."]
    video_grid_thw: Int[Tensor, "video 3"]
    target_places: Int[Tensor, " target"]
    target_owners: Int[Tensor, " target"]
    target_weights: Float[Tensor, " target"]
    verdict_targets: Int[Tensor, " verdict"]
    verdict_others: Int[Tensor, " verdict"]


class PairBatch(GroupBatch, total=False):
    """A row whose responses are compared: chosen and rejected counted through all its groups.

    ``weights`` are those of the comparison, ``word_weights`` of what a model learns to write. ``swaps`` are chosen
    responses behind their own images and behind those of another pair, with ``swap_weights``.
    """

    pairs: Required[Int[Tensor, "pair 2"]]
    margins: Required[Float[Tensor, " pair"]]
    weights: Required[Float[Tensor, " pair"]]
    word_weights: Required[Float[Tensor, " pair"]]
    swaps: Int[Tensor, "swap 2"]
    swap_weights: Float[Tensor, " swap"]


Batch = TypeVar("Batch", GroupBatch, PairBatch)
# All inputs of a backbone that hold images or videos.
VISION_KEYS = ("pixel_values", "image_grid_thw", "pixel_values_videos", "video_grid_thw")


class PairIndex(NamedTuple):
    """Which responses of a batch are compared, counted through all its groups."""

    chosen: int
    rejected: int
    margin: float = 0.0
    weight: float = 1.0
    word_weight: float = 1.0


def collate(
    groups: Sequence[EncodedGroup], vision: VisionEncoding | None = None, kinds: Sequence[PartType] = ("image",)
) -> GroupBatch:
    """Pack groups into one row.

    Args:
        groups: at least one encoded group.
        vision: if given, a row without images gets one tiny image in a group without responses, so that every
            rank runs the vision tower equally often (FSDP2 hangs without it). Scoring passes None.
        kinds: what every row must have; with ``video`` in it, a row without videos gets a tiny one as well. Name it
            as soon as any row of any rank has videos.
    """
    # A dummy is a tree without responses: no reward reads it, so it changes nothing but that the tower runs.
    groups = [*groups, *(_dummies(groups, vision, kinds) if vision else ())]
    ids, positions, prefixes, responses = [], [], [], []
    cursor = 0
    for number, group in enumerate(groups):
        ids.append(group.prefix)
        positions.append(group.positions.prefix)
        prefixes.append((cursor, cursor + len(group.prefix)))
        cursor += len(group.prefix)
        axes = len(group.positions.prefix)
        for suffix in group.suffixes:
            # Every response continues at the position where its prompt ends, as if it were alone.
            ids.append(suffix)
            positions.append(np.tile(group.positions.following + np.arange(len(suffix)), (axes, 1)))
            responses.append((number, cursor, cursor + len(suffix)))
            cursor += len(suffix)
    batch = {
        "input_ids": torch.from_numpy(np.concatenate(ids))[None],
        "position_ids": torch.from_numpy(np.concatenate(positions, axis=1))[:, None],
        "prefixes": torch.tensor(prefixes),
        "responses": torch.tensor(responses).reshape(-1, 3),
        "answer_lengths": torch.tensor([length for group in groups for length in group.answer_lengths]),
    }
    return cast(GroupBatch, {**batch, **_images(groups)})


def move_batch(batch: Batch, device: torch.device | str) -> Batch:
    """Return a row on another device."""
    return cast(Batch, {key: value.to(device) for key, value in cast(dict[str, Tensor], batch).items()})


def compare(batch: GroupBatch, pairs: Sequence[PairIndex]) -> PairBatch:
    """Return a row with what is compared in it."""
    return cast(PairBatch, {**cast(dict[str, Tensor], batch), **pair_tensors(pairs)})


def pair_tensors(pairs: Sequence[PairIndex]) -> dict[str, Tensor]:
    """Return ``pairs`` of shape [pair, 2], and ``margins``, ``weights`` and ``word_weights`` of shape [pair]."""
    return {
        "pairs": torch.tensor([(pair.chosen, pair.rejected) for pair in pairs]).reshape(-1, 2),
        "margins": torch.tensor([pair.margin for pair in pairs], dtype=torch.float32),
        "weights": torch.tensor([pair.weight for pair in pairs], dtype=torch.float32),
        "word_weights": torch.tensor([pair.word_weight for pair in pairs], dtype=torch.float32),
    }


class SwapIndex(NamedTuple):
    """A chosen response of a batch behind its own images and behind others, counted through all its groups."""

    own: int
    other: int
    weight: float = 1.0


def swap_tensors(swaps: Sequence[SwapIndex]) -> dict[str, Tensor]:
    """Return ``swaps`` of shape [swap, 2] and ``swap_weights`` of shape [swap]; a row may have none."""
    return {
        "swaps": torch.tensor([(swap.own, swap.other) for swap in swaps], dtype=torch.long).reshape(-1, 2),
        "swap_weights": torch.tensor([swap.weight for swap in swaps], dtype=torch.float32),
    }


def take_images(batch: GroupBatch, items: Tensor | None = None) -> dict[str, Tensor]:
    """Return the backbone's inputs for some images and videos of a batch; nothing if there are none.

    Args:
        batch: a packed row.
        items: which of the row's images and videos, in the order wanted, possibly several times; all by default.
    """
    tensors = cast(dict[str, Tensor], batch)
    present = [key for key in VISION_KEYS if key in batch]
    if items is None:
        return {key: tensors[key] for key in present}
    if not present or not len(items):
        return {}
    rows = dict(zip(VISION_KEYS, batch["image_rows"].T.tolist(), strict=True))
    chosen = items.tolist()
    taken = {}
    for key in present:
        pieces = tensors[key].split(rows[key])
        if any(rows[key][item] for item in chosen):
            taken[key] = torch.cat([pieces[item] for item in chosen])
    return taken


def _images(groups: Sequence[EncodedGroup]) -> dict[str, Tensor]:
    found = [(number, group.images) for number, group in enumerate(groups) if group.images is not None]
    if not found:
        return {}
    parts = {key: [images.tensors[key] for _, images in found if key in images.tensors] for key in VISION_KEYS}
    return {
        "image_groups": torch.tensor([number for number, images in found for _ in images.rows]),
        "image_rows": torch.tensor(
            [[own.get(key, 0) for key in VISION_KEYS] for _, images in found for own in images.rows]
        ),
        **{key: torch.cat(tensors) for key, tensors in parts.items() if tensors},
    }


def _dummies(
    groups: Sequence[EncodedGroup], vision: VisionEncoding, kinds: Sequence[PartType]
) -> Iterator[EncodedGroup]:
    present = {key for group in groups if group.images for key in group.images.tensors}
    for kind in vision.kinds:
        if kind in kinds:
            images = vision.dummy_images(kind)
            if not images.tensors.keys() <= present:
                ids = vision.dummy_ids(kind)
                yield EncodedGroup(ids, (), vision.positions(ids, images), (), images)
