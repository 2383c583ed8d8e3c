"""Pairs from scored responses to one prompt."""

import math
from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import Any, Literal, NamedTuple

from basereward.errors import RowError

Pairing = Literal["all", "adjacent", "best_worst"]


class Ranked(NamedTuple):
    """The places of two responses with different scores, and these scores."""

    better: int
    worse: int
    scores: tuple[float, float]


def parse_score(value: Any) -> float | None:
    """Return a score as a finite number; None for "N/A", null and whatever else is no number."""
    try:
        score = float(value)
    except (TypeError, ValueError):
        return None
    return score if math.isfinite(score) else None


def rank_pairs(scores: Sequence[float | None], pairing: Pairing = "all") -> list[Ranked]:
    """Pair responses whose scores differ; those without a score are left out.

    Args:
        scores: one for each response.
        pairing: every two responses; the neighbours in the order of scores; or the best and the worst alone. Equal
            scores stand in the order of their places, and the first best and the first worst are taken.

    Raises:
        RowError: ``no_pair`` for fewer than two responses, ``unrated`` for fewer than two scores, ``tie`` if all scores
            are equal.
    """
    if len(scores) < 2:
        raise RowError("no_pair", f"Expected at least two responses, found {len(scores)}.")
    rated = [(score, place) for place, score in enumerate(scores) if score is not None]
    if len(rated) < 2:
        raise RowError("unrated", f"{len(rated)} of {len(scores)} responses have a score; expected at least two.")
    best, worst = max(rated, key=_score), min(rated, key=_score)
    if best[0] == worst[0]:
        raise RowError("tie", f"All {len(rated)} responses with a score have {best[0]:g}.")
    if pairing == "best_worst":
        return [_pair(best, worst)]
    candidates = pairwise(sorted(rated, key=_score, reverse=True)) if pairing == "adjacent" else combinations(rated, 2)
    return [_pair(*sorted(pair, key=_score, reverse=True)) for pair in candidates if pair[0][0] != pair[1][0]]


def _pair(better: tuple[float, int], worse: tuple[float, int]) -> Ranked:
    return Ranked(better[1], worse[1], (better[0], worse[0]))


def _score(rated: tuple[float, int]) -> float:
    return rated[0]
