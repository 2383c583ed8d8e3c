"""Tokens of every pair before training: measured from texts and sizes, no image decoded, kept on disk."""

import dataclasses
import hashlib
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from torch.utils.data import DataLoader, Dataset, Subset

from basereward.data.annotations import weight_of
from basereward.data.cache import making, user_cache
from basereward.data.images import VideoSize
from basereward.data.io import read_json, write_json
from basereward.data.pairs import LoadedPairs
from basereward.data.parts import Kept, Pace, Stored, WorkParts, load_arrays, save_arrays
from basereward.data.schema import Comparison, PreferencePair, ResponseGroup, Video
from basereward.data.sidecar import Media
from basereward.encoding.groups import GroupLength
from basereward.encoding.keys import content_key, grow_keys, shrink_keys
from basereward.encoding.lengths import Lengths, PairLength
from basereward.encoding.template import Template, in_order
from basereward.errors import DataError, RowError

BATCH = 256
# Part of the name of a cached file; grows whenever the same data and template give other lengths.
LENGTHS_VERSION = 6
_log = logging.getLogger(__name__)


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
    """Measure all pairs with the template's own encoding; the result is kept by data, template and trees.

    A kill loses the last seconds of measuring alone; a process that measures the same waits for the first.

    Args:
        loaded: pairs and the sidecar with their image sizes.
        workers: processes.
        on_progress: called with the number of pairs measured so far.
        trees: of each pair.
    """
    path = lengths_path(loaded, template, trees)
    with making(path):
        stored = load_arrays(path)
        if stored is None:
            begun = time.monotonic()
            lengths = _measure(loaded, template, workers, on_progress, trees, WorkParts(path))
            stored = keep_lengths(lengths, path, time.monotonic() - begun)
            WorkParts(path).discard()
    lengths = restore_lengths(stored, path)
    removed = lengths.left_out[:, 1]
    if len(removed):
        _log.warning(
            "The chat template leaves out %d characters of thoughts in %d of %d pairs; the model does not see them.",
            removed.sum(),
            (lengths.removed > 0).sum(),
            len(lengths),
        )
    return lengths


def lengths_path(loaded: LoadedPairs, template: Template, trees: Trees = PAIRS) -> Path:
    """Return where the lengths of pairs are kept."""
    limits = [template.max_length, template.positions]
    # Images in files of their own may change where the pairs do not.
    told = [loaded.sidecar.fingerprint, loaded.sidecar.sizes_digest]
    facts = [LENGTHS_VERSION, *told, template.hash, trees.name, *limits]
    return user_cache() / "lengths" / f"{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]}.npz"


def measuring_cost(path: Path, was_kept: bool) -> Kept:
    """Return what measuring the lengths that are kept at a path took; it reads texts, whose bytes nobody counted.

    Args:
        was_kept: whether they were there before.
    """
    return Kept(0, path.stat().st_size, read_json(path.with_suffix(".json"))["seconds"], was_kept)


def keep_lengths(lengths: Lengths, path: Path, seconds: float = 0.0) -> Stored:
    """Write lengths to where they are kept, and return what was written beside the keys.

    Args:
        seconds: that measuring them took.
    """
    # The keys first: where the sizes stand, all is there.
    save_arrays(_keys_path(path), _store_keys(lengths.keys()))
    write_json(path.with_suffix(".json"), {"seconds": seconds})
    save_arrays(path, stored := _store(lengths))
    return stored


def _keys_path(path: Path) -> Path:
    return path.with_suffix(".keys.npz")


def _measure(
    loaded: LoadedPairs,
    template: Template,
    workers: int,
    on_progress: Callable[[int], None],
    trees: Trees,
    parts: WorkParts,
) -> Lengths:
    measured = [(end, _from_part(stored)) for end, stored in parts.read()]
    done, total = measured[-1][0] if measured else 0, len(loaded.pairs)
    found = [lengths for _, lengths in measured]
    left = Subset(_Measured(loaded, template, trees), range(done, total))
    pace, begun, held = Pace("Measured tokens of pairs:", total), done, []
    for batch in DataLoader(left, BATCH, num_workers=workers, collate_fn=Lengths.of):
        held.append(batch)
        done += len(batch)
        on_progress(done)
        pace.say(done)
        if pace.should_save():
            found.append(Lengths.join(held))
            parts.add(begun, done, _to_part(found[-1]))
            begun, held = done, []
    return Lengths.join([*found, *held])


