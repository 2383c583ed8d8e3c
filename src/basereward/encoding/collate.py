"""Encoded groups and their comparisons as one packed row: a dict of tensors."""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple, Required, TypedDict, TypeVar, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from basereward.data.schema import PartType
from basereward.encoding.compared import compared_tensors
from basereward.encoding.groups import EncodedGroup
from basereward.encoding.keys import FIRST_SALT, content_key, key_tokens, media_spans
from basereward.encoding.media import EncodedImages
from basereward.encoding.tree import TokenNode, grow
from basereward.encoding.vision import VisionEncoding


class GroupBatch(TypedDict, total=False):
    """One packed row: a forest of token nodes, in a dictionary so that Trainer moves it between devices.

    ``nodes`` are the parent (-1: none), start and end of every node, ``leaves`` the node that each response ends with,
    ``answer_lengths`` its tokens after the generation prompt, ``sets`` and ``set_places`` the different responses of
    each group, as ``compared_tensors`` gives them. A row with images or videos also has ``image_nodes``, the node of
    every place where one stands, in row order; ``image_items``, which one stands there; ``image_rows``, how many rows
    each of these has in the tensor of each of ``VISION_KEYS``; and these tensors, those that the family has.
    """

    input_ids: Required[Int[Tensor, "1 token"]]
    position_ids: Required[Int[Tensor, "axis 1 token"]]
    nodes: Required[Int[Tensor, "node 3"]]
    leaves: Required[Int[Tensor, " response"]]
    answer_lengths: Required[Int[Tensor, " response"]]
    sets: Required[Int[Tensor, "set member"]]
    set_places: Required[Int[Tensor, " response"]]
    image_nodes: Int[Tensor, " place"]
    image_items: Int[Tensor, " place"]
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
    responses behind their own images and behind those of another pair, with ``swap_weights``. ``rankings`` are the
    response, ranking and rank of each member, ``pair_rankings`` the ranking of each pair, ``unranked`` those alone.
    """

    pairs: Required[Int[Tensor, "pair 2"]]
    margins: Required[Float[Tensor, " pair"]]
    weights: Required[Float[Tensor, " pair"]]
    word_weights: Required[Float[Tensor, " pair"]]
    swaps: Int[Tensor, "swap 2"]
    swap_weights: Float[Tensor, " swap"]
    rankings: Int[Tensor, "member 3"]
    pair_rankings: Int[Tensor, " pair"]
    unranked: Bool[Tensor, " pair"]


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
    """Pack groups into one row, in which whatever their conversations begin with alike stands once.

    Args:
        groups: at least one encoded group.
        vision: if given, a row without images gets one tiny image in a group without responses, so that every
            rank runs the vision tower equally often (FSDP2 hangs without it). Scoring passes None.
        kinds: what every row must have; with ``video`` in it, a row without videos gets a tiny one as well. Name it
            as soon as any row of any rank has videos.
    """
    # A dummy is a tree without responses: no reward reads it, so it changes nothing but that the tower runs.
    groups = [*groups, *(_dummies(groups, vision, kinds) if vision else ())]
    sequences = [_Sequence(group, suffix) for group in groups for suffix in group.suffixes or (_NOTHING,)]
    forest = grow([sequence.keys(FIRST_SALT + place) for place, sequence in enumerate(sequences)])
    responses = [place for place, sequence in enumerate(sequences) if sequence.group.suffixes]
    sizes = [node.end - node.start for node in forest.nodes]
    starts = [0, *accumulate(sizes)]
    spans = [(node.parent, start, start + size) for node, start, size in zip(forest.nodes, starts, sizes, strict=False)]
    ids = [sequences[node.sequence].ids[node.start : node.end] for node in forest.nodes]
    positions = [sequences[node.sequence].positions(node.start, node.end) for node in forest.nodes]
    leaves = [forest.ends[place] for place in responses]
    owners = [number for number, group in enumerate(groups) for _ in group.suffixes]
    batch = {
        "input_ids": torch.from_numpy(np.concatenate(ids))[None],
        "position_ids": torch.from_numpy(np.concatenate(positions, axis=1))[:, None],
        "nodes": torch.tensor(spans),
        "leaves": torch.tensor(leaves, dtype=torch.long),
        "answer_lengths": torch.tensor([length for group in groups for length in group.answer_lengths]),
        **compared_tensors(owners, leaves),
    }
    return cast(GroupBatch, {**batch, **_images(forest.nodes, [sequence.group for sequence in sequences])})


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
        items: which of the row's images and videos, in the order wanted, possibly several times; each once by default.
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


_NOTHING: Int[np.ndarray, " none"] = np.zeros(0, dtype=np.int64)


class _Sequence(NamedTuple):
    """One conversation of a group; of a group without responses, its prompt."""

    group: EncodedGroup
    suffix: Int[np.ndarray, " suffix"]

    @property
    def ids(self) -> Int[np.ndarray, " token"]:
        return np.concatenate([self.group.prefix, self.suffix])

    def keys(self, salt: int) -> Int[np.ndarray, " token"]:
        keys = np.concatenate([self.group.keys, self.suffix])
        if self.group.is_apart:
            # What differs in its first token is another branch, whatever follows.
            keys[len(self.group.keys)] = salt
        return keys

    def positions(self, start: int, end: int) -> Int[np.ndarray, "axis token"]:
        """Every response continues at the position where its prompt ends, as if it were alone."""
        prompt, following = self.group.positions
        behind = following + np.arange(max(start - prompt.shape[1], 0), max(end - prompt.shape[1], 0))
        return np.concatenate([prompt[:, start:end], np.tile(behind, (len(prompt), 1))], axis=1)


class _Place(NamedTuple):
    """An image or video where it stands: in which node, and the which of whose images it is."""

    node: int
    images: EncodedImages
    item: int

    @property
    def key(self) -> int | tuple[int, int]:
        """What is equal for the same image; without keys it is the same if it is the same object."""
        return self.images.keys[self.item] if self.images.keys else (id(self.images), self.item)


def _images(nodes: Sequence[TokenNode], groups: Sequence[EncodedGroup]) -> dict[str, Tensor]:
    """Return where images and videos stand, and their tensors, each once however often it stands in the row."""
    places = [place for number, node in enumerate(nodes) for place in _places(number, node, groups[node.sequence])]
    if not places:
        return {}
    items: dict[int | tuple[int, int], _Place] = {}
    for place in places:
        items.setdefault(place.key, place)
    numbers = {key: number for number, key in enumerate(items)}
    rows = [[item.images.rows[item.item].get(key, 0) for key in VISION_KEYS] for item in items.values()]
    parts = {key: [own for item in items.values() if (own := _rows(item, key)) is not None] for key in VISION_KEYS}
    return {
        "image_nodes": torch.tensor([place.node for place in places]),
        "image_items": torch.tensor([numbers[place.key] for place in places]),
        "image_rows": torch.tensor(rows),
        **{key: torch.cat(tensors) for key, tensors in parts.items() if tensors},
    }


def _places(number: int, node: TokenNode, group: EncodedGroup) -> Iterator[_Place]:
    """Yield the images and videos that stand in a node, which holds each of them whole."""
    if group.images is None:
        return
    for item, (first, stop) in enumerate(media_spans(group.keys, group.images)):
        if node.start <= first < node.end:
            assert stop <= node.end, "equal keys end together"
            yield _Place(number, group.images, item)


def _rows(place: _Place, key: str) -> Tensor | None:
    """Return the rows of one image or video in one tensor, None if it has none there."""
    images, item = place.images, place.item
    size = images.rows[item].get(key, 0)
    if not size:
        return None
    start = sum(own.get(key, 0) for own in images.rows[:item])
    return images.tensors[key][start : start + size]


def _dummies(
    groups: Sequence[EncodedGroup], vision: VisionEncoding, kinds: Sequence[PartType]
) -> Iterator[EncodedGroup]:
    present = {key for group in groups if group.images for key in group.images.tensors}
    for kind in vision.kinds:
        if kind in kinds:
            images = vision.dummy_images(kind)
            if not images.tensors.keys() <= present:
                ids = vision.dummy_ids(kind)
                keys = key_tokens(ids, vision.pad_ids, images.expansions, [content_key(f"dummy {kind}")])
                yield EncodedGroup(ids, (), vision.positions(ids, images), (), images, keys=keys)
