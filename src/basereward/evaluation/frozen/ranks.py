"""Whether two measurements of the same things put them into one order."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from basereward.errors import DataError
from basereward.evaluation.spread import seed_interval
from basereward.statistics import Interval


class RankAgreement(NamedTuple):
    """Rank correlations over seeds: of each seed, None where one side is all ties, and the interval of their mean."""

    kendall: list[float | None]
    kendall_interval: Interval | None
    spearman: list[float | None]
    spearman_interval: Interval | None

    def lines(self) -> list[str]:
        """Return both for people, seed by seed."""
        return [
            _line("Kendall's tau-b", self.kendall, self.kendall_interval),
            _line("Spearman's rho", self.spearman, self.spearman_interval),
        ]


def kendall_tau(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return Kendall's tau-b: (concordant - discordant) / sqrt(untied in first * untied in second), in [-1, 1].

    None where all values of a side are equal.

    Raises:
        DataError: lengths differ, or there are fewer than two values.

    Source: Kendall, Biometrika 1945.
    """
    signs = [np.sign(np.subtract.outer(side, side))[np.triu_indices(len(side), 1)] for side in _sides(first, second)]
    scale = float(np.sqrt(np.abs(signs[0]).sum() * np.abs(signs[1]).sum()))
    return float((signs[0] * signs[1]).sum()) / scale if scale else None


def spearman_rho(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return Spearman's rho: Pearson's correlation of ranks, equal values at their mean rank, in [-1, 1].

    None where all values of a side are equal.

    Raises:
        DataError: lengths differ, or there are fewer than two values.

    Source: Spearman, American Journal of Psychology 1904.
    """
    # The mean rank among others is half of (below - above), up to a constant.
    ranks = [np.sign(np.subtract.outer(side, side)).sum(1) for side in _sides(first, second)]
    scale = float(np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum()))
    return float((ranks[0] * ranks[1]).sum()) / scale if scale else None


def rank_agreement(first: Sequence[Sequence[float]], second: Sequence[Sequence[float]]) -> RankAgreement:
    """Return the rank correlations of each seed's two measurements, with 95 % intervals by Student's t over seeds."""
    taus = [kendall_tau(*both) for both in zip(first, second, strict=True)]
    rhos = [spearman_rho(*both) for both in zip(first, second, strict=True)]
    return RankAgreement(taus, _interval(taus), rhos, _interval(rhos))


def _line(name: str, values: Sequence[float | None], interval: Interval | None) -> str:
    seeds = ", ".join("all ties" if value is None else f"{value:+.2f}" for value in values)
    within = f"; 95 % interval of the mean {interval.low:+.2f} to {interval.high:+.2f}" if interval else ""
    return f"{name} by seed: {seeds}{within}"


def _interval(values: Sequence[float | None]) -> Interval | None:
    told = [value for value in values if value is not None]
    return seed_interval(told) if told else None


def _sides(first: Sequence[float], second: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    if len(first) != len(second) or len(first) < 2:
        raise DataError(f"Found {len(first)} and {len(second)} values, expected two or more of each, equally many.")
    return np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
