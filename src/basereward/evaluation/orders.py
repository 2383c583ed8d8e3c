"""Does the order of responses change what is said of them? A certificate over random orders and the reverse one.

Any scorer and any judge can be asked. The orders of a group are asked about in calls of their own: in one call, what
equal responses share would be computed once, and could not show a change.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from math import factorial
from pathlib import Path
from random import Random
from statistics import pstdev
from typing import NamedTuple

from pydantic import Field

from basereward.configuration import Section
from basereward.data.arrangement import ReadOptions
from basereward.data.io import read_records
from basereward.data.outcomes import Failure, JudgeQuestion, Score, Verdict
from basereward.data.progress import Progress, no_progress
from basereward.data.reader import open_reader
from basereward.data.schema import Messages, ResponseGroup
from basereward.errors import DataError, RowError
from basereward.evaluation.audit.marks import MARKS
from basereward.scoring.interface import Judge, Scorer, checked_scores, checked_verdicts
from basereward.scoring.tasks import RecordTasks

ALONE, UNPARSABLE, TIE = "one_response", "unparsable", "tie"
# Groups that are asked about in one call.
GROUPS_AT_ONCE = 16
# Places of responses, in the order in which they are shown.
Order = tuple[int, ...]


class OrderChange(Section):
    """What other orders change of groups, or asking again in the same order."""

    largest: float | None
    """Largest absolute change of a score; null of a judge, who gives none."""
    best: int = Field(ge=0)
    """Groups of which another response is the best one."""


class SizedChange(OrderChange):
    """The same of groups of one size."""

    responses: int = Field(ge=2)
    groups: int = Field(ge=1)


class OrderCertificate(Section):
    """What ``basereward orders`` finds."""

    scorer: str
    is_judge: bool
    compares: bool
    """Whether it says itself that a score depends on the other responses of its group."""
    groups: int = Field(ge=0)
    """Groups with an answer in every order; all numbers are of these."""
    responses: int = Field(ge=0)
    orders: int = Field(ge=1)
    """Orders of a group beside the given one, the reverse one among them; fewer where it has no more."""
    seed: int
    deviation: float | None
    """Standard deviation of all scores in the given order."""
    change: OrderChange
    """Over all other orders."""
    again: OrderChange
    """In the given order a second time: what the order is not to blame for."""
    sizes: list[SizedChange]
    """By the number of responses."""
    failures: dict[str, int]
    """Groups without an answer in some order, by reason."""
    left_out: dict[str, int]
    """Records that cannot be read or have no two different responses, by reason."""

    @property
    def relative(self) -> float | None:
        """The largest change of a score in standard deviations of all scores."""
        return self.change.largest / self.deviation if self.deviation and self.change.largest is not None else None

    @property
    def passes(self) -> bool:
        """Whether the order is without effect, by the marks of an audit: ``order``, and of a judge ``judge_order``."""
        if not self.groups:
            return False
        if self.is_judge:
            return 1 - self.change.best / self.groups >= MARKS["judge_order"].limit
        assert self.change.largest is not None
        assert self.deviation is not None
        return self.change.largest <= MARKS["order"].limit * self.deviation


class GroupsRead(NamedTuple):
    """Groups of a file, and the records that are none by reason."""

    groups: list[ResponseGroup]
    left_out: dict[str, int]


def read_groups(source: Path, limit: int | None = None, options: ReadOptions | None = None) -> GroupsRead:
    """Return the groups of a file as ``basereward score`` reads it: of a record of pairs or of responses.

    Args:
        limit: only the first so many groups.

    Raises:
        MissingFileError: no such file.
        DataError: another file format, or no group.
    """
    reader = open_reader(read_records(source), str(source), options, groups=True)
    reader.recognised.say()
    tasks = RecordTasks(reader, source.parent)
    left_out: Counter[str] = Counter()

    def found() -> Iterator[ResponseGroup]:
        for number, record in enumerate(read_records(source)):
            task = tasks.task(record, number)
            if isinstance(task, RowError):
                left_out[task.reason] += 1
                continue
            for group in task.groups:
                if len({response.messages for response in group.responses}) > 1:
                    yield group
                else:
                    left_out[ALONE] += 1

    groups = list(islice(found(), limit))
    if not groups:
        raise DataError(f"No record of {source} has two different responses to one prompt; left out: {dict(left_out)}.")
    return GroupsRead(groups, dict(left_out))


def draw_orders(count: int, orders: int, seed: str) -> list[Order]:
    """Return the reverse order of so many responses and others drawn at random, each once; the given one is not among
    them."""
    given = tuple(range(count))
    found = {given: None, given[::-1]: None}
    generator = Random(seed)
    while len(found) < min(orders + 1, factorial(count)):
        found.setdefault(tuple(generator.sample(given, count)))
    return list(found)[1 : orders + 1]


class _Said(NamedTuple):
    """What was said of a group in one order: the best responses, and the scores by place in the given order."""

    best: frozenset[Messages | str]
    values: tuple[float, ...]


def certify_orders(
    asked: Scorer | Judge,
    read: GroupsRead,
    orders: int = 4,
    seed: int = 0,
    on_progress: Progress = no_progress,
) -> OrderCertificate:
    """Ask about each group in its own order, in the same again, and in others, and return what changed.

    Scores must be computed anew to mean anything: give no scorer that answers from a cache.

    Args:
        orders: beside the given one; the reverse order is the first.
        on_progress: called with the number of groups done and to do.

    Raises:
        ScoringError: what is asked cannot be asked at all.
    """
    said: list[list[_Said | Failure]] = []
    for start in range(0, len(read.groups), GROUPS_AT_ONCE):
        said += _ask_all(asked, read.groups[start : start + GROUPS_AT_ONCE], start, orders, seed)
        on_progress(len(said), len(read.groups))
    failed = [next((one for one in own if isinstance(one, Failure)), None) for own in said]
    known = [
        (group, [one for one in own if isinstance(one, _Said)])
        for group, own, lost in zip(read.groups, said, failed, strict=True)
        if lost is None
    ]
    sizes = sorted({len(group.responses) for group, _ in known})
    by_size = {size: [own for group, own in known if len(group.responses) == size] for size in sizes}
    values = [value for _, own in known for value in own[0].values]
    return OrderCertificate(
        scorer=asked.about.name,
        is_judge=isinstance(asked, Judge),
        compares=asked.about.compares,
        groups=len(known),
        responses=sum(len(group.responses) for group, _ in known),
        orders=orders,
        seed=seed,
        deviation=pstdev(values) if values else None,
        change=_change([(own[0], own[2:]) for _, own in known]),
        again=_change([(own[0], own[1:2]) for _, own in known]),
        sizes=[
            SizedChange(responses=size, groups=len(found), **_change([(own[0], own[2:]) for own in found]).model_dump())
            for size, found in by_size.items()
        ],
        failures=dict(Counter(lost.reason for lost in failed if lost is not None)),
        left_out=read.left_out,
    )


def _ask_all(
    asked: Scorer | Judge, groups: Sequence[ResponseGroup], first: int, orders: int, seed: int
) -> list[list[_Said | Failure]]:
    """Return for each group what is said in the given order, in it again, and in each of the others."""
    shown = []
    for number, group in enumerate(groups, first):
        given = tuple(range(len(group.responses)))
        shown.append([given, given, *draw_orders(len(given), orders, f"{seed}/{number}")])
    said: list[list[_Said | Failure]] = [[] for _ in groups]
    for turn in range(max(map(len, shown))):
        asked_now = {place: own[turn] for place, own in enumerate(shown) if turn < len(own)}
        for place, one in _ask(asked, groups, asked_now).items():
            said[place].append(one)
    return said


def _ask(
    asked: Scorer | Judge, groups: Sequence[ResponseGroup], orders: Mapping[int, Order]
) -> dict[int, _Said | Failure]:
    """Return what is said of some groups, each in an order, in one call."""
    turned = [
        replace(groups[place], responses=tuple(groups[place].responses[own] for own in order))
        for place, order in orders.items()
    ]
    if isinstance(asked, Judge):
        questions = [
            JudgeQuestion(group.prompt, tuple(own.messages for own in group.responses), group.images, group.videos)
            for group in turned
        ]
        verdicts = checked_verdicts(asked, questions)
        return {place: _choice(*own) for place, own in zip(orders, zip(turned, verdicts, strict=True), strict=True)}
    found: dict[int, _Said | Failure] = {}
    for (place, order), group, scores in zip(orders.items(), turned, checked_scores(asked, turned), strict=True):
        lost = next((one for one in scores if isinstance(one, Failure)), None)
        values = [one.value for one in scores if isinstance(one, Score)]
        if lost is None:
            best = frozenset(
                own.messages for own, value in zip(group.responses, values, strict=True) if value == max(values)
            )
            found[place] = _Said(best, tuple(value for _, value in sorted(zip(order, values, strict=True))))
        else:
            found[place] = lost
    return found


def _choice(group: ResponseGroup, judged: Verdict | Failure) -> _Said | Failure:
    if isinstance(judged, Failure):
        return judged
    if isinstance(judged.choice, int):
        return _Said(frozenset([group.responses[judged.choice].messages]), ())
    return _Said(frozenset([TIE]), ()) if judged.choice == "tie" else Failure(UNPARSABLE, judged.text[:200])


def _change(pairs: Sequence[tuple[_Said, Sequence[_Said]]]) -> OrderChange:
    changes = [
        abs(one - other)
        for given, others in pairs
        for turned in others
        for one, other in zip(given.values, turned.values, strict=True)
    ]
    best = sum(any(turned.best != given.best for turned in others) for given, others in pairs)
    return OrderChange(largest=max(changes, default=None), best=best)
