"""Curves that rise or fall throughout, linear between knots, and what fits them."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from pydantic import model_validator

from basereward.configuration import Section
from basereward.errors import ScoringError


class Curve(Section):
    """``f(x)``, linear between knots and beyond them as in the outermost segments; it rises or falls throughout."""

    x: tuple[float, ...]
    """Knots, each greater than the one before."""
    y: tuple[float, ...]
    """Values at the knots."""

    @model_validator(mode="after")
    def _is_monotone(self) -> "Curve":
        if len(self.x) < 2 or len(self.x) != len(self.y):
            raise ValueError(f"{len(self.x)} knots with {len(self.y)} values; expected two or more, each with a value")
        if any(b <= a for a, b in pairwise(self.x)):
            raise ValueError("knots do not rise")
        if any(b < a for a, b in pairwise(self.y)) and any(b > a for a, b in pairwise(self.y)):
            raise ValueError("values both rise and fall")
        return self

    def at(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Return ``f`` of each value."""
        x, y = np.array(self.x), np.array(self.y)
        slopes = np.diff(y) / np.diff(x)
        place = np.clip(np.searchsorted(x, values, side="right") - 1, 0, len(slopes) - 1)
        return y[place] + slopes[place] * (values - x[place])

    @property
    def rise(self) -> float:
        """From the first knot to the last."""
        return self.y[-1] - self.y[0]

    @property
    def is_rising(self) -> bool:
        """Whether a greater ``x`` always has a greater value."""
        return all(a < b for a, b in pairwise(self.y))


def find_knots(values: Float[np.ndarray, " n"], segments: int) -> tuple[float, ...]:
    """Return knots at quantiles of the positive values, with 0 before them if there are zeros; none if all are alike.

    The outermost quantiles are those of 1 % and 99 %, so that no single value draws the curve.
    """
    positive = values[values > 0]
    if len(positive) < max(20, 0.01 * len(values)):
        return ()
    knots = np.quantile(positive, [0.01, *np.arange(1, segments) / segments, 0.99])
    knots = np.unique(np.append(knots, 0.0) if len(positive) < len(values) else knots)
    return tuple(knots.tolist()) if len(knots) > 1 else ()


def segment_basis(values: Float[np.ndarray, " n"], knots: Sequence[float]) -> Float[np.ndarray, "n segments"]:
    """Return for each value how far it has come in each segment: 0 at its start, 1 at its end.

    A curve with rises ``b`` over the segments is ``basis @ b``; the outermost segments go on beyond their knots.
    """
    columns = []
    for number, (low, high) in enumerate(pairwise(knots)):
        first = -np.inf if number == 0 else low
        last = np.inf if number == len(knots) - 2 else high
        columns.append((np.clip(values, first, last) - low) / (high - low))
    return np.stack(columns, axis=1)


def pool_adjacent(values: Float[np.ndarray, " n"], weights: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return the sequence that never falls and is nearest to the values: least ``sum(w (y - v)^2)``.

    Neighbours that fall are replaced by their weighted mean, until none does.

    Source: Ayer and others, Annals of Mathematical Statistics 1955 (pool adjacent violators).
    """
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        pool = (value, weight, 1)
        while pools and pools[-1][0] >= pool[0]:
            before, own, count = pools.pop()
            total = own + pool[1]
            pool = ((before * own + pool[0] * pool[1]) / total, total, count + pool[2])
        pools.append(pool)
    return np.repeat([value for value, _, _ in pools], [count for _, _, count in pools])


def win_curve(rewards: Float[np.ndarray, " n"], wins: Float[np.ndarray, " n"]) -> Curve:
    """Return the log odds that a response wins against one of the reference set, a curve over its reward that rises.

    The share of wins is made to rise by pooling; each pool of ``n`` responses with ``k`` wins is a knot at its mean
    reward with ``log((k + 1/2) / (n - k + 1/2))``. Beyond the outermost pools the curve goes on with its mean slope.

    Args:
        wins: 1 for a chosen response, 0 for a rejected one.

    Raises:
        ScoringError: the share of wins does not rise with the reward.
    """
    known, place = np.unique(rewards, return_inverse=True)
    counts = np.bincount(place).astype(float)
    won = np.bincount(place, weights=wins)
    smooth = pool_adjacent(won / counts, counts)
    pool = np.unique(smooth, return_inverse=True)[1]
    sizes, sums, total = (np.bincount(pool, weights=own) for own in (counts, won, counts * known))
    odds = np.log((sums + 0.5) / (sizes - sums + 0.5))
    # A small pool at an end may have been drawn back behind its neighbour.
    risen = pool_adjacent(odds, sizes)
    y, again = np.unique(risen, return_inverse=True)
    x = np.bincount(again, weights=total) / np.bincount(again, weights=sizes)
    if len(x) < 2:
        raise ScoringError("Responses with higher rewards do not win more often; no curve tells how often they do.")
    reach, slope = x[-1] - x[0], (y[-1] - y[0]) / (x[-1] - x[0])
    x = np.concatenate([[x[0] - reach], x, [x[-1] + reach]])
    y = np.concatenate([[y[0] - slope * reach], y, [y[-1] + slope * reach]])
    return Curve(x=tuple(x.tolist()), y=tuple(y.tolist()))
