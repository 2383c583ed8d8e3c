"""What monitors see of a step: groups of responses, each with its reward and a few facts of its text."""

import re
from dataclasses import dataclass
from math import isfinite

# Each finds its form in linear time, whatever the text.
FORMATS = {
    "list": re.compile(r"^[ \t]*(?:[-*+]|\d{1,3}[.)])[ \t]+\S", re.MULTILINE),
    "boxed": re.compile(r"\\boxed\b"),
    "markdown": re.compile(r"^#{1,6} |\*\*\S|^```|^\|.*\|[ \t]*$", re.MULTILINE),
}


def format_flags(text: str) -> frozenset[str]:
    """Return which of ``FORMATS`` a response uses."""
    return frozenset(name for name, pattern in FORMATS.items() if pattern.search(text))


@dataclass(frozen=True, slots=True)
class WatchedResponse:
    """One response of a group, as monitors see it.

    Args:
        reward: what the policy is trained on; None if it could not be computed.
        model_reward: the output of the reward model whose sigmoid is meant by saturation; None if no model was asked.
        matched: whether it matches the right answer; None where there is none to match.
        length: in tokens, or in characters; the same in a whole run.
        is_cut: whether it ended at the limit of tokens; None if that is not known.
        formats: which of ``FORMATS`` it uses.
    """

    reward: float | None
    model_reward: float | None = None
    matched: bool | None = None
    length: int = 0
    is_cut: bool | None = None
    formats: frozenset[str] = frozenset()

    @property
    def is_rewarded(self) -> bool:
        """Whether it has a reward that is a finite number."""
        return self.reward is not None and isfinite(self.reward)


@dataclass(frozen=True, slots=True)
class WatchedGroup:
    """The responses to one prompt, and how many images it shows."""

    responses: tuple[WatchedResponse, ...]
    images: int = 0
