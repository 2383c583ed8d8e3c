"""Trivial scorers that look at no image and need no weights: what every model has to beat."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from basereward.data.outcomes import About, Score, Scored
from basereward.data.schema import ResponseGroup, response_id
from basereward.registry import Registry
from basereward.scoring.model_spec import ModelSpec, OpenSpec

PREFIX = "baseline:"
PositionRule = Callable[[ResponseGroup, int], float]


@dataclass(frozen=True, slots=True)
class Baseline:
    """Scores the response at a position of a group by a rule that reads the group alone."""

    about: About
    rule: PositionRule

    def score(self, groups: Sequence[ResponseGroup]) -> list[list[Scored]]:
        """Return the rule's number for each response of each group, in order."""
        return [[Score(self.rule(group, index)) for index in range(len(group.responses))] for group in groups]


def score_longer(group: ResponseGroup, index: int) -> float:
    """Return the number of characters of the response."""
    return float(len(group.responses[index].text))


def score_shorter(group: ResponseGroup, index: int) -> float:
    """Return minus the number of characters of the response."""
    return -score_longer(group, index)


def score_first(group: ResponseGroup, index: int) -> float:
    """Return minus the position in the group.

    Groups of a pair are ordered by a hash, so anything but 0.5 here means that positions leak the label.
    """
    return -float(index)


def score_random(group: ResponseGroup, index: int) -> float:
    """Return a number in [0, 1) drawn by a hash of the response's id and content.

    It depends neither on the batch nor on the order of the responses.
    """
    response = group.responses[index]
    return int(response_id(response.id, response.messages), 16) / 16**16


BASELINES: Registry[Baseline] = Registry(
    "baseline",
    {
        name: Baseline(About(PREFIX + name, sees_images=False, partial={"baseline": name}), rule)
        for name, rule in (
            ("longer", score_longer),
            ("shorter", score_shorter),
            ("first", score_first),
            ("random", score_random),
        )
    },
)


def open_baseline(member: ModelSpec, open_spec: OpenSpec) -> Baseline:
    """Return the baseline of ``baseline:NAME``.

    Raises:
        UnknownNameError: no such baseline.
    """
    found = BASELINES.get(member.model.removeprefix(PREFIX))
    return found if member.name is None else replace(found, about=replace(found.about, name=member.name))
