"""Which pairs a model was trained on: a fingerprint of each, the same wherever the pair is stored.

It is made of the words of prompt and responses, whichever of them is chosen, and of the sizes and both ends of the
image files: no image is decoded, and of a large one little is read.
"""

import hashlib
import io
from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO

import datasets
import numpy as np

from basereward.benchmarks.items import BenchmarkItem
from basereward.curation.fingerprints.features import messages_text
from basereward.curation.fingerprints.text import mix, text_hashes
from basereward.data.columns import column, list_counts, read_spoken
from basereward.data.places import iterate_rows
from basereward.data.rows import row_images
from basereward.data.schema import REQUIRED_KEYS

_BATCH_ROWS = 1000
# Images of one size from one program begin alike; where the data end they differ.
_END_BYTES = 4096


def pair_fingerprints(rows: datasets.Dataset) -> np.ndarray:
    """Return the fingerprint of each stored pair, uint64 of shape (n,)."""
    found = [np.empty(0, np.uint64)]
    for table in rows.select_columns(list(REQUIRED_KEYS)).with_format("arrow").iter(batch_size=_BATCH_ROWS):
        texts = [read_spoken(column(table, side)).texts.to_pylist() for side in REQUIRED_KEYS]
        found.append(_combine(*map(text_hashes, texts)))
    return mix(np.concatenate(found) + mix(image_hashes(rows)))


def image_hashes(rows: datasets.Dataset) -> np.ndarray:
    """Return a hash of the image files that each stored pair shows, uint64 of shape (n,); 0 for one without."""
    media = rows.select_columns(["images", "videos"])
    shown = np.flatnonzero(np.concatenate([np.empty(0, bool), *_has_media(media)]))
    images = np.zeros(len(rows), np.uint64)
    images[shown] = [_images_hash(row_images(row)) for row in iterate_rows(media.select(shown))]
    return images


def item_fingerprints(item: BenchmarkItem) -> dict[int, np.ndarray]:
    """Return the fingerprints of the pairs of each row of an item: of every right response with every wrong one."""
    prompt, *answers = text_hashes([*map(messages_text, (item.prompt, *(one.messages for one in item.responses)))])
    images = mix(np.array([_images_hash(item.images)], np.uint64))
    found = {}
    for row in item.rows:
        pairs = np.array([(answers[right], answers[wrong]) for right, wrong in product(row.correct, row.rejected)])
        found[row.row] = mix(_combine(np.full(len(pairs), prompt), *pairs.T) + images)
    return found


def pack(fingerprints: np.ndarray) -> bytes:
    """Return distinct fingerprints as a data record keeps them."""
    return np.unique(fingerprints).astype("<u8").tobytes()


def seen_rows(items: Iterable[BenchmarkItem], packed: bytes) -> list[int]:
    """Return the rows of items of which a pair is among packed fingerprints."""
    found = [(row, _is_among(own, packed)) for item in items for row, own in item_fingerprints(item).items()]
    return [row for row, is_seen in found if is_seen.any()]


def count_seen(fingerprints: np.ndarray, packed: bytes) -> int:
    """Return how many fingerprints are among packed ones."""
    return int(_is_among(fingerprints, packed).sum())


def _is_among(values: np.ndarray, packed: bytes) -> np.ndarray:
    known = np.frombuffer(packed, "<u8")
    if not len(known):
        return np.zeros(len(values), dtype=bool)
    return known[np.minimum(np.searchsorted(known, values), len(known) - 1)] == values


def _combine(prompt: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    # Not which one is chosen: a model that saw the pair the other way round saw it too.
    return mix(prompt + mix(np.minimum(first, second) + mix(np.maximum(first, second))))


def _has_media(rows: datasets.Dataset) -> Iterable[np.ndarray]:
    for table in rows.with_format("arrow").iter(batch_size=_BATCH_ROWS):
        yield list_counts(column(table, "images")) + list_counts(column(table, "videos")) > 0


def _images_hash(images: Iterable[Any]) -> int:
    """Return the sum of the hashes of image files modulo 2^64: the order of images decides nothing."""
    return sum(map(_file_hash, images)) % 2**64


def _file_hash(image: Any) -> int:
    """Return a hash of the size and both ends of an image file, 0 for one that is not there or has none."""
    if isinstance(image, Mapping):
        image = image["path"] if image.get("bytes") is None else image["bytes"]
    if isinstance(image, bytes):
        return _ends_hash(io.BytesIO(image), len(image))
    if isinstance(image, (str, Path)) and _is_file(image):
        with Path(image).open("rb") as file:
            return _ends_hash(file, Path(image).stat().st_size)
    return 0


def _ends_hash(file: BinaryIO, size: int) -> int:
    head = file.read(_END_BYTES)
    file.seek(max(0, size - _END_BYTES))
    digest = hashlib.blake2b(head + file.read(), digest_size=8, salt=size.to_bytes(8, "little"))
    return int.from_bytes(digest.digest(), "little")


def _is_file(path: str | Path) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        # Base64 text instead of a path is too long for one.
        return False
