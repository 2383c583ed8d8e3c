"""Whose images a pair is shown instead of its own: by content alone, never the same image, and counted."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from basereward.configuration import Section
from basereward.curation.fingerprints.text import mix, text_hashes
from basereward.curation.seen import image_hashes
from basereward.data.columns import column, list_counts, read_spoken
from basereward.data.pairs import LoadedPairs, PairDataset
from basereward.data.schema import REQUIRED_KEYS, Comparison, PreferencePair
from basereward.encoding.groups import GroupLength
from basereward.encoding.lengths import Lengths
from basereward.encoding.measuring import Trees, measure_lengths
from basereward.encoding.template import Template
from basereward.errors import DataError
from basereward.training.shortcuts import ImageSwap, SwappedPairs, swapped_group

# How many others are looked at before a pair goes without: with few distinct images nearly all may be the same.
_TRIES = 64
NONE = -1


class SwapCounts(Section):
    """What came of the pairs that show images: those with images of another pair, and why the others have none."""

    swapped: int
    same_prompt: int
    """Of the swapped: those whose partner has the same prompt and another chosen response, so that images decide."""
    left_out: int
    """By the share."""
    alone: int
    """No other pair (of 64 that were looked at) fits; or the pair has videos, or images in a response."""
    too_long: int
    """With the other images."""


class SwapFacts(NamedTuple):
    """What decides who may be whose partner, pair by pair, each of shape (n,).

    Args:
        prompts: hash of the text.
        chosen: hash of the text.
        images: hash of the image files; 0 where the pair cannot be swapped.
        counts: images of the prompt.
        is_multimodal: whether the pair shows anything.
    """

    prompts: np.ndarray
    chosen: np.ndarray
    images: np.ndarray
    counts: np.ndarray
    is_multimodal: np.ndarray


@dataclass(frozen=True)
class Swaps:
    """The swaps of training pairs: the pairs with the images, sizes of the groups that they add, and the counts."""

    pairs: SwappedPairs
    lengths: tuple[GroupLength | None, ...]
    counts: SwapCounts

    def add_to(self, lengths: Lengths) -> Lengths:
        """Return the sizes of the pairs with their further groups."""
        return lengths.with_groups(self.lengths)


def plan_swaps(
    loaded: LoadedPairs, usable: Sequence[int] | np.ndarray, template: Template, swap: ImageSwap, workers: int = 0
) -> Swaps:
    """Find a partner for every usable pair with images, and measure what its images add.

    Args:
        loaded: all pairs; one that is too long may still lend its images.
        usable: places of those that train.

    Raises:
        DataError: no pair can be swapped.
    """
    shown = read_swap_facts(loaded.pairs)
    kept = _draw(shown, swap.share)
    partners = find_partners(shown, kept)[list(usable)]
    lengths = _measure(loaded, usable, partners, template, workers)
    too_long = [own is None and partner != NONE for own, partner in zip(lengths, partners, strict=True)]
    partners = np.where(too_long, NONE, partners)
    places = np.asarray(usable)
    is_swapped = partners != NONE
    multimodal = int(shown.is_multimodal[places].sum())
    left_out = int((shown.is_multimodal & ~kept)[places].sum())
    alone = multimodal - left_out - int(is_swapped.sum()) - sum(too_long)
    if not is_swapped.any():
        raise DataError(
            f"objective.image_swap finds no image for any of {multimodal} pairs with images: {alone} have no partner "
            f"with as many, but different ones, {sum(too_long)} would be too long. Leave image_swap out."
        )
    same = (shown.prompts[places] == shown.prompts[partners]) & is_swapped
    counts = SwapCounts(
        swapped=int(is_swapped.sum()),
        same_prompt=int(same.sum()),
        left_out=left_out,
        alone=alone,
        too_long=sum(too_long),
    )
    return Swaps(SwappedPairs(loaded.pairs, usable, partners), tuple(lengths), counts)


def read_swap_facts(pairs: PairDataset) -> SwapFacts:
    """Return what decides who may be whose partner."""
    prompts, chosen, counts, others = [], [], [], []
    videos = []
    for table in pairs.tables([*REQUIRED_KEYS, "videos"]):
        asked, *answers = (read_spoken(column(table, side)) for side in REQUIRED_KEYS)
        prompts.append(text_hashes(asked.texts.to_pylist()))
        chosen.append(text_hashes(answers[0].texts.to_pylist()))
        counts.append(asked.images)
        others.append(answers[0].images + answers[1].images)
        videos.append(list_counts(column(table, "videos")))
    own, others_shown, moving = (np.concatenate(parts) for parts in (counts, others, videos))
    images = image_hashes(pairs)
    can_swap = (own > 0) & (others_shown == 0) & (moving == 0)
    is_multimodal = (own + others_shown + moving) > 0
    return SwapFacts(
        np.concatenate(prompts), np.concatenate(chosen), np.where(can_swap, images, np.uint64(0)), own, is_multimodal
    )


def find_partners(shown: SwapFacts, kept: np.ndarray) -> np.ndarray:
    """Return the place of each kept pair's partner, ``NONE`` without one, shape (n,).

    A partner shows as many images, but others. If possible it has the same prompt and another chosen response; it never
    has the same prompt and the same chosen response, because its images would fit as well. Which one it is depends on
    the content of the pairs, not on their order in the file.

    Args:
        kept: whether a pair is to be swapped, shape (n,).
    """
    prompts, chosen, images, counts = (values.tolist() for values in shown[:4])
    order = np.argsort(_content(shown), kind="stable").tolist()
    alike: dict[tuple[int, int], list[int]] = defaultdict(list)
    any_prompt: dict[int, list[int]] = defaultdict(list)
    for place in order:
        if images[place]:
            alike[counts[place], prompts[place]].append(place)
            any_prompt[counts[place]].append(place)

    def fits(place: int, other: int) -> bool:
        is_answer = prompts[place] == prompts[other] and chosen[place] == chosen[other]
        return images[place] != images[other] and not is_answer

    found = np.full(len(images), NONE, dtype=np.int64)
    for ring in [*alike.values(), *any_prompt.values()]:
        for position, place in enumerate(ring):
            if kept[place] and found[place] == NONE:
                found[place] = _next(place, ring, position, fits)
    return found


def _next(place: int, ring: Sequence[int], position: int, fits: Callable[[int, int], bool]) -> int:
    """Return the first that fits among those behind a place of a ring, ``NONE`` without one."""
    tried: Iterable[int] = range(position + 1, position + min(len(ring), _TRIES + 1))
    return next((ring[at % len(ring)] for at in tried if fits(place, ring[at % len(ring)])), NONE)


def _content(shown: SwapFacts) -> np.ndarray:
    return mix(shown.prompts + mix(shown.chosen + mix(shown.images)))


def _draw(shown: SwapFacts, share: float) -> np.ndarray:
    # Mixed anew: else the share would be of neighbours in the order. 53 bits are a float in [0, 1).
    return (mix(_content(shown) + np.uint64(1)) >> np.uint64(11)) * 2.0**-53 < share


def _measure(
    loaded: LoadedPairs, usable: Sequence[int] | np.ndarray, partners: np.ndarray, template: Template, workers: int
) -> list[GroupLength | None]:
    """Return the size of each usable pair's further group, None without one or if it is too long."""
    swapped = [(at, place, int(own)) for at, (place, own) in enumerate(zip(usable, partners, strict=True)) if own >= 0]
    lengths: list[GroupLength | None] = [None] * len(usable)
    if not swapped:
        return lengths
    _, own, others = (list(parts) for parts in zip(*swapped, strict=True))
    # Each pair beside the sizes of the images that it brings.
    sizes = loaded.sidecar.select(others)
    beside = LoadedPairs(loaded.pairs.select(own), sizes, loaded.ledger, loaded.read, loaded.recognised)
    trees = Trees(_swapped_alone, f"image_swap/{loaded.sidecar.select(own).fingerprint}")
    for (at, *_), row in zip(swapped, measure_lengths(beside, template, workers, trees=trees), strict=True):
        lengths[at] = row.groups[0] if row.problem is None else None
    return lengths


def _swapped_alone(pair: PreferencePair) -> Comparison:
    return Comparison((swapped_group(pair, pair.images),), 0, 0)
