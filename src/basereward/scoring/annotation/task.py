"""What every kind of annotation is made of: two questions about a pair, and what their answers make of it."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from basereward.data.outcomes import Failure, Judged, JudgeQuestion
from basereward.data.schema import PreferencePair

ANNOTATION_REASONS: dict[str, str] = {
    "contradicts": "The verdict, or the ratings of both responses, is against the label.",
    "undecided": "The verdict is a tie, or both responses are rated equally, or both orders weigh each other out.",
    "unparsable": "The answer holds no clear verdict or rating.",
    "cut_off": "The answer reached the limit of tokens before it ended.",
    "no_words": "Nothing stands before the verdict or rating.",
}


class Read(NamedTuple):
    """What the answers on a pair make of it.

    Args:
        pair: as it is written, None if it is dropped.
        lost: for each of the two answers why it is not used, None if it is.
        facts: what ``AnnotationTask.details`` counts, if anything.
    """

    pair: PreferencePair | None
    lost: tuple[str | None, str | None]
    facts: Any = None


class AnnotationTask(Protocol):
    """A kind of annotation."""

    @property
    def step(self) -> Literal["annotate", "distill"]:
        """What manifests call the work."""
        ...

    @property
    def wrote(self) -> Literal["critiques", "thoughts", "preferences"]:
        """What the judge writes."""
        ...

    @property
    def places(self) -> tuple[str, str]:
        """What the two questions on a pair are called."""
        ...

    def questions(self, pair: PreferencePair) -> tuple[JudgeQuestion, JudgeQuestion]:
        """Return what is asked about a pair; nothing in it tells the label."""
        ...

    def read(self, pair: PreferencePair, answers: Sequence[Judged]) -> Read:
        """Return what two answers make of a pair."""
        ...

    def details(self, facts: Sequence[Any]) -> Mapping[str, Any]:
        """Return what a manifest tells beside the counts, from the facts of all pairs."""
        ...


def lost_reason(judged: Judged) -> str | None:
    """Return why an answer cannot be used whatever it says, None if it can."""
    if isinstance(judged, Failure):
        return judged.reason
    return "cut_off" if judged.is_cut_off else None
