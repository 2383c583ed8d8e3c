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

    def answers(self, questions: Iterable[tuple[int, JudgeQuestion]], has_answered: bool = False) -> Iterator[Answered]:
        """Yield the answers in the order in which they come; questions are taken as they can be asked.

        Args:
            has_answered: the judge is known to answer, so that failures of the first questions are their own.
        """
        ...


def answers_of(
    judge: Judge, questions: Iterable[tuple[int, JudgeQuestion]], has_answered: bool = False
) -> Iterator[Answered]:
    """Yield the answers of any judge to numbered questions, each once, in any order.

    Args:
        has_answered: as for ``AnsweringJudge.answers``.

    Raises:
        ScoringError: the judge cannot be asked, or did not answer each question; what it answered was yielded before.
    """
    if isinstance(judge, AnsweringJudge):
        yield from judge.answers(questions, has_answered)
        return
    remaining = iter(questions)
    while batch := list(islice(remaining, BATCH_QUESTIONS)):
        numbers, asked = zip(*batch, strict=True)
        yield from map(Answered, numbers, checked_verdicts(judge, asked))