class _Measured(Dataset):
    def __init__(self, loaded: LoadedPairs, template: Template, trees: Trees) -> None:
        self.loaded = loaded
        self.template = template
        self.trees = trees

    def __len__(self) -> int:
        return len(self.loaded.pairs)

    def __getitem__(self, index: int) -> PairLength:
        pair, media = self.loaded.pairs[index], self.loaded.sidecar.media(index)
        return measure_pair(pair, media, self.template, self.trees)


class _Sized(NamedTuple):
    """What stands for an image while it is measured."""

    size: tuple[int, int]
    key: int


class _SizedFrames(NamedTuple):
    """What stands for the frames of a video while it is measured."""

    size: VideoSize
    key: int


def measure_pair(pair: PreferencePair, media: Media, template: Template, trees: Trees = PAIRS) -> PairLength:
    """Return the lengths of a pair from what is known of its images and videos.

    A bad row (``too_long``, or a weight that is none) is a problem, not an error.
    """
    # Numbers of 62 bits, as the template has them.
    images = tuple(_Sized(size, key >> 2) for size, key in zip(media.images, media.digests, strict=True))
    videos = tuple(
        Video(_SizedFrames(size, content_key((video.fps, key))), video.fps)
        for size, key, video in zip(media.videos, media.video_digests, pair.videos, strict=True)
    )
    sized = dataclasses.replace(pair, images=images, videos=videos)
    try:
        weight_of(pair)
        return PairLength(tuple(_measure_group(group, template) for group in trees.compare(sized).groups))
    except RowError as error:
        return PairLength((), (error.reason, str(error)))


def _measure_group(group: ResponseGroup, template: Template) -> GroupLength:
    sizes = [image.size for image in group.images]
    frames = [cast(_SizedFrames, video.frames) for video in group.videos]
    keys = in_order(group, [image.key for image in group.images], [own.key for own in frames])
    return template.measure(group, sizes, [own.size for own in frames], keys)


def _store(lengths: Lengths) -> Stored:
    arrays = {"table": lengths.table, "more": lengths.more, "left_out": lengths.left_out}
    if lengths.firsts is not None:
        arrays["firsts"] = lengths.firsts
    return Stored(arrays, {"problems": list(lengths.problems.items())})


def restore_lengths(stored: Stored, path: Path) -> Lengths:
    """Return the lengths that ``keep_lengths`` wrote, of which the keys are read when they are asked for."""

    def keys() -> np.ndarray:
        if (found := load_arrays(_keys_path(path))) is None:
            raise DataError(f"{_keys_path(path)} is gone; delete {path} to measure again.")
        return _restore_keys(found)

    return _lengths(stored, keys)


def _store_keys(keys: np.ndarray) -> Stored:
    openings, prompts, *responses = keys.T
    # Responses are told from each other, whichever comes first.
    columns = {"openings": openings, "prompts": prompts, "responses": np.stack(responses, axis=1).ravel()}
    return Stored({name: shrink_keys(values) for name, values in columns.items()}, {})


def _restore_keys(stored: Stored) -> np.ndarray:
    openings, prompts, responses = (grow_keys(stored.arrays[name]) for name in ("openings", "prompts", "responses"))
    return np.column_stack([openings, prompts, responses.reshape(-1, 2)]).astype(np.uint64)


def _to_part(lengths: Lengths) -> Stored:
    stored = _store(lengths)
    return Stored({**stored.arrays, "keys": lengths.keys()}, stored.about)


def _from_part(stored: Stored) -> Lengths:
    return _lengths(stored, lambda: stored.arrays["keys"])


def _lengths(stored: Stored, keys: Callable[[], np.ndarray]) -> Lengths:
    arrays, problems = stored.arrays, {place: tuple(one) for place, one in stored.about["problems"]}
    return Lengths(arrays["table"], arrays.get("firsts"), arrays["more"], arrays["left_out"], problems, keys)
