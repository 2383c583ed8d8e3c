"""What one call of a reward function did, in numbers that a log shows."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite

from basereward.rl.matching.answer import TIMEOUT
from basereward.rl.rewards import GroupRewards, Rollouts, saturation


@dataclass(frozen=True, slots=True)
class CallSummary:
    """Counts of one call over all its responses.

    Args:
        responses: how many.
        distinct: different ones within their groups; each was scored once.
        without_image: responses to prompts without an image or a video.
        empty: responses that say nothing.
        unrewarded: responses without a reward.
        truncated: cut off by the limit of tokens; None if nobody said which are.
        matched: with the right answer; None if no prompt has one.
        timeouts: comparisons that took too long and count as no match.
        saturated: share of unmatched responses whose sigmoid is above 0.99; None without a model.
        failures: failures of the model by reason.
        terms: mean of each term that rewards are made of, by name.
    """

    responses: int
    distinct: int
    without_image: int
    empty: int
    unrewarded: int
    truncated: int | None
    matched: int | None
    timeouts: int
    saturated: float | None
    failures: dict[str, int]
    terms: dict[str, float] = field(default_factory=dict)

    def metrics(self) -> dict[str, float]:
        """Return shares for a log, by name; what is unknown is left out."""
        counts = {
            "distinct": self.distinct,
            "without_image": self.without_image,
            "empty": self.empty,
            "unrewarded": self.unrewarded,
            "truncated": self.truncated,
            "matched": self.matched,
            "match_timeout": self.timeouts,
        }
        shares = {
            name: count / self.responses for name, count in counts.items() if count is not None and self.responses
        }
        known = shares if self.saturated is None else {**shares, "saturated": self.saturated}
        return {**known, **self.terms}


def summarize(
    rollouts: Sequence[Rollouts], rewarded: Sequence[GroupRewards], offset: float, scale: float
) -> CallSummary:
    """Return the summary of a call."""
    responses = [response for own in rollouts for response in own.group.responses]
    matches = [one for group in rewarded for one in group.matches if one is not None]
    is_known = any(own.truncated for own in rollouts)
    return CallSummary(
        responses=len(responses),
        distinct=sum(len({response.messages for response in own.group.responses}) for own in rollouts),
        without_image=sum(
            len(own.group.responses) for own in rollouts if not own.group.images and not own.group.videos
        ),
        empty=sum(not response.text.strip() for response in responses),
        unrewarded=sum(reward is None for group in rewarded for reward in group.rewards),
        truncated=sum(sum(group.truncated) for group in rewarded) if is_known else None,
        matched=sum(one.matched for one in matches) if matches else None,
        timeouts=sum(one.method == TIMEOUT for one in matches),
        saturated=saturation(rewarded, offset, scale),
        failures=dict(Counter(failure.reason for group in rewarded for failure in group.failures.values())),
        terms=_term_means(rewarded),
    )


def _term_means(rewarded: Sequence[GroupRewards]) -> dict[str, float]:
    """Return the mean of each term over the responses that have it."""
    names = dict.fromkeys(name for group in rewarded for name in group.terms)
    values = {name: [one for group in rewarded for one in group.terms.get(name, ()) if isfinite(one)] for name in names}
    return {name: sum(found) / len(found) for name, found in values.items() if found}
