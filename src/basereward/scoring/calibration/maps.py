"""Maps of raw rewards, each of which rises with the reward wherever form and images are the same."""

from typing import Annotated, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from pydantic import Field, PositiveFloat, field_validator

from basereward.configuration import Section
from basereward.scoring.calibration.curves import Curve
from basereward.scoring.calibration.forms import FEATURES, Feature


class RawResponses(NamedTuple):
    """Responses as maps see them: raw rewards, features, and of their prompts the pixels and whether they show any."""

    rewards: Float[np.ndarray, " n"]
    features: Float[np.ndarray, "n features"]
    visual: Float[np.ndarray, " n"]
    shows: Bool[np.ndarray, " n"]


class Bias(Section):
    """What a feature of a response adds to its reward beside its quality."""

    feature: Feature
    curve: Curve


class Temperature(Section):
    """``r / T``, by what the prompt shows."""

    kind: Literal["temperature"] = "temperature"
    text: PositiveFloat
    images: PositiveFloat


class ZScore(Section):
    """``(r - mean) / sd`` of the responses of the reference set."""

    kind: Literal["zscore"] = "zscore"
    mean: float
    sd: PositiveFloat


class Isotonic(Section):
    """``h(r) / T``, with ``h`` the log odds that a response wins against one of the reference set.

    ``h`` averages over opponents, so that its differences are smaller than the log odds of a pair; ``T`` makes them so.
    """

    kind: Literal["isotonic"] = "isotonic"
    curve: Curve
    """``h``: a response wins with ``sigmoid(h(r))``."""
    temperature: PositiveFloat

    @field_validator("curve")
    @classmethod
    def _rises(cls, curve: Curve) -> Curve:
        if not curve.is_rising:
            raise ValueError("the curve must rise, or it would change the order of rewards")
        return curve


Scale = Annotated[Temperature | ZScore | Isotonic, Field(discriminator="kind")]


class Maps(Section):
    """``scale(r - sum of biases - visual offset)``."""

    biases: tuple[Bias, ...] = ()
    visual: Curve | None = None
    """Over ``log(1 + pixels)`` of the prompt: the same for all its responses."""
    scale: Scale | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """What is in it."""
        scale = [self.scale.kind] if self.scale else []
        return (*(bias.feature for bias in self.biases), *(["visual"] if self.visual else []), *scale)

    def apply(self, responses: RawResponses) -> Float[np.ndarray, " n"]:
        """Return the mapped reward of each response; it depends on no other response."""
        return rescale(self.scale, self.unbiased(responses), responses.shows)

    def unbiased(self, responses: RawResponses) -> Float[np.ndarray, " n"]:
        """Return rewards without biases, in the raw unit."""
        left = responses.rewards
        for bias in self.biases:
            left = left - bias.curve.at(responses.features[:, FEATURES.index(bias.feature)])
        return left if self.visual is None else left - self.visual.at(responses.visual)


def rescale(
    scale: Temperature | ZScore | Isotonic | None, rewards: Float[np.ndarray, " n"], shows: Bool[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Return rewards on another scale."""
    if isinstance(scale, Temperature):
        return rewards / np.where(shows, scale.images, scale.text)
    if isinstance(scale, ZScore):
        return (rewards - scale.mean) / scale.sd
    return rewards if scale is None else scale.curve.at(rewards) / scale.temperature
