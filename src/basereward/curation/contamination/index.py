"""The fingerprints of benchmark items, in the same hashes as those of training rows.

The pass over a benchmark's images is kept in the user's cache under the hash of its items.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from basereward.benchmarks.items import BenchmarkItem, items_fingerprint
from basereward.curation.contamination.provenance import item_keys
from basereward.curation.contamination.questions import Questions
from basereward.curation.fingerprints.image import ImageHashes, hash_image, pictures_type
from basereward.curation.fingerprints.looks import ITEM_LOOKS
from basereward.curation.fingerprints.text import count_words, text_hashes
from basereward.data.cache import user_cache
from basereward.data.digests import image_key
from basereward.data.images import load_image
from basereward.data.io import replacing
from basereward.data.schema import Messages, messages_text
from basereward.errors import RowError

# Part of the name of the cached file; grows with what the arrays hold.
INDEX_VERSION = 3
# ``images`` of an item whose images cannot all be read: such an item has the same images as no row.
UNKNOWN = -1


@dataclass(frozen=True)
class Index:
    """One entry for each item of some benchmarks.

    Args:
        names: the benchmarks.
        files: those of them that are files of pairs.
        hashes: of each benchmark's items, as ``items_fingerprint`` gives it.
        benchmark: place in ``names``.
        keys: ``item_key`` of each item.
        rows: the rows of the benchmark's file that are of this item.
        ids: the ids of those rows.
        provenance: provenance key -> items.
        questions: what the user turns of each prompt say together.
        items: the items of each benchmark, for their images.
        images: number of images, ``UNKNOWN`` if one cannot be read.
        pictures: every image of the items whose images can all be read, a table of ``pictures_type`` with
            ``ITEM_LOOKS``.
        response: hash of every normalised response of every item.
        response_item: the item of each response.
        response_words: number of words of each response.
    """

    names: tuple[str, ...]
    files: frozenset[str]
    hashes: tuple[str, ...]
    benchmark: np.ndarray
    keys: list[str]
    rows: list[tuple[int, ...]]
    ids: list[tuple[str, ...]]
    provenance: dict[str, list[int]]
    questions: Questions
    items: tuple[Sequence[BenchmarkItem], ...]
    images: np.ndarray
    pictures: np.ndarray
    response: np.ndarray
    response_item: np.ndarray
    response_words: np.ndarray

    def image(self, item: int, place: int) -> Any:
        """Return an image of an item, in any form that ``load_image`` takes."""
        benchmark = self.items[self.benchmark[item]]
        return benchmark[item - int(np.searchsorted(self.benchmark, self.benchmark[item]))].images[place]


def item_key(item: BenchmarkItem) -> str:
    """Return a hash of an item's prompt and responses, whatever its place, its labels and where its images lie."""
    prompt = [message.to_dict() for message in item.prompt]
    answers = sorted(json.dumps([message.to_dict() for message in one.messages]) for one in item.responses)
    return hashlib.sha256(json.dumps([prompt, answers]).encode()).hexdigest()[:16]


class _Gathered:
    """What one pass over the items keeps of them: no images, which may lie inside the rows of a file."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.rows: list[tuple[int, ...]] = []
        self.ids: list[tuple[str, ...]] = []
        self.provenance: dict[str, list[int]] = {}
        self.questions: list[str] = []
        self.responses: list[str] = []
        self.owners: list[int] = []

    def add(self, benchmark: str, item: BenchmarkItem) -> None:
        number = len(self.keys)
        for key in item_keys(benchmark, item):
            self.provenance.setdefault(key, []).append(number)
        self.keys.append(item_key(item))
        self.rows.append(tuple(row.row for row in item.rows))
        self.ids.append(tuple(row.id for row in item.rows))
        self.questions.append(user_text(item.prompt))
        self.responses += [messages_text(response.messages) for response in item.responses]
        self.owners += [number] * len(item.responses)


def build_index(benchmarks: Mapping[str, Sequence[BenchmarkItem]], files: frozenset[str] = frozenset()) -> Index:
    """Return the index of the items of some benchmarks by their names; ``files`` are those that are files of pairs."""
    gathered = _Gathered()
    hashes, images, pictures = [], [], []
    for name, own in benchmarks.items():
        hashes.append(items_fingerprint(own))
        cached = _cached_pictures(own, hashes[-1])
        cached["pictures"]["owner"] += len(gathered.keys)
        images.append(cached["images"])
        pictures.append(cached["pictures"])
        for item in own:
            gathered.add(name, item)
    return Index(
        names=tuple(benchmarks),
        files=files,
        hashes=tuple(hashes),
        benchmark=np.repeat(np.arange(len(benchmarks)), [len(own) for own in benchmarks.values()]),
        keys=gathered.keys,
        rows=gathered.rows,
        ids=gathered.ids,
        provenance=gathered.provenance,
        questions=Questions(gathered.questions),
        items=tuple(benchmarks.values()),
        images=np.concatenate(images),
        pictures=np.concatenate(pictures),
        response=text_hashes(gathered.responses),
        response_item=np.array(gathered.owners, dtype=np.int64),
        response_words=count_words(gathered.responses),
    )


def user_text(prompt: Messages) -> str:
    """Return what the user's messages of a prompt say, one after the other."""
    return messages_text(tuple(message for message in prompt if message.role == "user"))


def _cached_pictures(items: Sequence[BenchmarkItem], digest: str) -> dict[str, np.ndarray]:
    path = user_cache() / "contamination" / f"{digest}-{INDEX_VERSION}.npz"
    if not path.is_file():
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **_pictures(items))
    with np.load(path) as stored:
        return dict(stored)


def _pictures(items: Sequence[BenchmarkItem]) -> dict[str, Any]:
    images, entries = np.zeros(len(items), np.int64), []
    known: dict[str, ImageHashes | None] = {}
    for number, item in enumerate(items):
        hashes = [_hash(one, known) for one in item.images]
        images[number] = UNKNOWN if None in hashes else len(hashes)
        if None not in hashes:
            entries += [(number, place, *each) for place, each in enumerate(hashes) if each]
    return {"images": images, "pictures": np.array(entries, dtype=pictures_type(ITEM_LOOKS))}


def _hash(image: Any, known: dict[str, ImageHashes | None]) -> ImageHashes | None:
    key = image_key(image)
    if key not in known:
        try:
            known[key] = hash_image(load_image(image), ITEM_LOOKS)
        except RowError:
            known[key] = None
    return known[key]
