"""The members of a composition, opened: which of them a group concerns, and turns within a limit of memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from basereward.data.identity import differences
from basereward.data.outcomes import About, Failure, Scored
from basereward.data.record import DataRecord, united_record
from basereward.data.schema import ResponseGroup
from basereward.errors import ScoringError
from basereward.scoring.cache import cached
from basereward.scoring.interface import Scorer, checked_scores
from basereward.scoring.judges.votes import SEPARATOR
from basereward.scoring.model_spec import OpenSpec, Spec


@dataclass(frozen=True, slots=True)
class OpenMember:
    """One member as it was opened: its name, the groups that it scores, what it is, and the bytes of its weights."""

    label: str
    spec: Spec
    about: About
    size: int

    def scores(self, group: ResponseGroup) -> bool:
        """Return whether the group concerns it."""
        shows = bool(group.images or group.videos)
        return self.spec.only is None or (self.spec.only == "images") == shows


class Members:
    """Scorers that are asked about the same groups, each about those that concern it.

    With a limit, weights that do not fit at once are loaded again in each call, the members that are loaded already
    first; scores are the same.

    Args:
        specs: of the members; their names differ.
        open_spec: opens a member.
        memory_gib: most GiB of weights that are held at once; no limit by default.

    Raises:
        ScoringError: one member alone is larger than the limit.
        BaseRewardError: as its opener.
    """

    def __init__(self, specs: Sequence[Spec], open_spec: OpenSpec, memory_gib: float | None = None) -> None:
        self._open_spec = open_spec
        self._limit = float("inf") if memory_gib is None else memory_gib * 2**30
        self._loaded: dict[str, Scorer] = {}
        self.all: list[OpenMember] = []
        for spec in specs:
            scorer = self._loaded[spec.label] = open_spec(spec)
            member = OpenMember(spec.label, spec, scorer.about, weight_bytes(scorer))
            if member.size > self._limit:
                raise ScoringError(
                    f"{member.label} has {member.size / 2**30:.2f} GiB of weights; memory_gib is {memory_gib:g}."
                )
            self.all.append(member)
            self._make_room({spec.label}, 0)

    def score(
        self,
        groups: Sequence[ResponseGroup],
        asked: Mapping[str, Sequence[int]] | None = None,
        remember: bool = False,
    ) -> dict[str, dict[int, list[Scored]]]:
        """Return, for each member by name, its scores by the place of the group.

        Args:
            asked: the places of the groups that a member is asked about; by default all that concern it.
            remember: take what the cache of scores knows, and keep what it does not.
        """
        if asked is None:
            asked = {member.label: [n for n, group in enumerate(groups) if member.scores(group)] for member in self.all}
        found: dict[str, dict[int, list[Scored]]] = {member.label: {} for member in self.all}
        for member in sorted(self.all, key=lambda member: member.label not in self._loaded):
            if places := asked.get(member.label):
                scorer = self.opened(member)
                own = [groups[place] for place in places]
                scores = cached(scorer).score(own) if remember else checked_scores(scorer, own)
                found[member.label] = dict(zip(places, scores, strict=True))
        return found

    def opened(self, member: OpenMember) -> Scorer:
        """Return the scorer of a member, loaded again if it made room for others.

        Raises:
            ScoringError: its files, or those that it names, have changed meanwhile.
        """
        if member.label not in self._loaded:
            self._make_room((), member.size)
            scorer = self._open_spec(member.spec)
            if unlike := differences(member.about.facts, scorer.about.facts):
                raise ScoringError(
                    f"{member.label} has changed since it was loaded first: {'; '.join(unlike)}. Open the whole again."
                )
            self._loaded[member.label] = scorer
        return self._loaded[member.label]

    def _make_room(self, kept: Any, more: int) -> None:
        """Drop members, those that were loaded first at first, until the others and ``more`` bytes fit."""
        sizes = {member.label: member.size for member in self.all}
        for label in list(self._loaded):
            if sum(sizes[one] for one in self._loaded if one in sizes) + more <= self._limit:
                return
            if label not in kept:
                del self._loaded[label]

    @property
    def sees_images(self) -> bool:
        """Whether images can change what any of them says, or which of them are asked."""
        return any(member.about.sees_images or member.spec.only for member in self.all)

    @property
    def compares(self) -> bool:
        """Whether a score of any of them depends on the other responses of its group."""
        return any(member.about.compares for member in self.all)

    @property
    def writes(self) -> bool:
        """Whether any of them writes texts, such as critiques."""
        return any(member.about.writes for member in self.all)

    @property
    def is_known(self) -> bool:
        """Whether all members tell what decides their scores."""
        return all(member.about.identity is not None for member in self.all)

    def facts(self) -> dict[str, JsonValue]:
        """Return what decides the scores of the members, by name, or what is known of it."""
        known = sorted(self.all, key=lambda member: member.label)
        return {member.label: {"only": member.spec.only, "identity": member.about.facts} for member in known}

    def data_record(self) -> DataRecord | None:
        """Return what the members were trained on together, unknown parts included; None if all of it is unknown."""
        own = sorted(((member.label, member.about.data_record) for member in self.all), key=lambda one: one[0])
        return united_record(own) if any(record is not None for _, record in own) else None

    @property
    def weight_bytes(self) -> int:
        """The bytes of weights that are held at once, at most."""
        return int(min(self._limit, sum(member.size for member in self.all)))


def weight_bytes(scorer: Any) -> int:
    """Return the bytes of the weights that a scorer holds in this process; 0 of one without a model."""
    if (stated := getattr(scorer, "weight_bytes", None)) is not None:
        return int(stated)
    parameters = getattr(getattr(scorer, "model", None), "parameters", None)
    return sum(one.numel() * one.element_size() for one in parameters()) if parameters else 0


def first_failure(scores: Mapping[str, Scored]) -> Failure | None:
    """Return the failure of a response from what members gave it: that of the first one by name; None without any."""
    for label in sorted(scores):
        if isinstance(one := scores[label], Failure):
            return Failure(one.reason, f"{label}: {one.message}")
    return None


def joined_texts(scores: Mapping[str, Scored]) -> str | None:
    """Return what members wrote of a response, each behind its name; None if nobody did."""
    written = {label: getattr(one, "text", None) for label, one in scores.items()}
    return SEPARATOR.join(f"{label}: {text}" for label, text in written.items() if text is not None) or None
