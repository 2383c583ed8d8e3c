"""Which numbers of a run raise an alarm: for each rule how far a number may move from where the run started."""

from typing import Literal, NamedTuple

from pydantic import Field

from basereward.configuration import Section
from basereward.rl.watched import FORMATS


class Alarm(Section):
    """A number that moved further than its rule allows."""

    monitor: str
    """What was measured."""
    step: int
    """The last step of the windows that raised it."""
    value: float
    """The mean of those windows."""
    reference: float
    """The mean of the first windows, or the fixed level that the rule compares with."""
    threshold: float
    """What the value passed: what the rule allows, and the margin of chance."""
    false_alarm_rate: float
    """How likely this rule raises an alarm in a whole run in which nothing moves further than it allows."""
    message: str


class MonitorSettings(Section):
    """How monitors test."""

    window: int = Field(default=5, ge=2)
    """Steps in a window."""
    baseline: int = Field(default=4, ge=1)
    """Windows at the start that later ones are compared with."""
    spans: tuple[int, ...] = (1, 2, 4, 8)
    """How many of the last windows are tested together: one sees a jump, many see a slow drift."""
    false_alarm_rate: float = Field(default=0.05, gt=0, lt=1)
    """Of all rules together in one run."""


class Rule(NamedTuple):
    """How far a number may move before it is worth an alarm.

    ``level`` allows a fixed ``amount``, however the run started; the other kinds compare with the first windows:
    ``shift`` allows that much more (of rewards, that many of their standard deviations at the start), ``ratio`` that
    many times as much, ``beyond_best`` the mean of the best response of each group at the start and ``amount`` standard
    deviations more. ``is_share`` says that the number is a share of groups or of their responses.
    """

    monitor: str
    kind: Literal["shift", "ratio", "beyond_best", "level"]
    amount: float
    direction: Literal[1, -1]
    says: str
    is_share: bool = False


_LIMIT = "responses end at the limit of tokens"
RULES = (
    Rule("missing", "shift", 0.05, 1, "more responses have no reward", True),
    Rule("missing", "level", 0.2, 1, "many responses have no reward", True),
    Rule("cut", "shift", 0.2, 1, f"more {_LIMIT}", True),
    Rule("cut", "level", 0.5, 1, f"most {_LIMIT}", True),
    Rule("without_signal", "level", 0.5, 1, "most groups have equal rewards, and not because all are right", True),
    Rule("matched", "shift", 0.1, -1, "fewer responses match the right answer", True),
    Rule("saturated_unmatched", "shift", 0.05, 1, "the reward model is sure of more unmatched responses", True),
    Rule("disagreement", "shift", 0.25, 1, "the model prefers unmatched to matched responses in more groups", True),
    Rule("length", "ratio", 1.5, 1, "responses are longer"),
    Rule("length_correlation", "shift", 0.3, 1, "rewards follow the length of responses more closely"),
    Rule("length_correlation", "level", 0.4, 1, "rewards follow the length of responses"),
    Rule("image_correlation", "shift", 0.5, 1, "rewards follow the number of images more closely"),
    *(Rule(f"format_correlation:{name}", "shift", 0.3, 1, f"rewards follow the form {name} more") for name in FORMATS),
    Rule("reward", "beyond_best", 1.0, 1, "rewards are above the best that the start offered"),
    Rule("reward", "shift", 1.0, -1, "rewards fell"),
    Rule("model_reward", "beyond_best", 1.0, 1, "the model's rewards are above the best that the start offered"),
)
