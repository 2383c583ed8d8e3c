"""Rewards of groups of responses: the paper's schemes as pure functions of matches and of what a model says."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from basereward.data.outcomes import Failure, Score, Scored
from basereward.data.schema import ResponseGroup
from basereward.errors import RewardError
from basereward.rl.matching.answer import Match

Scheme = Literal["rule", "model", "hybrid", "tournament"]
# None: there is no reward, because something failed. Never a wrong answer, whose reward is a number.
Reward = float | None
# A sigmoid above this is, for a policy, as good as a match.
SATURATED = 0.99


@dataclass(frozen=True, slots=True)
class Rollouts:
    """One prompt with the responses that a policy sampled for it, and what is known about them.

    Args:
        group: the prompt with its images, and the responses.
        answer: the right answer, or several of which any is right; None for a question without one.
        options: the texts of the options A, B, ... of a question with choices.
        truncated: which responses were cut off by the limit of tokens; empty if that is not known.

    Raises:
        RewardError: ``truncated`` is of another length than the responses.
    """

    group: ResponseGroup
    answer: str | tuple[str, ...] | None = None
    options: tuple[str, ...] = ()
    truncated: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        """Check the lengths."""
        if self.truncated and len(self.truncated) != len(self.group.responses):
            raise RewardError(
                f"Found {len(self.truncated)} marks of truncation for {len(self.group.responses)} responses of group "
                f"{self.group.id!r}; expected one for each."
            )

    def is_truncated(self, place: int) -> bool:
        """Return whether the response at a place is known to be cut off."""
        return bool(self.truncated) and self.truncated[place]


@dataclass(frozen=True, slots=True)
class GroupRewards:
    """The rewards of a group, and everything that they were made of; each tuple has one entry for each response.

    Args:
        rewards: what the policy is trained on; None for a failure, which must be excluded, not counted as 0.
        scored: what the model said, raw; None where it was not asked.
        matches: comparisons with the right answer; None where there is none.
        truncated: which responses are known to be cut off by the limit of tokens.
        terms: what rewards were made of beside the scheme's, by name, before their weights; NaN where that failed.
    """

    rewards: tuple[Reward, ...]
    scored: tuple[Scored | None, ...]
    matches: tuple[Match | None, ...]
    truncated: tuple[bool, ...]
    terms: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def model_rewards(self) -> tuple[Reward, ...]:
        """The raw rewards of the model; None where it failed or was not asked."""
        return tuple(one.value if isinstance(one, Score) else None for one in self.scored)

    @property
    def failures(self) -> dict[int, Failure]:
        """What failed, by the place of the response."""
        return {place: one for place, one in enumerate(self.scored) if isinstance(one, Failure)}


def rule_rewards(matches: Sequence[Match]) -> list[Reward]:
    """Return 1 for a match and 0 for anything else.

    Source: Appendix C.O.1, Rule-Based Reward.
    """
    return [float(one.matched) for one in matches]


def model_rewards(scored: Sequence[Scored | None]) -> list[Reward]:
    """Return the model's raw rewards; None for a failure.

    Source: Appendix C.O.1, BaseReward-Based Reward.
    """
    return [one.value if isinstance(one, Score) else None for one in scored]


def squash(reward: float, offset: float = 0.0, scale: float = 1.0) -> float:
    """Return sigmoid((reward - offset) / scale), in [0, 1] for any finite reward."""
    shifted = (reward - offset) / scale
    # exp of a large positive number overflows, so each sign has its own form.
    return 1 / (1 + math.exp(-shifted)) if shifted >= 0 else math.exp(shifted) / (1 + math.exp(shifted))


def hybrid_rewards(
    matches: Sequence[Match | None], scored: Sequence[Scored | None], offset: float = 0.0, scale: float = 1.0
) -> list[Reward]:
    """Return 1 for a match, else the sigmoid of the model's reward; None where that failed.

    Raw rewards have no zero of their own, so ``offset`` and ``scale`` decide what the sigmoid tells apart; 0 and 1 are
    the paper's.

    Source: Appendix C.O.1, Hybrid Rule-Based + BaseReward Reward.
    """
    return [
        1.0
        if one is not None and one.matched
        else squash(said.value, offset, scale)
        if isinstance(said, Score)
        else None
        for one, said in zip(matches, scored, strict=True)
    ]


def weighted_sum(terms: Sequence[Sequence[Reward]], weights: Sequence[float]) -> list[Reward]:
    """Return the weighted sum of several rewards of the same responses; None where any of them is None.

    A sum over the others would count the missing one as 0.

    Raises:
        RewardError: there is not one weight for each term.
    """
    if len(terms) != len(weights) or not terms:
        raise RewardError(f"Found {len(weights)} weights for {len(terms)} rewards; expected one for each.")
    return [
        None if None in own else sum(weight * (value or 0.0) for weight, value in zip(weights, own, strict=True))
        for own in zip(*terms, strict=True)
    ]


def saturation(groups: Sequence[GroupRewards], offset: float = 0.0, scale: float = 1.0) -> float | None:
    """Return the share of responses without a match whose sigmoid is above 0.99; None if the model scored none.

    To the policy such a response is as good as a right one.
    """
    unmatched = [
        value
        for group in groups
        for value, one in zip(group.model_rewards, group.matches, strict=True)
        if value is not None and not (one and one.matched)
    ]
    if not unmatched:
        return None
    return sum(squash(value, offset, scale) > SATURATED for value in unmatched) / len(unmatched)
