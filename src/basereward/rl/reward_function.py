"""The reward function of a run: what rollouts are worth under a scheme, whatever model or judge is asked.

Responses that repeat within a group are scored once. What would make rewards say nothing about the answers is refused.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import Lock
from typing import get_args

from basereward.data.outcomes import Scored
from basereward.data.schema import Messages, Response, ResponseGroup
from basereward.errors import RewardError
from basereward.rl.matching.answer import TRUNCATED, Match
from basereward.rl.matching.choices import find_options, has_option
from basereward.rl.matching.match import match_any
from basereward.rl.options import RewardOptions
from basereward.rl.rewards import (
    GroupRewards,
    Reward,
    Rollouts,
    Scheme,
    hybrid_rewards,
    model_rewards,
    rule_rewards,
    weighted_sum,
)
from basereward.rl.summary import CallSummary, summarize
from basereward.rl.terms import format_terms, length_terms
from basereward.scoring.interface import Judge, Scorer, check_scores, checked_scores
from basereward.scoring.judged import Tournament
from basereward.scoring.model_spec import ModelSpec
from basereward.scoring.spec import is_judge, open_judge, open_spec
from basereward.scoring.tournament import TournamentOptions

RULE_SCHEMES = ("rule", "hybrid")
# Told of every call, such as a monitor.
Observer = Callable[[Sequence[Rollouts], Sequence[GroupRewards]], None]


class RewardFunction:
    """Rewards rollouts under a scheme; calls may come from any number of threads, and the model has one at a time.

    ``summary`` is of the last call; each of ``observers`` is told of every call.

    Args:
        model: a spec (a checkpoint, a hub id, the address of a server, ``baseline:*``, ``tournament:judge:*``, a YAML
            file), or a scorer; for the scheme ``tournament`` a spec ``judge:*``, or a judge. The scheme ``rule`` needs
            none; with one, the model is asked too, for the record alone.
        scheme: ``rule``, ``model``, ``hybrid`` or ``tournament``.
        options: settings beside the scheme.

    Raises:
        RewardError: the scheme needs a model, or there is no such scheme.
        BaseRewardError: the model cannot be opened, as ``scoring.spec.open_scorer``.
    """

    def __init__(
        self,
        model: str | ModelSpec | Scorer | Judge | None = None,
        scheme: Scheme = "model",
        options: RewardOptions | None = None,
    ) -> None:
        self.scheme = scheme
        self.options = options or RewardOptions()
        self.scorer = open_for(model, scheme, self.options.tournament)
        self.summary: CallSummary | None = None
        self.observers: list[Observer] = []
        self._pattern = None if self.options.format_pattern is None else _compile(self.options.format_pattern)
        self._lock = Lock()
        self._dry_calls = 0

    def __call__(self, rollouts: Sequence[Rollouts]) -> list[GroupRewards]:
        """Return the rewards of each group, in order.

        Raises:
            RewardError: a prompt has no right answer where the scheme ``rule`` needs one, or no response was rewarded
                several calls in a row.
            ScoringError: the model cannot be asked at all.
        """
        groups = self._groups(rollouts)
        with self._lock:
            scored = [] if self.scorer is None else checked_scores(self.scorer, groups)
        return self._reward(rollouts, groups, scored)

    async def call_async(self, rollouts: Sequence[Rollouts]) -> list[GroupRewards]:
        """Return what a call does, without holding up an event loop.

        Raises:
            BaseRewardError: as a call.
        """
        ask = getattr(self.scorer, "score_async", None)
        if self.scorer is None or ask is None:
            return await asyncio.to_thread(self, rollouts)
        groups = self._groups(rollouts)
        scored = check_scores(self.scorer.about, groups, await ask(groups))
        return await asyncio.to_thread(self._reward, rollouts, groups, scored)

    @property
    def name(self) -> str:
        """What is asked: the model, or the scheme where there is none."""
        return self.scheme if self.scorer is None else self.scorer.about.name

    @property
    def compares(self) -> bool:
        """Whether a reward depends on the other responses to its prompt, which must then be asked about together."""
        return self.scorer is not None and self.scorer.about.compares

    def _groups(self, rollouts: Sequence[Rollouts]) -> list[ResponseGroup]:
        """Return what is asked: each different response once, but all of them where copies count."""
        return [own.group for own in rollouts] if self.compares else distinct_groups(rollouts)

    def _reward(
        self, rollouts: Sequence[Rollouts], asked: Sequence[ResponseGroup], scored: Sequence[Sequence[Scored]]
    ) -> list[GroupRewards]:
        said = [_repeat(*one) for one in zip(rollouts, asked, scored, strict=True)] if scored else None
        rewarded = [
            self._reward_group(own, [None] * len(own.group.responses) if said is None else said[place])
            for place, own in enumerate(rollouts)
        ]
        self.summary = summarize(rollouts, rewarded, self.options.offset, self.options.scale)
        for observe in self.observers:
            observe(rollouts, rewarded)
        self._watch(self.summary, rewarded)
        return rewarded

    def _reward_group(self, own: Rollouts, scored: Sequence[Scored | None]) -> GroupRewards:
        places = range(len(own.group.responses))
        truncated = tuple(map(own.is_truncated, places))
        matches = self._matches(own)
        rewards = self._scheme_rewards(own, matches, scored)
        if self.options.truncated == "exclude":
            rewards = [None if cut else reward for reward, cut in zip(rewards, truncated, strict=True)]
        terms = self._terms([response.text for response in own.group.responses])
        if terms:
            weights = {"length": self.options.length_weight, "format": self.options.format_weight}
            rewards = weighted_sum([rewards, *terms.values()], [1.0, *(weights[name] for name in terms)])
        return GroupRewards(tuple(rewards), tuple(scored), tuple(matches), truncated, terms)

    def _scheme_rewards(
        self, own: Rollouts, matches: Sequence[Match | None], scored: Sequence[Scored | None]
    ) -> list[Reward]:
        if self.scheme == "rule":
            known = [one for one in matches if one is not None]
            if len(known) < len(matches):
                raise RewardError(
                    f"Prompt {own.group.id!r} has no right answer, and the scheme is rule; drop such prompts."
                )
            return rule_rewards(known)
        if self.scheme == "hybrid":
            return hybrid_rewards(matches, scored, self.options.offset, self.options.scale)
        return model_rewards(scored)

    def _matches(self, own: Rollouts) -> list[Match | None]:
        texts = [response.text for response in own.group.responses]
        if own.answer is None:
            return [None] * len(texts)
        answers = (own.answer,) if isinstance(own.answer, str) else own.answer
        settings = (answers, self.options.matcher, options_of(own, answers), self.options.tolerance)
        known = {text: match_any(text, *settings) for text in dict.fromkeys(texts)}
        # The limit of tokens can end a wrong answer where it still looks right ("12" of "125").
        return [
            Match(False, known[text].extracted, TRUNCATED) if own.is_truncated(place) else known[text]
            for place, text in enumerate(texts)
        ]

    def _terms(self, texts: Sequence[str]) -> dict[str, tuple[float, ...]]:
        terms = {}
        if self.options.length_limit is not None:
            terms["length"] = tuple(length_terms(texts, self.options.length_limit, self.options.length_buffer))
        if self._pattern is not None:
            terms["format"] = tuple(format_terms(texts, self._pattern))
        return terms

    def _watch(self, summary: CallSummary, rewarded: Sequence[GroupRewards]) -> None:
        """Stop a run that goes on without rewards, whose loss would be 0 and say nothing."""
        self._dry_calls = self._dry_calls + 1 if summary.responses and summary.unrewarded == summary.responses else 0
        if self._dry_calls < self.options.patience:
            return
        failure = next((failure for group in rewarded for failure in group.failures.values()), None)
        why = f"The first failure: {failure.reason}: {failure.message}" if failure else "All were cut off by the limit."
        raise RewardError(f"No response was rewarded in {self._dry_calls} calls in a row. {why}")


def open_for(model: str | ModelSpec | Scorer | Judge | None, scheme: str, pairs: TournamentOptions) -> Scorer | None:
    """Return what a scheme asks, opened from its spec.

    Raises:
        RewardError: the scheme needs a model, or one of another kind, or there is no such scheme.
        BaseRewardError: as ``scoring.spec.open_spec``.
    """
    if scheme not in get_args(Scheme):
        raise RewardError(f"Found the scheme {scheme!r}; expected {', '.join(get_args(Scheme))}.")
    if model is None:
        if scheme == "rule":
            return None
        raise RewardError(f"The scheme {scheme} needs a model: a checkpoint, a server, baseline:longer, judge:...")
    spec = ModelSpec(model=model) if isinstance(model, str) else model
    if scheme == "tournament" and isinstance(spec, ModelSpec) and is_judge(spec.model):
        spec = open_judge(spec.model, spec.prompt, spec.max_tokens, spec.judge, spec.dtype, spec.device)
    if isinstance(spec, ModelSpec):
        spec = open_spec(spec)
    if isinstance(spec, Judge):
        if scheme != "tournament":
            raise RewardError(f"{spec.about.name} is a judge, which compares; use scheme='tournament'.")
        spec = Tournament(spec, pairs)
    if scheme == "tournament" and not isinstance(spec, Tournament):
        raise RewardError(
            f"The scheme tournament needs a judge, judge:...; {spec.about.name} scores. Use scheme='model'."
        )
    return spec


def options_of(own: Rollouts, answers: Sequence[str]) -> tuple[str, ...]:
    """Return the options of a question: as given, else those that it lists, if the right answers are among them."""
    if own.options or not own.group.prompt:
        return own.options
    listed = find_options(own.group.prompt[-1].text)
    return listed if listed and all(has_option(answer, listed) for answer in answers) else ()


def distinct_groups(rollouts: Sequence[Rollouts]) -> list[ResponseGroup]:
    """Return the groups of rollouts with each different response once, in the order in which they come first."""
    return [replace(own.group, responses=tuple(_distinct(own.group))) for own in rollouts]


def _distinct(group: ResponseGroup) -> list[Response]:
    found: dict[Messages, Response] = {}
    for response in group.responses:
        found.setdefault(response.messages, response)
    return list(found.values())


def _repeat(own: Rollouts, asked: ResponseGroup, scored: Sequence[Scored]) -> list[Scored]:
    """Return the scores of all responses from those of the responses that were asked about."""
    known = {response.messages: one for response, one in zip(asked.responses, scored, strict=True)}
    return [known[response.messages] for response in own.group.responses]


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern, re.DOTALL)
    except re.error as error:
        raise RewardError(f"format_pattern {pattern!r} is no regular expression: {error}.") from error
