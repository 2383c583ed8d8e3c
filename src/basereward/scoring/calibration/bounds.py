"""Conformal bounds: how far two rewards must lie apart for the higher one to be called better."""

from math import ceil

import numpy as np
from jaxtyping import Bool, Float, UInt64
from pydantic import Field, NonNegativeFloat

from basereward.configuration import Section
from basereward.errors import ScoringError
from basereward.scoring.calibration.fitting import LEAST


class Bounds(Section):
    """The margin up to which two responses to a prompt are not told apart, by what the prompt shows.

    Of pairs of new prompts like those of the reference set, at least ``1 - alpha`` are either not told apart or called
    rightly.
    """

    alpha: float = Field(gt=0, lt=1)
    text: NonNegativeFloat
    images: NonNegativeFloat
    pairs: int = Field(ge=1)
    """One of each prompt that the bounds were found on, and no map was fitted on."""

    def half_widths(self, shows: Bool[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Return half the bound: intervals of so much around two rewards overlap if these are not told apart."""
        return np.where(shows, self.images, self.text) / 2


def fit_bounds(
    margins: Float[np.ndarray, " n"], shows: Bool[np.ndarray, " n"], prompts: UInt64[np.ndarray, " n"], alpha: float
) -> Bounds:
    """Return the bounds on pairs that no map was fitted on.

    With ``m`` the margin of the better response, one pair of each of ``n`` prompts, the bound is the
    ``ceil((n + 1) (1 - alpha))``-th smallest ``-m``, and at least 0. A kind of prompts with fewer than 100 of them
    shares the bound of all.

    Raises:
        ScoringError: too few prompts for so small an alpha.

    Source: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005 (split and by kind).
    """
    # Pairs of one prompt are not exchangeable with each other; one of each is with those of other prompts.
    first = np.unique(prompts, return_index=True)[1]
    own, kinds = margins[first], shows[first]
    both = _bound(own, alpha)
    text, images = (_bound(own[kind], alpha) if kind.sum() >= LEAST else both for kind in (~kinds, kinds))
    return Bounds(alpha=alpha, text=text, images=images, pairs=len(own))


def _bound(margins: Float[np.ndarray, " n"], alpha: float) -> float:
    # Without the slack 0.9 x 10 would be 9.000000000000002.
    rank = ceil((len(margins) + 1) * (1 - alpha) - 1e-9)
    if rank > len(margins):
        raise ScoringError(
            f"An alpha of {alpha:g} needs {ceil(1 / alpha - 1)} prompts that are held out, a fifth of all; there are "
            f"{len(margins)}. Give more pairs or a larger alpha."
        )
    return max(0.0, float(np.sort(-margins)[rank - 1]))
