"""From members and pairs to a trained router: which member ranks which pair right, and what asking it costs."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from basereward.benchmarks.items import items_fingerprint
from basereward.benchmarks.pairs import PairItems
from basereward.data.digests import media_key
from basereward.data.outcomes import Score, Scored
from basereward.data.progress import Progress, no_progress
from basereward.data.schema import PreferencePair, ResponseGroup
from basereward.errors import RowError, ScoringError
from basereward.scoring.compose.members import Members
from basereward.scoring.compose.routing.features import PromptReader, Seen, choose_words, open_reader
from basereward.scoring.compose.routing.fit import Outcomes
from basereward.scoring.compose.routing.model import TrainedRouter, identity_digest
from basereward.scoring.compose.routing.training import ExpertFacts, train_router

_GROUPS_AT_ONCE = 256


class RouteSettings(NamedTuple):
    """How a router is trained.

    Args:
        budget: most mean cost of a prompt, in units of asking the cheapest expert of every prompt.
        costs: of a prompt, by the name of the member; by default the bytes of its weights, the smallest as 1.
        state_of: the member whose state behind a prompt is seen; its words and images by default. Reading it costs as
            much for every prompt as asking the member.
        forced: write the router even if it is not better than one expert.
        seed: of the folds.
    """

    budget: float = 1.3
    costs: Mapping[str, float] | None = None
    state_of: str | None = None
    forced: bool = False
    seed: int = 0


class _RowPlaces(NamedTuple):
    """Where the groups of a pair start and end, and its chosen and rejected response within them."""

    start: int
    end: int
    chosen: int
    rejected: int


class _Ranking(NamedTuple):
    """What one member makes of the pairs, an entry for each."""

    right: list[float]
    margins: list[float]
    concerned: list[bool]
    failed: int


def route(
    members: Members,
    pairs: Sequence[PreferencePair],
    settings: RouteSettings | None = None,
    on_progress: Progress = no_progress,
) -> TrainedRouter:
    """Return a router over members, trained on which of them ranks which pair right.

    Scores that the cache knows are taken from it, and new ones are kept, so that a call that was interrupted goes on.

    Args:
        members: the experts.
        pairs: with the better response as chosen.
        settings: budget and costs.
        on_progress: called with the number of prompts done, over all members, and of all.

    Raises:
        ScoringError: costs are not known, no member scores a pair or a member scores none, an image of a prompt cannot
            be read, or as ``train_router``.
        DataError: pairs of too few prompts.
    """
    settings = settings or RouteSettings()
    costs = member_costs(members, settings.costs)
    comparisons = [pair.comparison() for pair in pairs]
    groups = [group for comparison in comparisons for group in comparison.groups]
    first = [0, *accumulate(len(comparison.groups) for comparison in comparisons)]
    places = [_RowPlaces(first[n], first[n + 1], own.chosen, own.rejected) for n, own in enumerate(comparisons)]
    prompts = [groups[place.start] for place in places]
    # Before the members score for hours: what cannot be read is told at once.
    seen = Seen(state_of=settings.state_of) if settings.state_of else Seen(choose_words(prompts))
    features = _features(prompts, open_reader(members, seen))
    rankings = {label: _rank(scores, places) for label, scores in _score_all(members, groups, on_progress)}
    outcomes = Outcomes(
        features,
        np.array([own.right for own in rankings.values()]).T,
        np.array([own.margins for own in rankings.values()]).T,
        _concerned(rankings, pairs),
        _number_prompts(prompts),
        np.array([costs[label] for label in rankings]),
        costs[settings.state_of] if settings.state_of else 0.0,
    )
    identities = {member.label: identity_digest(member.about.identity) for member in members.all}
    experts = [ExpertFacts(label, identities[label], own.failed) for label, own in rankings.items()]
    digest = items_fingerprint(PairItems(pairs))
    return train_router(outcomes, experts, seen, settings.budget, digest, settings.forced, settings.seed)


def _concerned(rankings: Mapping[str, _Ranking], pairs: Sequence[PreferencePair]) -> np.ndarray:
    """Return which pairs concern which member, shape (pairs, members); each one has some of the other."""
    concerned = np.array([own.concerned for own in rankings.values()], dtype=bool).T
    if alone := [pairs[place].id for place in np.flatnonzero(~concerned.any(axis=1))[:3].tolist()]:
        raise ScoringError(f"No member scores the prompts of {', '.join(alone)}; add one that does or leave them out.")
    if idle := [label for label, own in rankings.items() if not any(own.concerned)]:
        raise ScoringError(
            f"None of {len(pairs)} pairs is of a kind that {', '.join(idle)} scores; give some or drop it."
        )
    return concerned


def member_costs(members: Members, given: Mapping[str, float] | None = None) -> dict[str, float]:
    """Return what each member costs for a prompt: as given, or the bytes of its weights, the smallest as 1.

    Raises:
        ScoringError: a cost is missing, not positive or of no member, or a member has no weights in this process.
    """
    sizes = {member.label: float(member.size) for member in members.all}
    if given is None:
        if unknown := [label for label, size in sizes.items() if not size]:
            raise ScoringError(
                f"{', '.join(unknown)} has no weights in this process that would tell its cost; give the cost of every "
                f"member: {' '.join(f'--cost {label}=1' for label in sizes)}."
            )
        return {label: size / min(sizes.values()) for label, size in sizes.items()}
    if given.keys() != sizes.keys():
        raise ScoringError(f"Costs are of {', '.join(sorted(given))}, the members are {', '.join(sorted(sizes))}.")
    if wrong := [label for label, cost in given.items() if not 0 < cost < float("inf")]:
        raise ScoringError(f"The cost of {', '.join(wrong)} is not positive.")
    return dict(given)


def _score_all(
    members: Members, groups: Sequence[ResponseGroup], on_progress: Progress
) -> Iterator[tuple[str, dict[int, list[Scored]]]]:
    """Yield the scores of one member after the other, so that weights that take turns are loaded once."""
    total = len(members.all) * len(groups)
    for number, member in enumerate(members.all):
        found: dict[int, list[Scored]] = {}
        asked = [place for place, group in enumerate(groups) if member.scores(group)]
        for start in range(0, len(asked), _GROUPS_AT_ONCE):
            some = asked[start : start + _GROUPS_AT_ONCE]
            found |= members.score(groups, {member.label: some}, remember=True)[member.label]
            on_progress(number * len(groups) + some[-1] + 1, total)
        yield member.label, found


def _rank(scores: Mapping[int, list[Scored]], places: Sequence[_RowPlaces]) -> _Ranking:
    """Return how a member ranks pairs."""
    right, margins, concerned, failed = [], [], [], 0
    for place in places:
        own = [scores[group] for group in range(place.start, place.end) if group in scores]
        concerned.append(len(own) == place.end - place.start)
        margin = _margin([score for group in own for score in group], place) if concerned[-1] else None
        failed += concerned[-1] and margin is None
        margins.append(margin or 0.0)
        # A pair that an expert cannot score is one that it does not rank right: the router learns to ask another.
        right.append(0.0 if margin is None else 0.5 if margin == 0 else float(margin > 0))
    return _Ranking(right, margins, concerned, failed)


def _margin(scores: Sequence[Scored], place: _RowPlaces) -> float | None:
    chosen, rejected = scores[place.chosen], scores[place.rejected]
    return chosen.value - rejected.value if isinstance(chosen, Score) and isinstance(rejected, Score) else None


def _features(prompts: Sequence[ResponseGroup], read: PromptReader) -> np.ndarray:
    try:
        return read(prompts)
    except RowError as error:
        raise ScoringError(f"A prompt cannot be looked at ({error.reason}: {error}); leave its pair out.") from error


def _number_prompts(prompts: Sequence[ResponseGroup]) -> np.ndarray:
    """Return a number for each prompt, the same for equal messages with equal images."""
    keys = [(own.prompt, media_key(own.prompt_images, own.prompt_videos)) for own in prompts]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys])
