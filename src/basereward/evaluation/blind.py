"""Does a model look? The same pairs with the images and videos of other pairs."""

import dataclasses
import hashlib
from collections.abc import Hashable, Mapping, Sequence
from random import Random
from typing import Any, overload

from basereward.data.schema import PreferencePair
from basereward.errors import DataError


class ExchangedImages(Sequence[PreferencePair]):
    """Pairs of which some show the images and videos of another one, put together when asked for.

    Args:
        givers: place of a pair -> place of the pair whose images and videos it shows.
    """

    def __init__(self, pairs: Sequence[PreferencePair], givers: Mapping[int, int]) -> None:
        self._pairs = pairs
        self._givers = givers

    def __len__(self) -> int:
        return len(self._pairs)

    @overload
    def __getitem__(self, index: int) -> PreferencePair: ...
    @overload
    def __getitem__(self, index: slice) -> list[PreferencePair]: ...
    def __getitem__(self, index: int | slice) -> PreferencePair | list[PreferencePair]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        if place not in self._givers:
            return self._pairs[place]
        giver = self._pairs[self._givers[place]]
        return dataclasses.replace(self._pairs[place], images=giver.images, videos=giver.videos)


def permute_images(pairs: Sequence[PreferencePair], seed: int = 0) -> ExchangedImages:
    """Give every pair with images or videos those of another pair: as many, and other ones.

    A model that answers from the text alone scores the same; one that looks falls to what the text gives away.

    Raises:
        DataError: among the pairs with some number of images too many show the same, or there is only one.
    """
    owners: dict[tuple[int, int], dict[Hashable, list[int]]] = {}
    for place, pair in enumerate(pairs):
        if pair.is_multimodal:
            counts = (len(pair.images), len(pair.videos))
            owners.setdefault(counts, {}).setdefault(_key(pair), []).append(place)
    givers: dict[int, int] = {}
    for (images, videos), by_content in owners.items():
        blocks = list(by_content.values())
        Random(seed).shuffle(blocks)
        order = [place for block in blocks for place in block]
        # Moved on by the largest block of equal images, nobody meets its own.
        shift = max(map(len, blocks))
        if 2 * shift > len(order):
            raise DataError(
                f"Image-blind accuracy needs other images to exchange with: of {len(order)} pairs with {images} "
                f"images and {videos} videos, {shift} show the same."
            )
        givers.update(zip(order, order[shift:] + order[:shift], strict=True))
    return ExchangedImages(pairs, givers)


def _key(pair: PreferencePair) -> Hashable:
    frames = (frame for video in pair.videos for frame in video.frames)
    return tuple(_image_key(image) for image in (*pair.images, *frames))


def _image_key(image: Any) -> Hashable:
    if isinstance(image, Mapping):
        return _image_key(image["path"] if image.get("bytes") is None else image["bytes"])
    if isinstance(image, bytes):
        return hashlib.sha256(image).digest()
    return str(image) if isinstance(image, Hashable) else id(image)
