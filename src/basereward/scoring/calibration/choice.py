"""Chooses maps by cross-validation: folds by prompt, log loss of the pairs left out, the simplest that is as good."""

from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist
from typing import Literal, NamedTuple, cast

import numpy as np
from jaxtyping import Float, UInt64

from basereward.configuration import Section
from basereward.errors import ScoringError
from basereward.scoring.calibration.fitting import LEAST, MapPlan, ScaleName, fit_maps
from basereward.scoring.calibration.forms import FORMAT, Feature
from basereward.scoring.calibration.maps import Maps
from basereward.scoring.calibration.reference import FOLDS, ReferenceSet
from basereward.scoring.calibration.regression import softplus

Stage = Literal["bias", "visual", "scale"]
MapName = Literal["zscore", "temperature", "isotonic", "bias"]
NONE = "none"
# Simple before complex.
BIASES: dict[str, tuple[Feature, ...]] = {
    "length": ("length",),
    "format": FORMAT,
    "length, format": ("length", *FORMAT),
}
SCALES: dict[str, tuple[ScaleName, ...]] = {
    NONE: ("none", "temperature", "temperature by domain", "isotonic"),
    "temperature": ("none", "temperature", "temperature by domain"),
    "isotonic": ("none", "isotonic"),
    "zscore": ("none", "zscore"),
}


class Candidate(Section):
    """What a choice was between, on pairs that it was not fitted on."""

    stage: Stage
    name: str
    loss: float
    """Log loss of pairs; of the visual offset the squared error of a prompt's mean reward."""
    accuracy: float | None
    """Of pairs; a tie counts half."""
    gain: float
    """Loss of ``none`` minus its own."""
    low: float
    """Ends of the interval of the gain: 95 % for all candidates of the stage together, by prompts."""
    high: float
    is_chosen: bool


class Chosen(NamedTuple):
    """Maps fitted on all pairs, and what they were chosen from."""

    maps: Maps
    candidates: tuple[Candidate, ...]


def choose_maps(reference: ReferenceSet, asked: Sequence[MapName] = (), sees_images: bool = True) -> Chosen:
    """Choose and fit maps.

    Biases are compared under a temperature of their own, so that they get no credit for a scale. A candidate counts
    if its gain over ``none`` lies above 0 with its whole interval; of those that count, the simplest within one
    standard error of the best is taken.

    Args:
        asked: ``bias`` chooses biases and the visual offset; any other is the scale, fitted whether it gains or not. By
            default both are chosen, the scale between none, temperatures and ``isotonic``.
        sees_images: whether rewards can depend on images.

    Raises:
        ScoringError: two scales are asked for, no map gains anything, or rewards tell nothing.

    Source: Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, section 7.10 (one standard error).
    """
    scale = check_asked(asked)
    plan, candidates = MapPlan(), []
    if not asked or "bias" in asked:
        found = _choose_biases(reference)
        plan = plan._replace(features=_features(found))
        candidates += found
        if sees_images and (offset := _choose_visual(reference, plan)):
            plan = plan._replace(visual=offset[-1].is_chosen)
            candidates += offset
    if not asked or scale:
        found = _choose_scale(reference, plan, scale)
        plan = plan._replace(scale=cast(ScaleName, _name(found)))
        candidates += found
    if plan == MapPlan():
        raise ScoringError(_refusal(candidates))
    return Chosen(fit_maps(reference, plan), tuple(candidates))


def check_asked(asked: Sequence[MapName]) -> MapName | None:
    """Return the scale that is asked for, if any.

    Raises:
        ScoringError: there are two.
    """
    scales = [name for name in asked if name != "bias"]
    if len(scales) > 1:
        raise ScoringError(f"{' and '.join(scales)} are scales; ask for one of them.")
    return scales[0] if scales else None


def _choose_biases(reference: ReferenceSet) -> list[Candidate]:
    plans = {NONE: MapPlan(scale="temperature")}
    seen: set[tuple[Feature, ...]] = {()}
    for name, features in BIASES.items():
        plan = MapPlan(features, scale="temperature")
        # Where more features give no more biases the simpler candidate says it all.
        if (own := tuple(bias.feature for bias in fit_maps(reference, plan).biases)) not in seen:
            plans[name] = plan
            seen.add(own)
    return _compare_margins(reference, "bias", plans)


def _features(candidates: Sequence[Candidate]) -> tuple[Feature, ...]:
    return BIASES.get(_name(candidates), ())


