"""Does a model look? The same prompts and responses with the images and videos of others."""

import dataclasses
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from basereward.benchmarks.items import BenchmarkItem, ItemFacts, MadeItems, SeenImage
from basereward.errors import DataError

IMAGE_BLIND = "image_blind"
BLIND_SEED = 0


class Exchange(NamedTuple):
    """Who shows whose images.

    Args:
        givers: number of an item -> number of the item whose images and videos it shows.
        left_out: items with images for which there were no other ones.
    """

    givers: dict[int, int]
    left_out: tuple[int, ...]

    @property
    def notes(self) -> list[str]:
        """What a reader must know about those left out, if there are any."""
        if not self.left_out:
            return []
        return [
            f"{len(self.left_out)} of {len(self.givers) + len(self.left_out)} prompts with images or videos are not in "
            "the image-blind accuracy: too few others show as many of them, but different ones."
        ]


def exchange_images(facts: ItemFacts, numbers: Sequence[int] | None = None, seed: int = BLIND_SEED) -> Exchange:
    """Give every item with images or videos those of another one: as many, and other ones.

    A model that answers from the text alone scores the same; one that looks falls to what the text gives away. Where
    more than half of those with some number of images show the same, the surplus is left out.

    Args:
        numbers: the items that take part, all by default.

    Raises:
        DataError: some have images or videos, but no two of them can be exchanged.
    """
    owners: dict[tuple[tuple[int, int], ...], dict[tuple[SeenImage, ...], list[int]]] = {}
    for number in range(len(facts.images)) if numbers is None else numbers:
        if images := facts.images[number]:
            owners.setdefault(facts.shapes[number], {}).setdefault(images, []).append(number)
    givers: dict[int, int] = {}
    left_out: list[int] = []
    for by_content in owners.values():
        blocks = list(by_content.values())
        Random(seed).shuffle(blocks)
        largest = max(blocks, key=len)
        others = sum(map(len, blocks)) - len(largest)
        left_out += largest[others:]
        del largest[others:]
        order = [number for block in blocks for number in block]
        # Equal images stand side by side in the order. Moved on by the largest block of them, nobody meets its own, as
        # that block is at most half of the order.
        shift = max(map(len, blocks))
        givers.update(zip(order, order[shift:] + order[:shift], strict=True))
    if left_out and not givers:
        raise DataError(
            f"Image-blind accuracy needs other images to exchange with: of {len(left_out)} prompts with images or "
            "videos no two show as many of them, but different ones."
        )
    return Exchange(givers, tuple(sorted(left_out)))


class ExchangedItems(MadeItems):
    """Items of which some show the images and videos of another one, put together when asked for."""

    def __init__(self, items: Sequence[BenchmarkItem], exchange: Exchange) -> None:
        self._items = items
        self._givers = exchange.givers

    def __len__(self) -> int:
        return len(self._items)

    def make(self, index: int) -> BenchmarkItem:
        """Return an item with the images of its giver, if it has one."""
        item, giver = self._items[index], self._givers.get(index)
        if giver is None:
            return item
        groups = (
            dataclasses.replace(own, images=other.images, videos=other.videos)
            for own, other in zip(item.groups, self._items[giver].groups, strict=True)
        )
        return dataclasses.replace(item, groups=tuple(groups))
