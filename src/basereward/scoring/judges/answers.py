"""Answers of a judge one by one, as they come: what a caller keeps at once is not asked again after a kill."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple, Protocol, runtime_checkable

from basereward.data.outcomes import Judged, JudgeQuestion
from basereward.scoring.interface import Judge, checked_verdicts

# Questions that a judge without answers of its own is asked at once; a kill loses so many.
BATCH_QUESTIONS = 32


class Usage(NamedTuple):
    """The tokens of an answered question, as the server counts them."""

    prompt_tokens: int
    completion_tokens: int


class Answered(NamedTuple):
    """The answer to the question of a number; without usage nobody told what it took."""

    number: int
    judged: Judged
    usage: Usage | None = None


@runtime_checkable
class AnsweringJudge(Protocol):
    """A judge that gives each answer when it has it."""

    def answers(self, questions: Iterable[tuple[int, JudgeQuestion]]) -> Iterator[Answered]:
        """Yield the answers in the order in which they come; questions are taken as they can be asked."""
        ...


@runtime_checkable
class WaryJudge(Protocol):
    """A judge that gives up where the first questions of all get no answer."""

    def trust(self) -> None:
        """Take it that others were answered in an earlier call, so that failures are those of their questions."""
        ...


def trust(judge: Judge) -> None:
    """Tell a judge, if it minds, that it has answered before: what goes on may begin with all that failed."""
    if isinstance(judge, WaryJudge):
        judge.trust()


def answers_of(judge: Judge, questions: Iterable[tuple[int, JudgeQuestion]]) -> Iterator[Answered]:
    """Yield the answers of any judge to numbered questions, each once, in any order.

    Raises:
        ScoringError: the judge cannot be asked, or did not answer each question; what it answered was yielded before.
    """
    if isinstance(judge, AnsweringJudge):
        yield from judge.answers(questions)
        return
    remaining = iter(questions)
    while batch := list(islice(remaining, BATCH_QUESTIONS)):
        numbers, asked = zip(*batch, strict=True)
        yield from map(Answered, numbers, checked_verdicts(judge, asked))
