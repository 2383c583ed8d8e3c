"""Against shortcuts in the text: pairs weighed by what a text-only proxy knows, and images of others as negatives.

Source: arXiv 2503.03122 (weights by the failure of a text-only proxy); its coefficient also divides by the model's own
loss, and its proxy trains beside the model. Here the proxy's scores are columns of the pairs, made before training.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from pydantic import Field

from basereward.configuration import Section
from basereward.data.pairs import PairDataset
from basereward.data.schema import Comparison, PreferencePair, Response, ResponseGroup, response_id
from basereward.errors import RowError

# What ``basereward score`` writes beside a pair.
PROXY_COLUMNS = ("chosen_score", "rejected_score")
NO_PROXY_SCORES = "no_proxy_scores"


class ShortcutWeights(Section):
    """Weigh a pair that shows something by how badly a text-only proxy ranks it.

    ``w = floor + (1 - floor) * 2 * sigmoid(-m / temperature)`` with ``m`` the proxy's margin: 1 where it is undecided,
    ``floor`` where it is sure and right, ``2 - floor`` where it is sure and wrong. At temperature 1 and floor 0 a proxy
    whose probability ``q`` that one response is chosen is calibrated gives both labels the same weight in sum,
    ``q * 2 (1 - q)``: nothing that it sees tells which response is chosen any more. Pairs without images weigh 1.
    """

    temperature: float = Field(default=1.0, gt=0)
    """By which the proxy's margins are divided: above 1 for a proxy that is too sure of itself."""
    floor: float = Field(default=0.0, ge=0.0, lt=1.0)
    """What a pair that the proxy ranks right for certain still weighs."""

    def weigh(self, pair: PreferencePair) -> float:
        """Return the factor of a pair's weight; 1 without scores, which training refuses and validation may lack."""
        margin = proxy_margin(pair) if pair.is_multimodal else None
        if margin is None:
            return 1.0
        return self.floor + (1 - self.floor) * (1 - math.tanh(margin / self.temperature / 2))


def proxy_margin(pair: PreferencePair) -> float | None:
    """Return the proxy's score of chosen minus that of rejected, None where one is missing.

    Raises:
        RowError: ``malformed``: a score that is no finite number.
    """
    scores = [pair.extra.get(name) for name in PROXY_COLUMNS]
    if None in scores:
        return None
    for name, value in zip(PROXY_COLUMNS, scores, strict=True):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise RowError("malformed", f"Expected a finite number under {name!r}, found {value!r}.")
    return float(scores[0]) - float(scores[1])  # type: ignore[arg-type]


def check_proxy_scores(pair: PreferencePair) -> None:
    """Refuse a pair that shows something and has no scores of a proxy, or has those of a record with several pairs.

    Raises:
        RowError: ``no_proxy_scores``, or as ``proxy_margin``.
    """
    if not pair.is_multimodal:
        return
    # Beside the scores of all responses of a record stand its lowest and its highest one, not those of a pair.
    if (together := len(pair.scores)) > 2:
        reason = f"The scores are of {together} responses of one record. Convert the file to pairs, and score these."
        raise RowError(NO_PROXY_SCORES, reason)
    if proxy_margin(pair) is None:
        raise RowError(NO_PROXY_SCORES, f"The pair has no {' and '.join(PROXY_COLUMNS)} of a text-only proxy.")


class ImageSwap(Section):
    """Pairs with images also prefer their chosen response behind their own images to that behind those of another.

    Adds ``weight * -log sigmoid(r(x, images, y_chosen) - r(x, other images, y_chosen))``. Both sides say the same, so
    that no text can explain the difference.
    """

    weight: float = Field(default=1.0, gt=0)
    """Of the added term, beside Bradley-Terry with its 1."""
    share: float = Field(default=1.0, gt=0, le=1)
    """Of the pairs with images, how many are swapped, by a hash of their content."""


@dataclass(frozen=True, slots=True)
class SwappedPair(PreferencePair):
    """A pair with the images of another one, which its chosen response should not fit."""

    swapped: tuple[Any, ...] = ()


class SwappedPairs(Sequence[PreferencePair]):
    """Pairs of which some bring the images of another one; it pickles into data loader workers.

    Args:
        pairs: those that are used, and those that only lend images.
        places: of those that are used.
        partners: for each of these the place of the pair whose images it brings, -1 for none.
    """

    def __init__(
        self, pairs: PairDataset, places: Sequence[int] | np.ndarray, partners: Sequence[int] | np.ndarray
    ) -> None:
        self._pairs, self._places, self._partners = pairs, np.asarray(places), np.asarray(partners)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> PreferencePair: ...
    @overload
    def __getitem__(self, index: slice) -> "SwappedPairs": ...
    def __getitem__(self, index: int | slice) -> "PreferencePair | SwappedPairs":
        if isinstance(index, slice):
            return SwappedPairs(self._pairs, self._places[index], self._partners[index])
        pair, partner = self._pairs[int(self._places[index])], int(self._partners[index])
        return pair if partner < 0 else swap_images(pair, self._pairs[partner].images)


def swap_images(pair: PreferencePair, images: tuple[Any, ...]) -> SwappedPair:
    """Return a pair that brings the images of another one."""
    named = {name: getattr(pair, name) for name in PreferencePair.__dataclass_fields__}
    return SwappedPair(**named, swapped=images)


def swapped_group(pair: PreferencePair, images: tuple[Any, ...]) -> ResponseGroup:
    """Return the group of a pair's prompt behind other images, answered by its chosen response alone."""
    answer = Response(response_id(pair.id, pair.chosen), pair.chosen)
    return ResponseGroup(f"{pair.id}/swapped", pair.prompt, (answer,), images)


def with_swap(pair: PreferencePair, comparison: Comparison) -> Comparison:
    """Return a comparison with the swapped group of its pair behind its own groups, if the pair brings images."""
    if not isinstance(pair, SwappedPair):
        return comparison
    return comparison._replace(groups=(*comparison.groups, swapped_group(pair, pair.swapped)))
