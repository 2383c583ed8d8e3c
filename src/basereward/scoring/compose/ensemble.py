"""Several scorers as one: the rewards of all members that a group concerns, combined by a rule."""

from collections.abc import Sequence
from functools import cached_property

from pydantic import JsonValue

from basereward.data.outcomes import SPREAD, About, Failure, Score, Scored
from basereward.data.schema import ResponseGroup
from basereward.scoring.compose.members import Members, first_failure, joined_texts
from basereward.scoring.compose.rules import lower_bound, middle, vote_shares, weighted_mean, weighted_spread
from basereward.scoring.compose.specs import NO_MEMBER, EnsembleOptions, EnsembleSpec
from basereward.scoring.compose.weights import member_weights
from basereward.scoring.interface import finite
from basereward.scoring.model_spec import OpenSpec
from basereward.scoring.tournament import ALONE


class Ensemble:
    """Scores with several members: ``r = rule(r_1, .., r_K)``.

    A member that fails on a response fails it; one that a group does not concern is left out, and the weights of the
    others count. ``Score.parts`` holds the reward of each member by name, and their spread; ``Score.text`` what they
    wrote.

    Args:
        members: the members.
        options: the rule.
        name: what result files call it.

    Raises:
        BaseRewardError: weights cannot be measured, as ``member_weights``.

    Source: paper Appendix B.
    """

    def __init__(self, members: Members, options: EnsembleOptions, name: str) -> None:
        self.members, self.options, self.name = members, options, name
        self.weights = member_weights(members, options)
        self.weight_bytes = members.weight_bytes

    @cached_property
    def about(self) -> About:
        """The members, the rule and the weights."""
        members = self.members
        compares = members.compares or self.options.rule == "vote"
        record = members.data_record()
        names = tuple(member.label for member in members.all)
        facts, is_known = self._facts(), members.is_known
        return About(
            self.name,
            members.sees_images,
            facts if is_known else None,
            record,
            compares,
            members.writes,
            names,
            None if is_known else facts,
        )

    def _facts(self) -> dict[str, JsonValue]:
        rule = self.options.model_dump(exclude={"memory_gib", "validation", "weights"})
        weights: dict[str, JsonValue] = dict(sorted(self.weights.items()))
        return {"ensemble": {**rule, "weights": weights, "members": self.members.facts()}}

    def score(self, groups: Sequence[ResponseGroup]) -> list[list[Scored]]:
        """Return a score or a failure for each response of each group, in order."""
        scored = self.members.score(groups)
        return [
            self._combine(group, {label: own[place] for label, own in scored.items() if place in own})
            for place, group in enumerate(groups)
        ]

    def _combine(self, group: ResponseGroup, scores: dict[str, list[Scored]]) -> list[Scored]:
        """Return the scores of a group from those of its members."""
        weights = [self.weights[label] for label in scores]
        places = range(len(group.responses))
        if not any(weights):
            kind = "an image or a video" if group.images or group.videos else "no image"
            missing = Failure(NO_MEMBER, f"No member with a weight scores a prompt with {kind}.")
            return [missing for _ in places]
        by_response = [{label: own[place] for label, own in scores.items()} for place in places]
        failed = {place: first_failure(own) for place, own in enumerate(by_response)}
        usable = [place for place in places if failed[place] is None]
        if len(usable) == 1 and self.options.rule == "vote":
            failed[usable.pop()] = Failure(ALONE, "A vote needs two or more responses to a prompt that have scores.")
        rewards = [[own[place].value for place in usable] for own in scores.values()]  # type: ignore[union-attr]
        values = self._values(rewards, weights) if usable else []
        combined: dict[int, Scored] = {}
        for number, place in enumerate(usable):
            own = [of_member[number] for of_member in rewards]
            parts = {**dict(zip(scores, own, strict=True)), SPREAD: weighted_spread(own, weights)}
            combined[place] = finite(Score(values[number], joined_texts(by_response[place]), parts))
        return [failed[place] or combined[place] for place in places]

    def _values(self, rewards: Sequence[Sequence[float]], weights: Sequence[float]) -> list[float]:
        """Return the combined reward of each response; ``rewards`` holds, for each member, those of all responses."""
        options = self.options
        if options.rule == "vote":
            return vote_shares(rewards, weights, options.ties)
        by_response = list(zip(*rewards, strict=True))
        if options.rule == "median":
            return [middle(own) for own in by_response]
        if options.rule == "min":
            return [min(own) for own in by_response]
        if options.rule == "lower":
            return [lower_bound(own, weights, options.penalty) for own in by_response]
        return [weighted_mean(own, weights) for own in by_response]


def open_ensemble(spec: EnsembleSpec, open_spec: OpenSpec) -> Ensemble:
    """Return the ensemble of a spec.

    Raises:
        BaseRewardError: as ``Members`` and ``Ensemble``.
    """
    members = Members(spec.members, open_spec, spec.ensemble.memory_gib)
    return Ensemble(members, spec.ensemble, spec.label)
