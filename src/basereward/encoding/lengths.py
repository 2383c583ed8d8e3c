"""Tokens of every pair before training: measured from texts and sizes, no image decoded, cached on disk."""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch.utils.data import DataLoader, Dataset

from basereward.data.annotations import weight_of
from basereward.data.cache import user_cache
from basereward.data.images import VideoSize
from basereward.data.io import replacing
from basereward.data.pairs import LoadedPairs
from basereward.data.schema import Comparison, PreferencePair, Video
from basereward.encoding.groups import GroupLength
from basereward.encoding.packing import CostModel
from basereward.encoding.template import Template
from basereward.errors import RowError

BATCH = 256
# Part of the name of a cached file; grows whenever the same data and template give other lengths.
LENGTHS_VERSION = 4
_log = logging.getLogger(__name__)


class PairLength(NamedTuple):
    """Sizes of one pair, or why it cannot be used."""

    groups: tuple[GroupLength, ...]
    problem: tuple[str, str] | None = None


@dataclass(frozen=True)
class Lengths:
    """Sizes of many pairs, row by row."""

    rows: list[PairLength]

    @property
    def usable(self) -> list[int]:
        """The places of pairs that fit."""
        return [place for place, row in enumerate(self.rows) if row.problem is None]

    def tokens(self) -> list[int]:
        """Packed tokens of every pair."""
        return [sum(group.total for group in row.groups) for row in self.rows]

    def costs(self, model: CostModel) -> list[float]:
        """Computing cost of every pair."""
        return [sum(model.of(group) for group in row.groups) for row in self.rows]

    @property
    def removed(self) -> list[int]:
        """Characters of every pair that the chat template leaves out."""
        return [sum(group.removed for group in row.groups) for row in self.rows]

    def select(self, places: Sequence[int]) -> "Lengths":
        """Return the sizes at these places."""
        return Lengths([self.rows[place] for place in places])


class Trees(NamedTuple):
    """Which trees of a pair are computed, and a name that changes whenever they do."""

    compare: Callable[[PreferencePair], Comparison]
    name: str


PAIRS = Trees(PreferencePair.comparison, "pairs")


def measure_lengths(
    loaded: LoadedPairs,
    template: Template,
    workers: int = 0,
    on_progress: Callable[[int], None] = lambda rows: None,
    trees: Trees = PAIRS,
) -> Lengths:
    """Measure all pairs with the template's own encoding; the result is cached by data, template and trees.

    Args:
        loaded: pairs and the sidecar with their image sizes.
        workers: processes.
        on_progress: called with the number of pairs measured so far.
        trees: of each pair.
    """
    cache = user_cache() / "lengths" / f"{_key(loaded, template, trees)}.npz"
    lengths = _load(cache) if cache.exists() else _measure(loaded, template, workers, on_progress, trees)
    if not cache.exists():
        _save(cache, lengths)
    if any(lengths.removed):
        _log.warning(
            "The chat template leaves out %d characters of thoughts in %d of %d pairs; the model does not see them.",
            sum(lengths.removed),
            sum(count > 0 for count in lengths.removed),
            len(lengths.rows),
        )
    return lengths


def _measure(
    loaded: LoadedPairs, template: Template, workers: int, on_progress: Callable[[int], None], trees: Trees
) -> Lengths:
    loader = DataLoader(_Measured(loaded, template, trees), BATCH, num_workers=workers, collate_fn=list)
    rows: list[PairLength] = []
    for batch in loader:
        rows += batch
        on_progress(len(rows))
    return Lengths(rows)


class _Measured(Dataset):
    def __init__(self, loaded: LoadedPairs, template: Template, trees: Trees) -> None:
        self.loaded = loaded
        self.template = template
        self.trees = trees

    def __len__(self) -> int:
        return len(self.loaded.pairs)

    def __getitem__(self, index: int) -> PairLength:
        sidecar = self.loaded.sidecar
        pair, sizes, videos = self.loaded.pairs[index], sidecar.sizes(index), sidecar.videos(index)
        return measure_pair(pair, sizes, self.template, videos, self.trees)


def measure_pair(
    pair: PreferencePair,
    sizes: Sequence[tuple[int, int]],
    template: Template,
    video_sizes: Sequence[VideoSize] = (),
    trees: Trees = PAIRS,
) -> PairLength:
    """Return the lengths of a pair from the sizes of its images (width, height) and videos.

    A bad row (``too_long``, or a weight that is none) is a problem, not an error.
    """
    videos = tuple(Video(size, video.fps) for size, video in zip(video_sizes, pair.videos, strict=True))
    sized = dataclasses.replace(pair, images=tuple(sizes), videos=videos)
    try:
        weight_of(pair)
        lengths = [
            template.measure(group, group.images, [VideoSize(*video.frames) for video in group.videos])
            for group in trees.compare(sized).groups
        ]
        return PairLength(tuple(lengths))
    except RowError as error:
        return PairLength((), (error.reason, str(error)))


def _key(loaded: LoadedPairs, template: Template, trees: Trees) -> str:
    limits = [template.max_length, template.positions]
    facts = [LENGTHS_VERSION, loaded.sidecar.fingerprint, template.hash, trees.name, *limits]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]


def _save(path: Path, lengths: Lengths) -> None:
    """Store as flat arrays: [row, prefix, image tokens, removed characters, first suffix, second or -1] a group."""
    table = [
        (place, group.prefix, group.image_tokens, group.removed, *(*group.suffixes, -1)[:2])
        for place, row in enumerate(lengths.rows)
        for group in row.groups
    ]
    problems = json.dumps({place: row.problem for place, row in enumerate(lengths.rows) if row.problem})
    array = np.array(table, dtype=np.int64).reshape(-1, 6)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, table=array, rows=len(lengths.rows), problems=problems)


def _load(path: Path) -> Lengths:
    with np.load(path) as stored:
        rows, table, problems_json = int(stored["rows"]), stored["table"].tolist(), str(stored["problems"])
    groups: list[list[GroupLength]] = [[] for _ in range(rows)]
    for place, prefix, image_tokens, removed, *suffixes in table:
        own = tuple(size for size in suffixes if size >= 0)
        groups[place].append(GroupLength(prefix, own, image_tokens, removed))
    problems = {int(place): tuple(problem) for place, problem in json.loads(problems_json).items()}
    return Lengths([PairLength(tuple(own), problems.get(place)) for place, own in enumerate(groups)])