def _choose_scale(reference: ReferenceSet, plan: MapPlan, asked: MapName | None) -> list[Candidate]:
    by_domain = [len(np.unique(reference.prompts[own])) for own in (reference.shows, ~reference.shows)]
    plans: dict[str, MapPlan] = {
        name: plan._replace(scale=name)
        for name in SCALES[asked or NONE]
        if name != "temperature by domain" or min(by_domain) >= LEAST
    }
    return _compare_margins(reference, "scale", plans, forced=asked is not None)


def _compare_margins(
    reference: ReferenceSet, stage: Stage, plans: Mapping[str, MapPlan], forced: bool = False
) -> list[Candidate]:
    """Compare plans by the log loss of their margins.

    Args:
        forced: ``none`` cannot be chosen.
    """
    margins = {name: _cross_fitted(reference, ReferenceSet.margins, plan) for name, plan in plans.items()}
    losses = {name: softplus(-own) for name, own in margins.items()}
    accuracies = {name: float(np.mean((own > 0) + 0.5 * (own == 0))) for name, own in margins.items()}
    return _choose(stage, losses, accuracies, reference.prompts, forced)


def _choose_visual(reference: ReferenceSet, plan: MapPlan) -> list[Candidate]:
    """Compare the offset by images with none; nothing to compare where all prompts show the same."""
    with_offset = plan._replace(visual=True)
    if fit_maps(reference, with_offset).visual is None:
        return []

    def level(own: ReferenceSet, maps: Maps) -> Float[np.ndarray, " n"]:
        return own.mapped(maps).mean(axis=1)

    centre = float(reference.mapped(fit_maps(reference, plan)).mean())
    plans = {NONE: plan, "visual": with_offset}
    losses = {name: (_cross_fitted(reference, level, own) - centre) ** 2 for name, own in plans.items()}
    return _choose("visual", losses, {}, reference.prompts)


def _cross_fitted(
    reference: ReferenceSet, read: Callable[[ReferenceSet, Maps], Float[np.ndarray, " n"]], plan: MapPlan
) -> Float[np.ndarray, " pairs"]:
    """Return what is read of each pair under maps that were fitted without its fold."""
    found = np.zeros(len(reference.prompts))
    for fold in range(FOLDS):
        is_left_out = reference.folds == fold
        if is_left_out.any():
            maps = fit_maps(reference.take(~is_left_out), plan)
            found[is_left_out] = read(reference.take(is_left_out), maps)
    return found


def _choose(
    stage: Stage,
    losses: Mapping[str, Float[np.ndarray, " n"]],
    accuracies: Mapping[str, float],
    prompts: UInt64[np.ndarray, " n"],
    forced: bool = False,
) -> list[Candidate]:
    """Return the candidates with one of them chosen; ``losses`` has ``none`` first, then simple before complex."""
    names = list(losses)
    # For all comparisons of the stage together.
    width = NormalDist().inv_cdf(1 - 0.025 / max(1, len(names) - 1))
    gains = {name: losses[NONE] - own for name, own in losses.items()}
    ends = {name: width * standard_error(own, prompts) for name, own in gains.items()}
    counting = [name for name in names[1:] if forced or gains[name].mean() - ends[name] > 0]
    chosen = NONE
    if counting:
        best = min(counting, key=lambda name: float(losses[name].mean()))
        chosen = next(
            name
            for name in counting
            if (losses[name] - losses[best]).mean() <= standard_error(losses[name] - losses[best], prompts)
        )
    return [
        Candidate(
            stage=stage,
            name=name,
            loss=float(losses[name].mean()),
            accuracy=accuracies.get(name),
            gain=float(gains[name].mean()),
            low=float(gains[name].mean() - ends[name]),
            high=float(gains[name].mean() + ends[name]),
            is_chosen=name == chosen,
        )
        for name in names
    ]


def standard_error(values: Float[np.ndarray, " n"], prompts: UInt64[np.ndarray, " n"]) -> float:
    """Return the standard error of a mean over pairs of which those of one prompt belong together."""
    known, place = np.unique(prompts, return_inverse=True)
    if len(known) < 2:
        return float("inf")
    influence = np.bincount(place, weights=values - values.mean()) / len(values)
    return float(np.sqrt(len(known) / (len(known) - 1) * (influence**2).sum()))


def _name(candidates: Sequence[Candidate]) -> str:
    return next(own.name for own in candidates if own.is_chosen)


def _refusal(candidates: Sequence[Candidate]) -> str:
    tried = [own for own in candidates if own.name != NONE]
    told = "; ".join(f"{own.name} {own.gain:+.4f} [{own.low:+.4f}, {own.high:+.4f}]" for own in tried)
    return (
        "There is nothing to remove: no map lowers the loss of pairs that it was not fitted on "
        f"({told or 'none could be fitted'}). Nothing is written."
    )
