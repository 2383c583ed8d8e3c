"""Does a model look? The same pairs with the images of other pairs."""

import dataclasses
from collections.abc import Sequence
from random import Random

from basereward.data.schema import PreferencePair
from basereward.errors import DataError


def permute_images(pairs: Sequence[PreferencePair], seed: int = 0) -> list[PreferencePair]:
    """Give every pair with images the images of another pair with as many images.

    A model that answers from the text alone scores the same; one that looks falls to what the text gives away.

    Raises:
        DataError: a pair is the only one with its number of images, so that nothing can be exchanged.
    """
    exchanged = list(pairs)
    by_count: dict[int, list[int]] = {}
    for place, pair in enumerate(pairs):
        if pair.images:
            by_count.setdefault(len(pair.images), []).append(place)
    for count, places in by_count.items():
        if len(places) == 1:
            raise DataError(f"Only one pair has {count} images; image-blind accuracy needs at least two.")
        order = places.copy()
        Random(seed).shuffle(order)
        for giver, taker in zip(order, order[1:] + order[:1], strict=True):
            exchanged[taker] = dataclasses.replace(pairs[taker], images=pairs[giver].images)
    return exchanged
