"""From pairs to rankings: the responses that the pairs of a micro-batch compare with each other, ordered by scores."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from basereward.data.annotations import WEIGHT, weight_of
from basereward.data.schema import PreferencePair

RANKING_KEYS = ("rankings", "pair_rankings", "unranked")


class Sides(NamedTuple):
    """The responses of a pair, counted through a batch."""

    chosen: int
    rejected: int


class _Member(NamedTuple):
    # Scores of two sources are not on one scale.
    source: str
    node: int


def ranking_tensors(
    pairs: Sequence[PreferencePair], sides: Sequence[Sides], leaves: Sequence[int]
) -> dict[str, Tensor]:
    """Return the rankings that pairs make.

    Pairs of one source that share a response are one ranking of all their responses, ordered by ``scores``; equal
    scores are a tie. A pair without two scores of which that of chosen is higher, and one of whose responses has
    another score in another pair, is a ranking of its two alone.

    Args:
        pairs: of a micro-batch.
        sides: their responses.
        leaves: the node that each response ends with; equal ones are the same response to the same prompt.

    Returns:
        ``rankings`` of shape [member, 3]: response, ranking, rank from 0, the best; ``pair_rankings`` of shape [pair];
        ``unranked`` of shape [pair]: whether a pair stands alone for want of scores.
    """
    members = [[_Member(pair.source, leaves[side]) for side in own] for pair, own in zip(pairs, sides, strict=True)]
    scores: defaultdict[_Member, set[float]] = defaultdict(set)
    rated = [len(pair.scores) == 2 and pair.scores[0] > pair.scores[1] for pair in pairs]
    for pair, own, is_rated in zip(pairs, members, rated, strict=True):
        for member, score in zip(own, pair.scores if is_rated else (), strict=False):
            scores[member].add(score)
    alone = [
        not is_rated or any(len(scores[one]) > 1 for one in own) for own, is_rated in zip(members, rated, strict=True)
    ]
    owners = _components(members, alone)
    places: dict[int, dict[_Member, tuple[int, float]]] = defaultdict(dict)
    for own, pair_sides, owner, is_alone in zip(members, sides, owners, alone, strict=True):
        for place, (member, side) in enumerate(zip(own, pair_sides, strict=True)):
            # Chosen before rejected, whatever their scores; the same response on both sides would be one member.
            key = member._replace(source=f"{place}") if is_alone else member
            places[owner][key] = (side, -float(place) if is_alone else next(iter(scores[member])))
    table = [
        (side, owner, rank)
        for owner, found in sorted(places.items())
        for ranks in [{score: rank for rank, score in enumerate(sorted({s for _, s in found.values()}, reverse=True))}]
        for side, rank in ((side, ranks[score]) for side, score in found.values())
    ]
    return {
        "rankings": torch.tensor(table),
        "pair_rankings": torch.tensor(owners),
        "unranked": torch.tensor(alone),
    }


def ranking_owners(groups: Sequence[int], sides: Sequence[Sides], rankings: Sequence[int]) -> list[int]:
    """Return for each response the number of those that it is compared with: the responses of its ranking.

    Responses that stand in groups of their own, because they show images, are compared with nobody, as in scoring.

    Args:
        groups: of each response of a batch.
        sides: of each pair, in the order of the batch.
        rankings: of each pair.
    """
    owners = list(groups)
    for (chosen, rejected), ranking in zip(sides, rankings, strict=True):
        if groups[chosen] == groups[rejected]:
            # Below the numbers of all groups.
            owners[chosen] = owners[rejected] = -1 - ranking
    return owners


def _components(members: Sequence[Sequence[_Member]], alone: Sequence[bool]) -> list[int]:
    """Return the ranking of each pair, numbered in the order of their first pairs."""
    parents: dict[Any, Any] = {}

    def find(key: Any) -> Any:
        while parents.setdefault(key, key) != key:
            key = parents[key]
        return key

    for own, is_alone in zip(members, alone, strict=True):
        if not is_alone:
            parents[find(own[1])] = find(own[0])
    roots = [
        place if is_alone else find(own[0]) for place, (own, is_alone) in enumerate(zip(members, alone, strict=True))
    ]
    numbers = {root: number for number, root in enumerate(dict.fromkeys(roots))}
    return [numbers[root] for root in roots]


def prompt_shares(prompts: Int[np.ndarray, " pair"]) -> Float[np.ndarray, " pair"]:
    """Return what each pair counts if all prompts count the same: 1 over the pairs of its prompt, 1 in the mean.

    Args:
        prompts: code of the prompt of each pair.
    """
    _, places, counts = np.unique(prompts, return_inverse=True, return_counts=True)
    shares = 1 / counts[places]
    return shares * (len(shares) / shares.sum())


class SharedPrompts(Sequence[PreferencePair]):
    """Pairs whose weights are multiplied by their shares; it pickles into data loader workers.

    Args:
        pairs: map-style pairs.
        shares: of each.
    """

    def __init__(self, pairs: Sequence[PreferencePair], shares: Float[np.ndarray, " pair"]) -> None:
        self._pairs, self._shares = pairs, shares

    def __len__(self) -> int:
        return len(self._shares)

    @overload
    def __getitem__(self, index: int) -> PreferencePair: ...
    @overload
    def __getitem__(self, index: slice) -> "SharedPrompts": ...
    def __getitem__(self, index: int | slice) -> "PreferencePair | SharedPrompts":
        if isinstance(index, slice):
            places = range(len(self))[index]
            return SharedPrompts([self._pairs[place] for place in places], self._shares[index])
        pair = self._pairs[index]
        weight = weight_of(pair) * float(self._shares[index])
        return replace(pair, extra={**pair.extra, WEIGHT: weight})
