"""Fits maps on a reference set."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from basereward.errors import ScoringError
from basereward.scoring.calibration.curves import Curve, find_knots, segment_basis, win_curve
from basereward.scoring.calibration.forms import FEATURES, Feature
from basereward.scoring.calibration.maps import Bias, Isotonic, Maps, Temperature, ZScore
from basereward.scoring.calibration.reference import ReferenceSet
from basereward.scoring.calibration.regression import fit_least_squares, fit_logistic

ScaleName = Literal["none", "temperature", "temperature by domain", "isotonic", "zscore"]
# Length is seen in all responses, markup in some, images in few sizes.
SEGMENTS = 3
# Of the log odds that a feature changes over one segment: a prior of standard deviation 3.
_PENALTY = 0.1
# Prompts of a kind that a temperature or a bound of its own needs.
LEAST = 100


class MapPlan(NamedTuple):
    """Which maps are fitted: biases of these features, an offset by images, and a scale."""

    features: tuple[Feature, ...] = ()
    visual: bool = False
    scale: ScaleName = "none"


def fit_maps(reference: ReferenceSet, plan: MapPlan) -> Maps:
    """Fit biases, then the visual offset, then the scale of what is left.

    Raises:
        ScoringError: rewards do not tell chosen responses from rejected ones.
    """
    maps = Maps(biases=fit_biases(reference, plan.features))
    if plan.visual:
        maps = maps.model_copy(update={"visual": fit_visual(reference, maps)})
    left = maps.unbiased(reference.responses).reshape(-1, 2)
    return maps.model_copy(update={"scale": _fit_scale(reference, left, plan.scale)})


def fit_biases(reference: ReferenceSet, features: Sequence[Feature]) -> tuple[Bias, ...]:
    """Return what features add to rewards without making responses better.

    ``P(chosen wins) = sigmoid(a (r_c - r_r) - sum_k (g_k(x_c) - g_k(x_r)))`` with ``a >= 0`` and each ``g_k`` linear in
    segments and never falling; the bias is ``f_k = g_k / a``, in the unit of a reward, with mean 0 over the set. What
    a feature tells of quality the pairs reward, so that ``g_k`` holds only what the model gives beyond it.

    Raises:
        ScoringError: rewards do not tell chosen responses from rejected ones.
    """
    columns = {feature: reference.features[:, :, FEATURES.index(feature)] for feature in features}
    knots = {feature: find_knots(own.reshape(-1), SEGMENTS) for feature, own in columns.items()}
    bases = {feature: segment_basis(columns[feature].reshape(-1), own) for feature, own in knots.items() if own}
    if not bases:
        return ()
    moved = [basis[1::2] - basis[::2] for basis in bases.values()]
    slope, rises = _fit_margins(reference.rewards[:, 0] - reference.rewards[:, 1], np.concatenate(moved, axis=1))
    biases, first = [], 0
    for feature, basis in bases.items():
        own = rises[first : first + basis.shape[1]] / slope
        first += basis.shape[1]
        if own.any():
            biases.append(Bias(feature=feature, curve=_curve(knots[feature], own, basis)))
    return tuple(biases)


def fit_visual(reference: ReferenceSet, maps: Maps) -> Curve | None:
    """Return the offset of all rewards of a prompt by ``log(1 + pixels)``: the nearest curve that rises or falls.

    The level of a prompt's rewards says nothing of its responses, so that no order tells what the offset should be.
    """
    knots = find_knots(reference.visual, SEGMENTS)
    if not knots:
        return None
    level = maps.unbiased(reference.responses).reshape(-1, 2).mean(axis=1)
    basis = segment_basis(reference.visual, knots)
    middle, values = basis - basis.mean(axis=0), level - level.mean()
    fits = [sign * fit_least_squares(sign * middle, values, 1e-6 * len(values)) for sign in (1.0, -1.0)]
    rises = min(fits, key=lambda own: float(((values - middle @ own) ** 2).sum()))
    return _curve(knots, rises, basis) if rises.any() else None


def fit_temperature(margins: Float[np.ndarray, " n"]) -> float:
    """Return the T under which ``sigmoid(margin / T)`` is most likely.

    Raises:
        ScoringError: chosen responses do not have the higher rewards.
    """
    return 1 / _fit_margins(margins, np.zeros((len(margins), 0)))[0]


class _MarginFit(NamedTuple):
    slope: float
    rises: Float[np.ndarray, " d"]


def _fit_margins(margins: Float[np.ndarray, " n"], moved: Float[np.ndarray, "n d"]) -> _MarginFit:
    """Fit ``P(win) = sigmoid(slope margin + moved @ rises)``, neither of them negative."""
    size = float(np.sqrt(np.mean(margins**2))) if len(margins) else 0.0
    found = np.zeros(1 + moved.shape[1])
    if size > 0:
        penalty = np.array([0.0] + [_PENALTY] * moved.shape[1])
        found = fit_logistic(np.column_stack([margins / size, moved]), penalty)
    if found[0] <= 1e-6:
        raise ScoringError(
            f"On {len(margins)} pairs chosen responses do not have higher rewards than rejected ones; there is nothing "
            "that a calibration could keep. Is the file what the model should prefer?"
        )
    return _MarginFit(float(found[0]) / size, found[1:])


def _curve(knots: tuple[float, ...], rises: Float[np.ndarray, " d"], basis: Float[np.ndarray, "n d"]) -> Curve:
    """Return the curve with these rises over its segments whose mean over the set is 0."""
    y = np.concatenate([[0.0], np.cumsum(rises)]) - float((basis @ rises).mean())
    return Curve(x=knots, y=tuple(y.tolist()))


def _fit_scale(
    reference: ReferenceSet, left: Float[np.ndarray, "pairs 2"], name: ScaleName
) -> Temperature | ZScore | Isotonic | None:
    margins = left[:, 0] - left[:, 1]
    if name == "none":
        return None
    if name == "zscore":
        if not left.std():
            raise ScoringError("All rewards are equal; expected some that differ.")
        return ZScore(mean=float(left.mean()), sd=float(left.std()))
    if name == "isotonic":
        curve = win_curve(left.reshape(-1), np.tile([1.0, 0.0], len(left)))
        odds = curve.at(left.reshape(-1)).reshape(-1, 2)
        return Isotonic(curve=curve, temperature=fit_temperature(odds[:, 0] - odds[:, 1]))
    both = fit_temperature(margins)
    if name == "temperature":
        return Temperature(text=both, images=both)
    text, images = (
        fit_temperature(margins[own]) if own.sum() >= LEAST else both for own in (~reference.shows, reference.shows)
    )
    return Temperature(text=text, images=images)
