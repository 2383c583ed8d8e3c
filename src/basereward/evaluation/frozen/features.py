"""Features of sets of pairs, kept by content: those of a model and a set are computed once.

A file of features is called by a hash of what decides them: the model's weights, precision and template, the records,
and the bytes of every image and frame that they name. Whatever changes, the name changes with it, so that stale ones
are never found; and two processes that want the same file meet at its lock.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np
from jaxtyping import Float32

from basereward.curation.inputs import find_place, read_input
from basereward.data.digests import image_digest
from basereward.data.identity import Identity, WorkInput
from basereward.data.places import iterate_rows, open_place
from basereward.data.progress import Progress, no_progress
from basereward.errors import ScoringError
from basereward.scoring.features import write_features
from basereward.scoring.local import LocalScorer


class FrozenPairs(NamedTuple):
    """The hidden states of a set's pairs.

    Args:
        name: of the set.
        identity: hash of what decides the states.
        chosen: of the chosen responses.
        rejected: of the rejected ones.
        failed: pairs without features.
        was_kept: whether they were found rather than computed.
    """

    name: str
    identity: str
    chosen: Float32[np.ndarray, "pair hidden"]
    rejected: Float32[np.ndarray, "pair hidden"]
    failed: int
    was_kept: bool


def frozen_pairs(scorer: LocalScorer, place: str, folder: Path, on_progress: Progress = no_progress) -> FrozenPairs:
    """Return the features of a set of pairs, from the folder if it has them.

    Raises:
        MissingFileError: no such set.
        DataError: no pair that can be computed.
        ScoringError: the model has no files that tell its weights.
        WorkError: another process computes them.
    """
    if scorer.about.identity is None:
        raise ScoringError(f"{scorer.name} was not read from files, so nothing tells whose features are kept.")
    rows = read_input(find_place(place))
    asked = (open_place(place).describe(), WorkInput(name="media", sha256=_media_digest(rows)))
    facts = Identity(task="frozen", inputs=asked, weights=dict(scorer.about.identity)).facts()
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]
    target = folder / f"{key}.npz"
    if not (was_kept := target.is_file()):
        folder.mkdir(parents=True, exist_ok=True)
        write_features(scorer, rows, target, dimensions=0, on_progress=on_progress)
    with np.load(target) as arrays:
        chosen, rejected = arrays["chosen"], arrays["rejected"]
    return FrozenPairs(place, key, chosen, rejected, len(rows) - len(chosen), was_kept)


def _media_digest(rows: datasets.Dataset) -> str:
    """Return a hash of all images and frames: records that name files do not change when these do."""
    digest = hashlib.sha256()
    for row in iterate_rows(rows):
        for image in _media(row):
            digest.update((image_digest(image) or "unreadable").encode())
    return digest.hexdigest()


def _media(row: Mapping[str, Any]) -> list[Any]:
    frames = [frame for video in row.get("videos") or () for frame in video["frames"]]
    return [*(row.get("images") or ()), *frames]
