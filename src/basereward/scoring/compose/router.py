"""Several scorers of which one scores a prompt: one decision for all of its responses, from the prompt alone."""

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property

from pydantic import JsonValue

from basereward.data.outcomes import About, Failure, Score, Scored
from basereward.data.schema import ResponseGroup
from basereward.errors import ScoringError
from basereward.scoring.compose.decisions import Decider, Decision, open_decider
from basereward.scoring.compose.members import Members, first_failure, joined_texts
from basereward.scoring.compose.rules import weighted_mean
from basereward.scoring.compose.specs import NO_ROUTE, WEIGHT, RouterOptions, RouterSpec
from basereward.scoring.interface import finite
from basereward.scoring.model_spec import OpenSpec

_log = logging.getLogger(__name__)


class Router:
    """Scores with the member that its decider chooses for a prompt, or with the weighted mean of several.

    Within a prompt all rewards are of the same members. Those of two prompts may be of two members, whose rewards have
    no common scale unless they are calibrated. ``Score.parts`` holds the reward of each member that was asked by name,
    and their weights if these are several; ``Score.text`` is what they wrote.

    Args:
        members: the members.
        options: how it decides.
        decider: what decides.
        name: what result files call it.

    Source: paper section 3.5 and Appendix D.10.
    """

    def __init__(self, members: Members, options: RouterOptions, decider: Decider, name: str) -> None:
        self.members, self.options, self.decider, self.name = members, options, decider, name
        self.weight_bytes = members.weight_bytes
        self._by_name = {member.label: member for member in members.all}

    @cached_property
    def about(self) -> About:
        """The members and what decides."""
        members = self.members
        sees_images = members.sees_images or self.decider.sees_images
        record = members.data_record()
        facts, is_known = self._facts(), members.is_known and self.decider.identity is not None
        return About(
            self.name,
            sees_images,
            facts if is_known else None,
            record,
            members.compares,
            members.writes,
            partial=None if is_known else facts,
        )

    def _facts(self) -> dict[str, JsonValue]:
        options = self.options.model_dump(mode="json", exclude={"memory_gib", "classifier", "file"})
        return {"router": {**options, "decider": self.decider.identity, "members": self.members.facts()}}

    def decide(self, groups: Sequence[ResponseGroup]) -> list[Decision]:
        """Return the members that score each group with their weights, or why none does."""
        return [
            self._concerned(group, decision)
            for group, decision in zip(groups, self.decider.decide(groups), strict=True)
        ]

    def score(self, groups: Sequence[ResponseGroup]) -> list[list[Scored]]:
        """Return a score or a failure for each response of each group, in order."""
        decisions = self.decide(groups)
        asked = {
            label: [n for n, own in enumerate(decisions) if not isinstance(own, Failure) and label in own]
            for label in self._by_name
        }
        scored = self.members.score(groups, asked)
        return [
            [decision] * len(groups[place].responses)
            if isinstance(decision, Failure)
            else _combine(decision, {label: scored[label][place] for label in decision})
            for place, decision in enumerate(decisions)
        ]

    def _concerned(self, group: ResponseGroup, decision: Decision) -> Decision:
        """Return the decision, or a failure if it names a member that scores no such prompts."""
        if isinstance(decision, Failure):
            return decision
        if wrong := [label for label in decision if not self._by_name[label].scores(group)]:
            only = self._by_name[wrong[0]].spec.only
            return Failure(NO_ROUTE, f"The prompt is sent to {wrong[0]}, which says only: {only}.")
        return decision


def open_router(spec: RouterSpec, open_spec: OpenSpec) -> Router:
    """Return the router of a spec.

    Raises:
        ScoringError: a kind of prompt that is known beforehand has no route.
        BaseRewardError: as ``Members`` and ``open_decider``.
    """
    options = _with_routes(spec)
    members = Members(spec.members, open_spec, options.memory_gib)
    bare = [member.label for member in spec.members if not member.calibrated]
    if options.choose == "soft" and bare:
        _log.warning("Rewards of %s are averaged as they are; calibrate members to give them one scale.", bare)
    return Router(members, options, open_decider(options, members), spec.label)


def _with_routes(spec: RouterSpec) -> RouterOptions:
    """Return the options with the routes that they leave open: each member is the route of its name."""
    options, names = spec.router, [member.label for member in spec.members]
    if options.by == "trained":
        return options
    routes = options.routes or {name: name for name in names}
    values = {"images": ("images", "text"), "classifier": tuple(options.tasks or ())}.get(options.by, ())
    missing = [value for value in values if value not in routes]
    if missing and not options.otherwise:
        raise ScoringError(
            f"{spec.label} has no route for {', '.join(missing)}; the members are {', '.join(names)}. Name members so, "
            "give routes, or name a member under otherwise."
        )
    return options.model_copy(update={"routes": routes})


def _combine(weights: Mapping[str, float], scores: Mapping[str, list[Scored]]) -> list[Scored]:
    """Return the scores of a group from those of the members that were asked."""
    return [_join(weights, dict(zip(scores, own, strict=True))) for own in zip(*scores.values(), strict=True)]


def _join(weights: Mapping[str, float], own: Mapping[str, Scored]) -> Scored:
    if failure := first_failure(own):
        return failure
    scores = {label: score for label, score in own.items() if isinstance(score, Score)}
    values = {label: score.value for label, score in scores.items()}
    if len(scores) == 1:
        [only] = scores.values()
        return Score(only.value, only.text, values)
    parts = {**values, **{f"{WEIGHT}{label}": weight for label, weight in weights.items()}}
    mean = weighted_mean(list(values.values()), [weights[label] for label in values])
    return finite(Score(mean, joined_texts(own), parts))
