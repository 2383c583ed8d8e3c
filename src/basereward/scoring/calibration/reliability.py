"""Whether ``sigmoid(margin)`` is the probability that the better response wins: ECE, Brier score, log loss, bins.

Pure functions of margins, read as log odds. The response with the higher score is named with the confidence
``c = sigmoid(|margin|)``, and is right or wrong (a tie is half).
"""

from collections.abc import Hashable, Sequence
from math import pi, sqrt

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field

from basereward.configuration import Section
from basereward.errors import DataError
from basereward.scoring.calibration.regression import sigmoid, softplus

BINS, _LEAST_IN_BIN = 10, 10
_DRAWS, _SEED = 200, 0


class ReliabilityBin(Section):
    """Comparisons of similar confidence."""

    confidence: float = Field(ge=0.5, le=1)
    """Mean."""
    accuracy: float = Field(ge=0, le=1)
    """The share of them in which the named response is right."""
    share: float = Field(gt=0, le=1)
    """Of all comparisons."""


class Reliability(Section):
    """How far margins are log odds."""

    n: int = Field(ge=1)
    """Comparisons; those of one row weigh 1 together."""
    ece: float = Field(ge=0, le=1)
    """Expected calibration error: mean over bins of equal weight of ``|accuracy - confidence|``."""
    low: float = Field(ge=0, le=1)
    """Ends of its 95 % interval, a bootstrap over prompts without the bias of one."""
    high: float = Field(ge=0, le=1)
    chance: float = Field(ge=0)
    """The ECE that noise alone gives so many comparisons: the mean of one that is truly 0."""
    brier: float = Field(ge=0, le=1)
    """Mean of ``(1 - sigmoid(margin))^2``; 0.25 for margins of 0."""
    log_loss: float = Field(ge=0)
    """Mean of ``log(1 + exp(-margin))``; 0.69 for margins of 0."""
    bins: tuple[ReliabilityBin, ...]


def measure_reliability(
    margins: Sequence[float] | Float[np.ndarray, " n"],
    clusters: Sequence[Hashable] | Int[np.ndarray, " n"],
    weights: Sequence[float] | Float[np.ndarray, " n"] | None = None,
) -> Reliability:
    """Return how far margins, score of the better response minus that of the other, are log odds.

    ``ECE = sum_b w_b |accuracy_b - confidence_b|`` over up to ten bins of equal weight; equal confidences share a bin.

    Args:
        margins: of comparisons of a better with a worse response.
        clusters: the prompt of each.
        weights: 1 each by default.

    Raises:
        DataError: nothing to measure, or a margin that is not finite.

    Source: Naeini and others, AAAI 2015 (ECE); Nixon and others, 1904.01685 (bins of equal weight).
    """
    found = np.asarray(margins, dtype=np.float64)
    if not len(found) or not np.isfinite(found).all():
        raise DataError(f"Expected finite margins, found {len(found)}, not all of them finite or none at all.")
    own = np.ones(len(found)) if weights is None else np.asarray(weights, dtype=np.float64)
    own = own / own.sum()
    confidence = sigmoid(np.abs(found))
    gaps = (found > 0) + 0.5 * (found == 0) - confidence
    place = _bins(confidence, own)
    by_prompt = _sums(place, clusters, own * gaps)
    ece = float(np.abs(by_prompt.sum(axis=0)).sum())
    low, high = _interval(by_prompt, _sums(np.zeros_like(place), clusters, own)[:, 0], ece)
    return Reliability(
        n=len(found),
        ece=min(ece, 1.0),
        low=low,
        high=high,
        chance=_chance(by_prompt),
        # Weights add up to 1 but for rounding.
        brier=min(float(own @ sigmoid(-found) ** 2), 1.0),
        log_loss=float(own @ softplus(-found)),
        bins=tuple(_bin(confidence, gaps, own, place == number) for number in range(place.max() + 1)),
    )


def _bins(confidence: Float[np.ndarray, " n"], weights: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Return the bin of each comparison, counted from 0 without a gap."""
    number = max(1, min(BINS, len(confidence) // _LEAST_IN_BIN))
    order = np.argsort(confidence)
    reached = np.cumsum(weights[order])
    edges = confidence[order][np.searchsorted(reached, np.arange(1, number) / number)]
    return np.unique(np.searchsorted(edges, confidence, side="right"), return_inverse=True)[1]


def _sums(
    place: Int[np.ndarray, " n"], clusters: Sequence[Hashable] | Int[np.ndarray, " n"], values: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "clusters bins"]:
    """Return the sum of values in each bin for each prompt."""
    names = {name: row for row, name in enumerate(dict.fromkeys(clusters))}
    summed = np.zeros((len(names), place.max() + 1))
    np.add.at(summed, (np.array([names[name] for name in clusters]), place), values)
    return summed


def _interval(
    gaps: Float[np.ndarray, "clusters bins"], weights: Float[np.ndarray, " clusters"], ece: float
) -> tuple[float, float]:
    """Return the interval of the ECE from prompts drawn again; their mean, which noise raises, is moved to it."""
    draws = np.random.default_rng(_SEED).multinomial(len(gaps), np.full(len(gaps), 1 / len(gaps)), size=_DRAWS)
    drawn = np.abs(draws @ gaps).sum(axis=1) / (draws @ weights)
    ends = np.quantile(drawn, [0.025, 0.975]) - (drawn.mean() - ece)
    low, high = np.clip(ends, 0.0, 1.0).tolist()
    return low, high


def _chance(gaps: Float[np.ndarray, "clusters bins"]) -> float:
    """Return ``sqrt(2 / pi) sum of standard deviations``, the mean of ``sum |x|`` of normal numbers with mean 0."""
    count = len(gaps)
    spread = ((gaps - gaps.mean(axis=0)) ** 2).sum(axis=0) * count / max(count - 1, 1)
    return float(sqrt(2 / pi) * np.sqrt(spread).sum())


def _bin(
    confidence: Float[np.ndarray, " n"],
    gaps: Float[np.ndarray, " n"],
    weights: Float[np.ndarray, " n"],
    is_inside: np.ndarray,
) -> ReliabilityBin:
    share = float(weights[is_inside].sum())
    mean = float(weights[is_inside] @ confidence[is_inside]) / share
    accuracy = mean + float(weights[is_inside] @ gaps[is_inside]) / share
    # Both ends are exact where rounding would leave 1 + 1e-16.
    return ReliabilityBin(
        confidence=min(max(mean, 0.5), 1.0), accuracy=min(max(accuracy, 0.0), 1.0), share=min(share, 1.0)
    )
