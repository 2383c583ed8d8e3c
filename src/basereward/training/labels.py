"""What a label is worth: how far apart its two responses were rated, and how often labels are the wrong way round."""

from typing import Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from basereward.configuration import Section
from basereward.data.schema import PreferencePair
from basereward.errors import RowError
from basereward.training.losses import noisy_bradley_terry

UNRATED = "unrated"


class Ratings(Section):
    """Let the ratings of both responses (``scores``) say how much better the chosen one is.

    Source: margin: arXiv 2307.09288 (Llama 2), section 3.2.2; weight: arXiv 2410.01257 (HelpSteer2-Preference), scaled
    Bradley-Terry.
    """

    use: Literal["margin", "weight"]
    """``margin``: -log sigmoid(r_c - r_r - scale d), d the difference of ratings; ``weight``: loss times scale d."""
    scale: float = Field(default=1.0, gt=0)
    """Times the difference of ratings."""

    def scaled_difference(self, pair: PreferencePair) -> float | None:
        """Return ``scale`` times the difference of ratings; None unless both are known and chosen has the higher."""
        if len(pair.scores) != 2 or not pair.scores[0] > pair.scores[1]:
            return None
        return self.scale * (pair.scores[0] - pair.scores[1])

    def check(self, pair: PreferencePair) -> None:
        """Refuse a pair whose ratings say nothing; a weight of 1 or a margin of 0 would be made up.

        Raises:
            RowError: ``unrated``.
        """
        if self.scaled_difference(pair) is None:
            found = f"Found scores {list(pair.scores)}, expected those of chosen and rejected, the first one higher."
            raise RowError(UNRATED, found)


class FlippedLabels(Section):
    """Take a share of the labels to be the wrong way round."""

    rate: float = Field(gt=0.0, lt=0.5)
    """The share."""
    correction: Literal["smooth", "unbiased"] = "smooth"
    """Label smoothing, with targets 1 - rate and rate, or the loss whose mean over flips is that of true labels."""

    def terms(self, difference: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
        """Return the loss of each pair from the difference of its rewards."""
        return noisy_bradley_terry(difference, self.rate, self.correction == "unbiased")
