"""What scorers and judges promise: one reward, or one verdict, or a typed failure for each question, in order."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from basereward.data.outcomes import LARGEST_SCORE, About, Failure, Judged, JudgeQuestion, Score, Scored
from basereward.data.schema import ResponseGroup
from basereward.errors import RowError, ScoringError, TemplateError


class Scorer(Protocol):
    """Scores the responses of groups."""

    @property
    def about(self) -> About:
        """What it is."""
        ...

    def score(self, groups: Sequence[ResponseGroup]) -> list[list[Scored]]:
        """Return a score or a failure for each response of each group, in order."""
        ...


@runtime_checkable
class Judge(Protocol):
    """A generative model that says which of several responses is best."""

    @property
    def about(self) -> About:
        """What it is."""
        ...

    def compare(self, questions: Sequence[JudgeQuestion]) -> list[Judged]:
        """Return a verdict or a failure for each question, in order."""
        ...


def failure_of(error: RowError | TemplateError) -> Failure:
    """Return the failure of a group or response that cannot be turned into tokens."""
    return Failure(error.reason if isinstance(error, RowError) else "template", str(error))


def finite(score: Scored) -> Scored:
    """Return the score, or a failure if its value is no finite fp32 number."""
    # Not a comparison with the opposite sign: NaN is not within anything.
    if isinstance(score, Failure) or abs(score.value) <= LARGEST_SCORE:
        return score
    return Failure(
        "not_finite", f"The score is {score.value}, no fp32 number; the weights or the precision are broken."
    )


def checked_scores(scorer: Scorer, groups: Sequence[ResponseGroup]) -> list[list[Scored]]:
    """Return the scorer's scores, every number finite.

    Raises:
        ScoringError: the scorer did not return one score for each response.
    """
    return check_scores(scorer.about, groups, scorer.score(groups))


def check_scores(about: About, groups: Sequence[ResponseGroup], scores: list[list[Scored]]) -> list[list[Scored]]:
    """Return what a scorer said of groups, every number finite.

    Raises:
        ScoringError: it did not return one score for each response.
    """
    expected, found = [len(group.responses) for group in groups], [len(each) for each in scores]
    if expected != found:
        raise ScoringError(f"Scorer {about.name!r} returned {found} scores for groups of {expected} responses.")
    strange = [score for own in scores for score in own if not isinstance(score, Score | Failure)]
    if strange:
        raise ScoringError(
            f"Scorer {about.name!r} returned a {type(strange[0]).__name__}; expected a Score or a Failure."
        )
    return [[finite(score) for score in own] for own in scores]


def checked_verdicts(judge: Judge, questions: Sequence[JudgeQuestion]) -> list[Judged]:
    """Return the judge's verdicts.

    Raises:
        ScoringError: the judge did not return one verdict or failure for each question.
    """
    judged = judge.compare(questions)
    if len(judged) != len(questions):
        raise ScoringError(f"Judge {judge.about.name!r} returned {len(judged)} verdicts on {len(questions)} questions.")
    return judged
