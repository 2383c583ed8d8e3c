"""What every scorer promises: one reward or one typed failure for each response, in order."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from basereward.data.schema import ResponseGroup
from basereward.errors import RowError, ScoringError, TemplateError


@dataclass(frozen=True, slots=True)
class Failure:
    """A response that has no score: ``reason`` is a countable key, ``message`` says what to do."""

    reason: str
    message: str


Score = float | Failure


class Scorer(Protocol):
    """Scores the responses of groups."""

    @property
    def name(self) -> str:
        """What result files call the scorer."""
        ...

    def score(self, groups: Sequence[ResponseGroup]) -> list[list[Score]]:
        """Return, for each group and each of its responses in order, a raw unbounded reward or a failure."""
        ...


def failure_of(error: RowError | TemplateError) -> Failure:
    """Return the failure of a group or response that cannot be turned into tokens."""
    return Failure(error.reason if isinstance(error, RowError) else "template", str(error))


def finite(score: Score) -> Score:
    """Return the score, or a failure if it is no finite number."""
    if isinstance(score, Failure):
        return score
    number = float(score)
    if math.isfinite(number):
        return number
    return Failure("not_finite", f"The score is {number}; the weights or the precision are broken.")


def checked_scores(scorer: Scorer, groups: Sequence[ResponseGroup]) -> list[list[Score]]:
    """Return the scorer's scores, every number finite.

    Raises:
        ScoringError: the scorer did not return one score for each response.
    """
    scores = scorer.score(groups)
    expected, found = [len(group.responses) for group in groups], [len(each) for each in scores]
    if expected != found:
        raise ScoringError(f"Scorer {scorer.name!r} returned {found} scores for groups of {expected} responses.")
    return [[finite(score) for score in own] for own in scores]
