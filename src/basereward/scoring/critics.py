"""A critic as a scorer: it writes critiques of all responses, then its reward head reads each response with its own."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from statistics import fmean, stdev
from typing import NamedTuple

from pydantic import JsonValue

from basereward.data.judging.critiques import REQUESTS, ask_for_critiques, with_critiques
from basereward.data.outcomes import About, Failure, Score, Scored
from basereward.data.schema import ResponseGroup
from basereward.encoding.openings import Openings
from basereward.encoding.template import Template
from basereward.errors import ScoringError
from basereward.models.facts import CriticRole
from basereward.models.generation import Generated, TreeGenerator
from basereward.models.reward_model import RewardModel
from basereward.models.sampling import Sampling
from basereward.scoring.interface import finite
from basereward.scoring.judges.votes import SEPARATOR
from basereward.scoring.local import REMOVED, LocalScorer
from basereward.scoring.model_spec import CriticOptions
from basereward.scoring.openings import NOT_FINITE, open_each

# Parts of a score: the standard deviation over critiques, how many of these reached the limit of tokens, and how many
# have no words, which no critic was trained on.
SPREAD, CUT_OFF, EMPTY = "spread", "cut_off_critiques", "empty_critiques"
# Batches' worth of encoded groups, pixels included, that are held in memory to fill batches from.
BATCHES_AT_ONCE = 8


class _Uncriticised(NamedTuple):
    """Responses of a group of which critiques are asked for, and the tree of their openings."""

    group: int
    places: tuple[int, ...]
    tree: Openings


class CriticScorer:
    """Critic-RM: ``r(y | x) = mean over critiques c ~ p(. | x, y) of head(x, y, c)``.

    Prompt and images are computed once for the critiques of all responses, and once more for their rewards. A critique
    that reached the limit of tokens is scored as it stands, and counted under ``cut_off_critiques``, one without words
    under ``empty_critiques``; ``spread`` is the standard deviation over several critiques. ``Score.text`` holds all
    critiques. A score does not depend on the other responses of its group, nor on what else is scored.

    Args:
        scorer: the critic with its reward head.
        options: how it writes; one greedy critique by default.

    Raises:
        ScoringError: the model has no vocabulary head or says not how it is asked, its request has other words than in
            its training, or several greedy critiques.
        UnknownNameError: no such request.

    Source: paper section 3.1; MM-RLHF, section 4.
    """

    def __init__(self, scorer: LocalScorer, options: CriticOptions | None = None) -> None:
        model, chosen = scorer.model, options or CriticOptions()
        if model.lm_head is None or not isinstance(model.role, CriticRole):
            raise ScoringError(f"{scorer.name} is no critic: it has no vocabulary head, or no request to ask it with.")
        self._scorer = scorer
        _check_words(scorer.name, model.role, chosen)
        self.request = REQUESTS.get(chosen.request or model.role.request)
        self.sampling = _sampling(chosen)
        self.generator = TreeGenerator(
            model.backbone,
            model.lm_head,
            model.template,
            chosen.max_tokens or model.role.max_tokens,
            chosen.batch_tokens,
            model.generation.eos_token_id if model.generation else None,
        )

    @property
    def model(self) -> RewardModel:
        """The model that writes and scores."""
        return self._scorer.model

    @property
    def template(self) -> Template:
        """Turns conversations into tokens."""
        return self.model.template

    @cached_property
    def about(self) -> About:
        """What the reward model says of itself, and how critiques are asked for and drawn.

        Raises:
            ScoringError: a file of the model has changed since it was loaded.
        """
        about, drawn = replace(self._scorer.about, writes=True), self.sampling
        if about.identity is None:
            return about
        asked: dict[str, JsonValue] = {
            "request": self.request.name,
            "request_sha256": self.request.sha256,
            "max_tokens": self.generator.max_tokens,
            "critiques": drawn.samples,
            "temperature": drawn.temperature,
            "seed": drawn.seed,
        }
        return replace(about, identity={**about.identity, "critic": asked})

    def score(self, groups: Sequence[ResponseGroup]) -> list[list[Scored]]:
        """Return a reward or a failure for each response of each group, in order."""
        scored: dict[tuple[int, int], Scored] = {}
        waiting: list[_Uncriticised] = []
        for number, group in enumerate(groups):
            for places, outcome in self._open(group):
                if isinstance(outcome, Failure):
                    scored.update(dict.fromkeys(((number, place) for place in places), outcome))
                else:
                    waiting.append(_Uncriticised(number, places, outcome))
            if sum(asked.tree.tokens for asked in waiting) > BATCHES_AT_ONCE * self.generator.batch_tokens:
                scored |= self._criticise(groups, waiting)
                waiting = []
        scored |= self._criticise(groups, waiting)
        return [[scored[number, place] for place in range(len(group.responses))] for number, group in enumerate(groups)]

    def _open(self, group: ResponseGroup) -> Iterator[tuple[tuple[int, ...], Openings | Failure]]:
        asked = ask_for_critiques(group, self.request)
        conversations = [asked.prompt + response.messages for response in asked.responses]
        return open_each(self.generator, group, conversations) if conversations else iter(())

    def _criticise(
        self, groups: Sequence[ResponseGroup], waiting: Sequence[_Uncriticised]
    ) -> dict[tuple[int, int], Scored]:
        """Write critiques of responses and score each with its own."""
        written = self.generator.write([asked.tree for asked in waiting], self.sampling)
        whole = [
            self._with_critiques(groups[asked.group], asked.places, critiques)
            for asked, critiques in zip(waiting, written, strict=True)
        ]
        scored: dict[tuple[int, int], Scored] = {}
        for asked, critiques, scores in zip(waiting, written, self._scorer.score(whole), strict=True):
            left = iter(scores)
            for place, own in zip(asked.places, critiques, strict=True):
                scored[asked.group, place] = mean_score([next(left) for _ in own], own)
        return scored

    def _with_critiques(
        self, group: ResponseGroup, places: Sequence[int], critiques: Sequence[Sequence[Generated]]
    ) -> ResponseGroup:
        """Return the group with each response once for each of its critiques."""
        each = [place for place, own in zip(places, critiques, strict=True) for _ in own]
        repeated = replace(group, responses=tuple(group.responses[place] for place in each))
        return with_critiques(repeated, self.request, [one.text for own in critiques for one in own])


def mean_score(scores: Sequence[Scored], critiques: Sequence[Generated]) -> Scored:
    """Return the mean of a response's scores over its critiques; a failure if one of them has none or means nothing."""
    if not all(one.is_finite for one in critiques):
        return NOT_FINITE
    known = [score for score in scores if isinstance(score, Score)]
    if len(known) < len(scores):
        return next(score for score in scores if isinstance(score, Failure))
    values = [score.value for score in known]
    parts = {CUT_OFF: float(sum(one.is_cut_off for one in critiques))}
    if empty := sum(not one.text.strip() for one in critiques):
        parts[EMPTY] = float(empty)
    if len(values) > 1:
        parts[SPREAD] = stdev(values)
    if removed := fmean((score.parts or {}).get(REMOVED, 0.0) for score in known):
        parts[REMOVED] = removed
    return finite(Score(fmean(values), SEPARATOR.join(one.text for one in critiques), parts))


def _check_words(name: str, role: CriticRole, options: CriticOptions) -> None:
    words = REQUESTS.get(role.request).sha256
    if options.request is None and role.words not in (None, words):
        raise ScoringError(
            f"{name} was trained with other words under the request {role.request!r} than this version has. Score it "
            f"with the version that trained it, or say critic: {{request: {role.request}}} in a YAML file."
        )


def _sampling(options: CriticOptions) -> Sampling:
    temperature = float(options.critiques > 1) if options.temperature is None else options.temperature
    try:
        return Sampling(temperature, samples=options.critiques, seed=options.seed)
    except ValueError as error:
        raise ScoringError(f"Options of a critic: {error}") from error
