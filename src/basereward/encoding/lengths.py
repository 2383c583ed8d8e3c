"""Tokens of every pair before training: measured from texts and sizes, no image decoded, cached on disk."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import DataLoader, Dataset

from basereward.data.images import VideoSize, replacing
from basereward.data.pairs import LoadedPairs
from basereward.data.schema import PreferencePair, Video
from basereward.data.storage import cache_folder
from basereward.encoding.packing import CostModel
from basereward.encoding.template import GroupLength, Template
from basereward.errors import RowError

BATCH = 256
# Part of the name of a cached file; grows whenever the same data and template give other lengths.
LENGTHS_VERSION = 1


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

    def select(self, places: Sequence[int]) -> "Lengths":
        """Return the sizes at these places."""
        return Lengths([self.rows[place] for place in places])


def measure_lengths(
    loaded: LoadedPairs, template: Template, workers: int = 0, on_progress: Callable[[int], None] = lambda rows: None
) -> Lengths:
    """Measure all pairs with the template's own encoding; the result is cached by data and template.

    Args:
        loaded: pairs and the sidecar with their image sizes.
        workers: processes.
        on_progress: called with the number of pairs measured so far.
    """
    cache = cache_folder() / f"lengths-{_key(loaded, template)}.npz"
    if cache.exists():
        return _load(cache)
    loader = DataLoader(_Measured(loaded, template), BATCH, num_workers=workers, collate_fn=list)
    rows: list[PairLength] = []
    for batch in loader:
        rows += batch
        on_progress(len(rows))
    lengths = Lengths(rows)
    _save(cache, lengths)
    return lengths


class _Measured(Dataset):
    def __init__(self, loaded: LoadedPairs, template: Template) -> None:
        self.loaded = loaded
        self.template = template

    def __len__(self) -> int:
        return len(self.loaded.pairs)

    def __getitem__(self, index: int) -> PairLength:
        sidecar = self.loaded.sidecar
        return measure_pair(self.loaded.pairs[index], sidecar.sizes(index), self.template, sidecar.videos(index))


def measure_pair(
    pair: PreferencePair,
    sizes: Sequence[tuple[int, int]],
    template: Template,
    video_sizes: Sequence[VideoSize] = (),
) -> PairLength:
    """Return the lengths of a pair from the sizes of its images (width, height) and videos.

    A bad row (``too_long``) is a problem, not an error.
    """
    videos = tuple(Video(size, video.fps) for size, video in zip(video_sizes, pair.videos, strict=True))
    sized = dataclasses.replace(pair, images=tuple(sizes), videos=videos)
    try:
        lengths = [
            template.measure(group, group.images, [VideoSize(*video.frames) for video in group.videos])
            for group in sized.comparison().groups
        ]
        return PairLength(tuple(lengths))
    except RowError as error:
        return PairLength((), (error.reason, str(error)))


def _key(loaded: LoadedPairs, template: Template) -> str:
    processor: Any = template.vision.describe() if template.vision else None
    facts = [LENGTHS_VERSION, loaded.sidecar.fingerprint, template.hash, template.max_length, processor]
    return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()[:24]


def _save(path: Path, lengths: Lengths) -> None:
    """Store as flat arrays: [row, prefix, image tokens, first suffix, second suffix or -1] for each group."""
    table = [
        (place, group.prefix, group.image_tokens, *(*group.suffixes, -1)[:2])
        for place, row in enumerate(lengths.rows)
        for group in row.groups
    ]
    problems = json.dumps({place: row.problem for place, row in enumerate(lengths.rows) if row.problem})
    array = np.array(table, dtype=np.int64).reshape(-1, 5)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, table=array, rows=len(lengths.rows), problems=problems)


def _load(path: Path) -> Lengths:
    with np.load(path) as stored:
        rows, table, problems_json = int(stored["rows"]), stored["table"].tolist(), str(stored["problems"])
    groups: list[list[GroupLength]] = [[] for _ in range(rows)]
    for place, prefix, image_tokens, *suffixes in table:
        groups[place].append(GroupLength(prefix, tuple(size for size in suffixes if size >= 0), image_tokens))
    problems = {int(place): tuple(problem) for place, problem in json.loads(problems_json).items()}
    return Lengths([PairLength(tuple(own), problems.get(place)) for place, own in enumerate(groups)])
