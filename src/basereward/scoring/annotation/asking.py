"""The answers of a judge on pairs, kept one by one: a kill at any place loses only what was in flight."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from basereward.data.manifest import JudgeUse
from basereward.data.outcomes import About, Failure, Judged, JudgeQuestion
from basereward.data.pairs import PairDataset
from basereward.data.progress import Progress
from basereward.data.work import Work
from basereward.errors import WorkError
from basereward.scoring.annotation.task import AnnotationTask
from basereward.scoring.interface import Judge
from basereward.scoring.judges.answers import Answered, Usage, answers_of, trust

# Questions on one pair, numbered side by side.
OF_A_PAIR = 2
_KEY = "question"
_JUDGED: TypeAdapter[Judged] = TypeAdapter(Judged)


class Price(NamedTuple):
    """Of a million tokens of prompts, and of answers."""

    prompt: float
    completion: float


class KeptAnswers(NamedTuple):
    """The two answers on a pair, and the tokens that they took; None where nobody told."""

    answers: tuple[Judged, Judged]
    usage: tuple[tuple[int, int] | None, ...]


def ask_missing(judge: Judge, task: AnnotationTask, pairs: PairDataset, work: Work, on_progress: Progress) -> None:
    """Ask what has no answer yet; a failure of an earlier call is no answer.

    Args:
        on_progress: called with the number of questions answered, those of an earlier call included, and of all.

    Raises:
        ScoringError: the judge cannot be asked; what it answered is kept.
    """
    records = work.records(key=_KEY, is_done=lambda record: "reason" not in record["judged"])
    # Listed first: a failure that is added behind the one being asked about would be asked about twice.
    missing = [number for number in _numbers(pairs.rows) if number not in records]
    spent = _spent(work)
    total = OF_A_PAIR * len(pairs)
    done = total - len(missing)
    on_progress(done, total)
    if len(records):
        trust(judge)
    for number, own in enumerate(answers_of(judge, _questions(task, pairs, missing)), 1):
        records.add([_dump(_with_spent(own, spent.get(own.number)))])
        on_progress(done + number, total)


def read_answers(work: Work, rows: Sequence[int]) -> Iterator[KeptAnswers]:
    """Yield the answers on the pair of each row, in order, failures included.

    Args:
        rows: ascending; others may have answers too, such as those whose image was there in an earlier call.

    Raises:
        WorkError: some are missing.
    """
    records, wanted = work.records(key=_KEY), set(rows)
    if lost := [number for number in _numbers(rows) if number not in records]:
        raise WorkError(f"{records.path} has no answer to question {lost[0]} and {len(lost) - 1} others; ask again.")
    stored = (own for own in records if own[_KEY] // OF_A_PAIR in wanted)
    for first, second in zip(stored, stored, strict=True):
        answers = (_JUDGED.validate_python(first["judged"]), _JUDGED.validate_python(second["judged"]))
        usage = tuple(None if own["usage"] is None else (own["usage"][0], own["usage"][1]) for own in (first, second))
        yield KeptAnswers(answers, usage)


class UseCounter:
    """Counts what a judge was asked and what that took."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, kept: KeptAnswers) -> None:
        """Count the answers on a pair."""
        for judged, usage in zip(kept.answers, kept.usage, strict=True):
            self._counts["requests"] += 1
            self._counts["failed"] += isinstance(judged, Failure)
            self._counts["without_usage"] += usage is None and not isinstance(judged, Failure)
            prompt, completion = usage or (0, 0)
            self._counts["prompt_tokens"] += prompt
            self._counts["completion_tokens"] += completion

    def use(self, about: About, task: AnnotationTask, pairs: int, price: Price | None) -> JudgeUse:
        """Return what a manifest says of the judge."""
        identity: Mapping[str, Any] = about.identity or {}
        counts = {
            name: self._counts[name]
            for name in ("requests", "failed", "without_usage", "prompt_tokens", "completion_tokens")
        }
        cost = price and counts["prompt_tokens"] * price.prompt + counts["completion_tokens"] * price.completion
        return JudgeUse(
            name=about.name,
            wrote=task.wrote,
            prompt=str(identity.get("prompt", "unknown")),
            identity=dict(identity),
            pairs=pairs,
            price=price,
            cost=None if cost is None else round(cost / 1e6, 6),
            **counts,
        )


def _numbers(rows: Sequence[int]) -> Iterator[int]:
    """Yield the numbers of the questions on rows.

    They are numbered by the row of the file and not by the place among usable pairs: an image that comes or goes
    between two calls moves all places behind its own, and answers would be on other pairs.
    """
    return (OF_A_PAIR * row + place for row in rows for place in range(OF_A_PAIR))


def _questions(task: AnnotationTask, pairs: PairDataset, missing: Sequence[int]) -> Iterator[tuple[int, JudgeQuestion]]:
    """Yield questions with their numbers, both of a pair side by side; a pair is read when its turn comes."""
    places = {row: place for place, row in enumerate(pairs.rows)}
    of_row: Callable[[int], int] = lambda number: number // OF_A_PAIR  # noqa: E731
    for row, numbers in groupby(missing, of_row):
        asked = task.questions(pairs[places[row]])
        yield from ((number, asked[number % OF_A_PAIR]) for number in numbers)


def _spent(work: Work) -> dict[int, Usage]:
    """Return the tokens of questions that an earlier call asked in vain; they cost as much as those of answers."""
    failed = (own for own in work.records(key=_KEY) if "reason" in own["judged"] and own["usage"])
    return {own[_KEY]: Usage(*own["usage"]) for own in failed}


def _with_spent(own: Answered, spent: Usage | None) -> Answered:
    """Return an answer with what its question took before; a verdict whose own tokens nobody told stays without."""
    if spent is None or (own.usage is None and not isinstance(own.judged, Failure)):
        return own
    prompt, completion = own.usage or (0, 0)
    return own._replace(usage=Usage(prompt + spent.prompt_tokens, completion + spent.completion_tokens))


def _dump(own: Answered) -> dict[str, Any]:
    usage = None if own.usage is None else list(own.usage)
    return {_KEY: own.number, "judged": _JUDGED.dump_python(own.judged, mode="json"), "usage": usage}
