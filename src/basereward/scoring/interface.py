"""What every scorer promises: one reward or one typed failure for each response, in order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from basereward.data.schema import ResponseGroup


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
