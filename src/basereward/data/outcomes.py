"""What scorers and judges give, and say of themselves: a reward or a verdict for each question, or a typed failure."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

from pydantic import JsonValue

from basereward.data.record import DataRecord
from basereward.data.schema import Messages, Video

# Rewards are fp32 wherever they come from; differences and squares of such numbers are finite in double precision.
LARGEST_SCORE = float.fromhex("0x1.fffffep+127")
# The part of a score that says how far those apart are who gave it: their sample standard deviation.
SPREAD = "spread"
# Parts of a calibrated score: the reward before the maps, and the interval that it is told apart by.
RAW, LOW, HIGH = "raw", "low", "high"
# Names of parts that no member may have, as its reward would be taken for them.
RESERVED_PARTS = (SPREAD, RAW, LOW, HIGH)


@dataclass(frozen=True, slots=True)
class Failure:
    """A response without a score or a question without an answer: ``reason`` is countable, ``message`` for people."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Score:
    """What a scorer says of a response.

    Args:
        value: the raw, unbounded reward, within fp32.
        text: a critique, if the scorer writes one.
        parts: what the value was made of, such as the members of an ensemble and their spread.
    """

    value: float
    text: str | None = None
    parts: Mapping[str, float] | None = None


Scored = Score | Failure

# The place of the better response in the question, counted from 0, or that there is none.
Choice = int | Literal["tie", "unparsable"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge said of a question; without a clear verdict it is ``unparsable``, never a guess.

    Args:
        choice: the place of the better response in the question, counted from 0.
        text: the judge's words.
        probabilities: how likely the judge calls each response the best, in the order of the question; they sum to 1.
        mass: the probability of naming any of them at all, before it was divided out.
        is_cut_off: the judge reached the limit of tokens before it ended.
    """

    choice: Choice
    text: str
    _: KW_ONLY
    probabilities: tuple[float, ...] | None = None
    mass: float | None = None
    is_cut_off: bool = False


Judged = Verdict | Failure


@dataclass(frozen=True, slots=True)
class JudgeQuestion:
    """Two or more responses to a prompt, to be compared as they are shown: one after the other."""

    prompt: Messages
    responses: tuple[Messages, ...]
    images: tuple[Any, ...] = ()
    videos: tuple[Video, ...] = ()


@dataclass(frozen=True, slots=True)
class About:
    """What a scorer or a judge says of itself; one that wraps another passes it on.

    Args:
        name: what result files call it.
        sees_images: whether images can change what it says.
        identity: everything that decides what it says, weights first; None if it does not tell. Scores of equal
            identities may stand for each other.
        data_record: what its model was trained on, if that is known.
        compares: whether a score depends on the other responses of its group, copies included; then it stands for no
            other group's.
        writes: whether the scores of a scorer hold texts, such as critiques.
        members: names of those whose scores are combined; parts of a score are called so.
        partial: where ``identity`` is None, what is known to decide what it says, though it is not all: work goes on
            only where it is the same.
    """

    name: str
    sees_images: bool
    identity: Mapping[str, JsonValue] | None = None
    data_record: DataRecord | None = None
    compares: bool = False
    writes: bool = False
    members: tuple[str, ...] = ()
    partial: Mapping[str, JsonValue] | None = None

    @property
    def facts(self) -> dict[str, JsonValue]:
        """The identity, or what is known of it."""
        return dict((self.partial if self.identity is None else self.identity) or {})
