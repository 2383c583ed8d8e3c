"""Planted worlds, as docs/calibration.md states them: pairs of known quality, and models with a known fault."""

from typing import NamedTuple

import numpy as np

from basereward.scoring.calibration.forms import FEATURES
from basereward.scoring.calibration.reference import ReferenceSet

PAIRS, TESTS = 2000, 4000


class World(NamedTuple):
    """What is planted; the letters are those of the page."""

    scale: float = 1.0
    noise: float = 0.5
    length: float = 0.0
    carried: float = 0.0
    lists: float = 0.0
    pixels: float = 0.0
    temperatures: tuple[float, float] | None = None


def draw(world, seed, pairs=PAIRS):
    """Pairs of a world; worlds of one seed differ in their rewards alone, unless lengths carry quality."""
    rng = np.random.default_rng(seed)
    shape = (pairs, 2)
    quality = rng.normal(0, 1.5, shape)
    length = 6 + 0.7 * rng.normal(size=shape) + world.carried * quality
    items = np.log1p(rng.poisson(2, shape))
    noise = rng.normal(size=shape)
    shows = rng.random(pairs) < 0.5
    visual = np.where(shows, np.log1p(rng.integers(100, 2000, pairs) ** 2), 0.0)
    first_wins = rng.random(pairs) < 1 / (1 + np.exp(quality[:, 1] - quality[:, 0]))
    prompts = rng.integers(0, 2**64, pairs, dtype=np.uint64)
    rewards = world.scale * (quality + world.noise * noise) + world.length * (length - 6) + world.lists * items
    rewards += world.pixels * visual[:, None]
    if world.temperatures:
        rewards *= np.where(shows, world.temperatures[1], world.temperatures[0])[:, None]
    features = np.zeros((pairs, 2, len(FEATURES)))
    features[:, :, FEATURES.index("length")] = length
    features[:, :, FEATURES.index("lists")] = items
    flip = ~first_wins
    for part in (rewards, features):
        part[flip] = part[flip, ::-1]
    return ReferenceSet(rewards, features, visual, shows, prompts)


def half(reference, feature, chosen_has_less=True):
    """Whether the chosen response of a pair has less of a feature."""
    own = reference.features[:, :, FEATURES.index(feature)]
    return own[:, 0] < own[:, 1] if chosen_has_less else own[:, 0] > own[:, 1]


def accuracy(margins):
    """The share of pairs whose chosen response has the higher reward."""
    return float(np.mean(margins > 0))


def recovered(world, clean, maps, seed, feature):
    """Of the accuracy that the fault costs where the chosen response has less of a feature, what comes back."""
    biased, fair = (draw(one, 10_000 + seed, TESTS) for one in (world, clean))
    which = half(biased, feature)
    lost, kept, full = (
        accuracy(margins[which])
        for margins in (
            biased.rewards[:, 0] - biased.rewards[:, 1],
            biased.margins(maps),
            fair.rewards[:, 0] - fair.rewards[:, 1],
        )
    )
    return (kept - lost) / (full - lost)
