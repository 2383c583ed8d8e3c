"""What a probe is: a change of items, how they are asked about, and what is measured of the answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, NamedTuple, get_args

from basereward.benchmarks.items import BenchmarkItem
from basereward.data.outcomes import About
from basereward.evaluation.asking import Ask, ask_scorer
from basereward.evaluation.audit.measures import Measurement, ProbedRow
from basereward.evaluation.audit.sets import AuditSet
from basereward.scoring.interface import Scorer

ProbeKind = Literal["looks and reads", "same numbers", "same ranking", "attacks", "properties"]
PROBE_KINDS: tuple[ProbeKind, ...] = get_args(ProbeKind)


class Subject(NamedTuple):
    """Who is audited."""

    about: About
    is_judge: bool


class Changed(NamedTuple):
    """What a probe asks about.

    Args:
        numbers: of the items that take part, in the numbers of the audit's items.
        item: returns the changed item of a number; made when asked for, as it may hold decoded images.
    """

    numbers: Sequence[int]
    item: Callable[[int], BenchmarkItem]


Prepare = Callable[[AuditSet], Changed]
Applies = Callable[[BenchmarkItem], bool]
ItemChange = Callable[[BenchmarkItem, Random], BenchmarkItem]
Unsuited = Callable[[Subject], str]
NO_IMAGES = "no item shows an image or a video"


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe of an audit; its pass mark stands in ``MARKS``.

    Args:
        name: what ``--probes`` calls it.
        kind: which table it stands in.
        question: what a reader wants to know; its measured value is the answer.
        measure: makes a value of the rows before and after.
        prepare: which items are asked about, and how they are changed; None for a property of the first answers.
        ask: how a scorer is asked about the changed items.
        unsuited: why the probe says nothing of a subject; empty where it does.
        nothing: what is to be said where no item can be changed.
    """

    name: str
    kind: ProbeKind
    question: str
    measure: Callable[[Sequence[ProbedRow]], Measurement]
    prepare: Prepare | None = None
    ask: Callable[[Scorer, AuditSet], Ask] = lambda scorer, items: ask_scorer(scorer)
    unsuited: Unsuited = lambda subject: ""
    nothing: str = "no item can be changed"


def each_item(change: ItemChange, applies: Applies = lambda item: True, sample: int | None = None) -> Prepare:
    """Return how items are changed one by one, each with a generator of its own: others change nothing for it.

    Args:
        applies: whether the change can be made to an item.
        sample: ask about so many of the items at most, drawn with the seed.
    """

    def prepare(asked: AuditSet) -> Changed:
        numbers = [number for number in asked.usable if applies(asked.items[number])]
        if sample is not None and len(numbers) > sample:
            numbers = sorted(Random(asked.seed).sample(numbers, sample))
        return Changed(numbers, lambda number: change(asked.items[number], _generator(asked, number)))

    return prepare


def _generator(asked: AuditSet, number: int) -> Random:
    return Random(f"{asked.seed}/{asked.row(number)}")


def needs_sight(subject: Subject) -> str:
    """Return why a probe of images says nothing of who sees none."""
    return "" if subject.about.sees_images else f"{subject.about.name} says that images cannot change its answers"


def needs_numbers(subject: Subject) -> str:
    """Return why a probe of numbers says nothing of a judge."""
    return "a judge gives verdicts, which are no numbers to compare" if subject.is_judge else ""


def needs_verdicts(subject: Subject) -> str:
    """Return why a probe of verdicts says nothing of a scorer."""
    return "" if subject.is_judge else "a scorer gives each response a number, and no verdict on two"
