"""The reference set: pairs with their raw rewards and the form of their responses, as arrays."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt64

from basereward.data.digests import media_key
from basereward.data.outcomes import Failure, Score, Scored
from basereward.data.progress import Progress, no_progress
from basereward.data.schema import PreferencePair
from basereward.scoring.calibration.forms import GroupForm, read_form
from basereward.scoring.calibration.maps import Maps, RawResponses
from basereward.scoring.interface import Scorer, checked_scores

# Pairs that are scored together.
_AT_ONCE = 64
FOLDS = 5


class ReferenceSet(NamedTuple):
    """Pairs, chosen responses before rejected ones; ``prompts`` is a hash of each pair's prompt and its images."""

    rewards: Float[np.ndarray, "pairs 2"]
    features: Float[np.ndarray, "pairs 2 features"]
    visual: Float[np.ndarray, " pairs"]
    shows: Bool[np.ndarray, " pairs"]
    prompts: UInt64[np.ndarray, " pairs"]

    def take(self, which: Bool[np.ndarray, " pairs"]) -> "ReferenceSet":
        """Return some of the pairs."""
        return ReferenceSet(*(part[which] for part in self))

    @property
    def responses(self) -> RawResponses:
        """Both responses of each pair, one pair after the other."""
        features = self.features.reshape(-1, self.features.shape[2])
        return RawResponses(self.rewards.reshape(-1), features, np.repeat(self.visual, 2), np.repeat(self.shows, 2))

    def mapped(self, maps: Maps) -> Float[np.ndarray, "pairs 2"]:
        """Return the rewards under maps."""
        return maps.apply(self.responses).reshape(-1, 2)

    def margins(self, maps: Maps) -> Float[np.ndarray, " pairs"]:
        """Return reward of the chosen response minus that of the rejected one, under maps."""
        mapped = self.mapped(maps)
        return mapped[:, 0] - mapped[:, 1]

    @property
    def is_held_out(self) -> Bool[np.ndarray, " pairs"]:
        """Whether a pair is of the fifth of the prompts that no map is fitted or chosen on."""
        return self.prompts % np.uint64(FOLDS) == 0

    @property
    def folds(self) -> UInt64[np.ndarray, " pairs"]:
        """The fold of each pair, the same for all pairs of a prompt."""
        return self.prompts // np.uint64(FOLDS) % np.uint64(FOLDS)


class ScoredPairs(NamedTuple):
    """Pairs that have scores, and how many have none by reason."""

    reference: ReferenceSet
    failed: Mapping[str, int]


class _Pair(NamedTuple):
    rewards: tuple[float, float]
    features: Float[np.ndarray, "2 features"]
    visual: float
    shows: bool
    prompt: int


def score_pairs(
    scorer: Scorer, pairs: Sequence[PreferencePair], looks: bool, on_progress: Progress = no_progress
) -> ScoredPairs:
    """Score pairs; one that has a response without a score, or an image that cannot be read, is counted.

    Args:
        looks: read the sizes of images.
    """
    known: list[_Pair] = []
    failed: Counter[str] = Counter()
    for start in range(0, len(pairs), _AT_ONCE):
        asked = pairs[start : start + _AT_ONCE]
        groups = [pair.comparison().groups for pair in asked]
        scores = iter(checked_scores(scorer, [group for own in groups for group in own]))
        for pair, own in zip(asked, groups, strict=True):
            found = _read_pair(pair, [score for _ in own for score in next(scores)], looks)
            if isinstance(found, Failure):
                failed[found.reason] += 1
            else:
                known.append(found)
        on_progress(start + len(asked), len(pairs))
    return ScoredPairs(_stack(known), dict(failed))


def _read_pair(pair: PreferencePair, scores: Sequence[Scored], looks: bool) -> _Pair | Failure:
    comparison = pair.comparison()
    forms = [read_form(group, looks) for group in comparison.groups]
    for one in (*scores, *forms):
        if isinstance(one, Failure):
            return one
    rewards = [one.value for one in scores if isinstance(one, Score)]
    read = [form for form in forms if isinstance(form, GroupForm)]
    places = [comparison.chosen, comparison.rejected]
    features = np.concatenate([form.features for form in read])[places]
    sides = (rewards[comparison.chosen], rewards[comparison.rejected])
    return _Pair(sides, features, read[0].visual, read[0].shows, prompt_key(pair))


def prompt_key(pair: PreferencePair) -> int:
    """Return 64 bits of a hash of the prompt and its images."""
    images, videos = pair.dealt_images[0], pair.dealt_videos[0]
    content = [[message.to_dict() for message in pair.prompt], repr(media_key(images, videos))]
    text = json.dumps(content, ensure_ascii=False)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def _stack(pairs: Sequence[_Pair]) -> ReferenceSet:
    if not pairs:
        return ReferenceSet(*(np.zeros(shape) for shape in ((0, 2), (0, 2, 0), 0, 0, 0)))
    rewards, features, visual, shows, prompts = zip(*pairs, strict=True)
    return ReferenceSet(
        np.array(rewards, dtype=np.float64),
        np.stack(features),
        np.array(visual, dtype=np.float64),
        np.array(shows, dtype=bool),
        np.array(prompts, dtype=np.uint64),
    )
