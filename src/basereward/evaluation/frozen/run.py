"""Heads of several shapes, on several sets, over seeds: what each ranks right on pairs that it did not see."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np

from basereward.configuration import Section
from basereward.curation.seen import count_seen, pack, pair_fingerprints
from basereward.data.io import read_json, write_json
from basereward.data.pairs import load_pairs
from basereward.data.work import open_work
from basereward.errors import DataError, ScoringError
from basereward.evaluation.frozen.features import FrozenPairs, frozen_pairs
from basereward.evaluation.frozen.fit import FitSettings, fit_head
from basereward.evaluation.spread import seed_interval
from basereward.models.head import HeadSettings
from basereward.scoring.local import LocalScorer
from basereward.statistics import Interval

PROBE_RESULT = "probe.json"
FEATURES = "features"
CAVEAT = (
    "Heads on a frozen backbone: they say what can be read from its features as they are, and nothing of what training "
    "the backbone would learn. Length normalisation is left out, as features hold no lengths."
)


class ProbePlan(NamedTuple):
    """Which sets train heads, which measure them, and what heads.

    Args:
        train: sets of pairs; each trains heads of its own.
        held_out: sets of pairs that measure every head.
        shapes: of heads.
        coefficients: of the zero-coefficient regulariser.
        seeds: each gives one head of every kind.
        fit: how heads learn.
    """

    train: Sequence[str]
    held_out: Sequence[str]
    shapes: Sequence[HeadSettings] = (HeadSettings(),)
    coefficients: Sequence[float] = (0.0,)
    seeds: Sequence[int] = (0, 1, 2)
    fit: FitSettings = FitSettings()


class ProbedSet(Section):
    """A set whose features were taken: pairs with and without them, and the hash of what decides them."""

    name: str
    pairs: int
    failed: int
    identity: str
    seen: int = 0
    """Of a set that measures: pairs that train heads too."""


class ProbedAccuracy(Section):
    """Accuracy on one set, seed by seed."""

    held_out: str
    accuracies: list[float]
    mean: float
    interval: Interval | None
    """Of the mean, 95 % by Student's t over the seeds of heads: neither over test pairs nor over backbones."""


class ProbedHead(Section):
    """A kind of head: what it was trained on, its shape and regulariser, and how it ranks."""

    train: str
    pairs: int
    head: HeadSettings
    zero_coefficient: float
    measured: list[ProbedAccuracy]

    @property
    def label(self) -> str:
        """What tables call it."""
        regularised = f", lambda {self.zero_coefficient:g}" if self.zero_coefficient else ""
        return f"{self.train}, {self.head.layers}:{self.head.activation}{regularised}"


class HeadProbe(Section):
    """All heads of a probe."""

    model: str
    seeds: list[int]
    fit: FitSettings
    train: list[ProbedSet]
    held_out: list[ProbedSet]
    heads: list[ProbedHead]
    caveat: str = CAVEAT


def run_probe(
    scorer: LocalScorer,
    plan: ProbePlan,
    folder: Path,
    say: Callable[[str], None] = lambda _: None,
    device: str = "cpu",
) -> HeadProbe:
    """Take features that are not kept in ``folder/features`` yet, fit all heads, and write ``probe.json``.

    Raises:
        ScoringError: a set trains and measures at once, by its name or by its content.
        WorkError: another process works in the folder.
        BaseRewardError: as ``frozen_pairs`` and ``fit_head``.
    """
    with open_work(folder, folder):
        sets = {name: _features(scorer, name, folder, say) for name in dict.fromkeys([*plan.train, *plan.held_out])}
        _check_apart([sets[name] for name in plan.train], [sets[name] for name in plan.held_out])
        held_out = [sets[name] for name in plan.held_out]
        seen = _count_seen(plan, say)
        heads = [
            _fit(sets[name], shape, coefficient, held_out, plan, device)
            for name in plan.train
            for shape in plan.shapes
            for coefficient in plan.coefficients
        ]
        result = HeadProbe(
            model=scorer.name,
            seeds=list(plan.seeds),
            fit=plan.fit,
            train=[_told(sets[name]) for name in plan.train],
            held_out=[_told(own, seen[own.name]) for own in held_out],
            heads=heads,
        )
        write_json(folder / PROBE_RESULT, result.model_dump(mode="json"))
    return result


def read_probe(folder: Path) -> HeadProbe:
    """Return the result of a probe.

    Raises:
        DataError: it is not there, or of another version.
    """
    try:
        return HeadProbe.model_validate(read_json(folder / PROBE_RESULT))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} holds no probe ({error}); make one with basereward probe.") from error


def _features(scorer: LocalScorer, name: str, folder: Path, say: Callable[[str], None]) -> FrozenPairs:
    found = frozen_pairs(scorer, name, folder / FEATURES)
    say(f"{name}: {len(found.chosen)} pairs, features {'kept' if found.was_kept else 'computed'}")
    return found


def _check_apart(train: Sequence[FrozenPairs], held_out: Sequence[FrozenPairs]) -> None:
    trained = {own.identity: own.name for own in train}
    if both := [own.name for own in held_out if own.identity in trained]:
        raise ScoringError(f"{', '.join(both)} would train heads and measure them; hold other pairs out.")


def _count_seen(plan: ProbePlan, say: Callable[[str], None]) -> dict[str, int]:
    """Return how many pairs of each set that measures are among those that train heads, and warn of them."""
    trained = pack(np.concatenate([_fingerprints(name) for name in plan.train]))
    found = {name: count_seen(_fingerprints(name), trained) for name in plan.held_out}
    for name, count in found.items():
        if count:
            say(f"{name}: {count} pairs train heads too, and their accuracy says nothing of others; see data split.")
    return found


def _fingerprints(name: str) -> np.ndarray:
    return pair_fingerprints(load_pairs([name], check="header").pairs)


def _fit(
    pairs: FrozenPairs,
    shape: HeadSettings,
    coefficient: float,
    held_out: Sequence[FrozenPairs],
    plan: ProbePlan,
    device: str,
) -> ProbedHead:
    fitted = [fit_head(pairs, shape, coefficient, plan.fit, seed, device) for seed in plan.seeds]
    by_set = {own.name: [head.accuracy(own) for head in fitted] for own in held_out}
    return ProbedHead(
        train=pairs.name,
        pairs=min(len(pairs.chosen), plan.fit.limit or len(pairs.chosen)),
        head=shape,
        zero_coefficient=coefficient,
        measured=[
            ProbedAccuracy(held_out=name, accuracies=found, mean=fmean(found), interval=seed_interval(found))
            for name, found in by_set.items()
        ],
    )


def _told(pairs: FrozenPairs, seen: int = 0) -> ProbedSet:
    return ProbedSet(name=pairs.name, pairs=len(pairs.chosen), failed=pairs.failed, identity=pairs.identity, seen=seen)
