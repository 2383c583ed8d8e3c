"""Numbers of every stored pair, streamed from the Arrow columns: no image is opened, only odd rows are parsed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from basereward.curation.conflicts import conflicting_pairs
from basereward.curation.fingerprints.text import mix, text_hashes
from basereward.data.columns import list_counts, must_be_parsed, read_spoken
from basereward.data.digests import image_digest, image_key
from basereward.data.places import iterate_rows
from basereward.data.rows import row_images
from basereward.data.schema import REQUIRED_KEYS
from basereward.data.validation import DropLedger, parse_row
from basereward.errors import RowError

_BATCH_ROWS = 1000


@dataclass(frozen=True)
class PairColumns:
    """One entry for each row of a dataset, in its order.

    Args:
        usable: which rows are pairs; images are not opened, so some may still turn out to be broken.
        characters: of prompt, chosen and rejected, shape (n, 3).
        words: what white space separates, in the same three.
        texts: hashes of the three as normalised words.
        images: number of images.
        videos: number of videos.
        image_bytes: of the images inside the row; those in files do not count.
        scores: ratings of chosen and rejected, shape (n, 2); NaN where the source gives none.
        margin: target difference of rewards, NaN where the source gives none.
        source: place in ``sources``.
        sources: names of the sources, sorted.
        ledger: why the other rows are no pairs.
    """

    usable: np.ndarray
    characters: np.ndarray
    words: np.ndarray
    texts: np.ndarray
    images: np.ndarray
    videos: np.ndarray
    image_bytes: np.ndarray
    scores: np.ndarray
    margin: np.ndarray
    source: np.ndarray
    sources: tuple[str, ...]
    ledger: DropLedger

    @property
    def is_multimodal(self) -> np.ndarray:
        """Which rows have images or videos."""
        return (self.images > 0) | (self.videos > 0)


class RepeatedRows(NamedTuple):
    """Which rows repeat an earlier one with the same images and normalised texts, and which contradict others."""

    is_copy: np.ndarray
    is_conflict: np.ndarray


def read_columns(rows: datasets.Dataset, on_progress: Callable[[int], None] = lambda rows: None) -> PairColumns:
    """Return the numbers of a dataset of ``read_rows``, one batch in memory.

    Rows that look wrong in the columns are parsed, and counted with the reasons that training would give.

    Args:
        on_progress: called with the number of rows read so far.
    """
    parts: list[dict[str, Any]] = []
    names: dict[str, int] = {}
    done = 0
    for batch in _batches(rows):
        parts.append({**_read_batch(batch), "source": _encode(batch["source"], names)})
        done += len(batch)
        on_progress(done)
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    # Names in order, and the place of each in it.
    sources, order = np.unique(list(names), return_inverse=True)
    source = order.reshape(-1)[joined.pop("source")]
    ledger, usable = DropLedger(), np.ones(len(rows), dtype=bool)
    suspects = np.flatnonzero(joined.pop("is_suspect"))
    for number, row in zip(suspects.tolist(), iterate_rows(rows.select(suspects)), strict=True):
        try:
            parse_row(row, number)
        except RowError as error:
            usable[number] = False
            ledger.add(error.reason, f"Row {number} (id {row['id']!r}): {error}")
    return PairColumns(usable, **joined, source=source, sources=tuple(sources.tolist()), ledger=ledger)


def find_repeats(columns: PairColumns, rows: datasets.Dataset) -> RepeatedRows:
    """Return exact duplicates and conflicts among the usable rows.

    Only images of rows whose texts repeat are read, as bytes: two files of one picture count as two images.
    """
    # Hashes of hashes instead of texts: a number for each row, so that a million rows are sorted in a second.
    prompt, chosen, rejected = columns.texts.T
    # The same for a pair and for one that prefers the other response. The larger is mixed first: a plain sum of hashes
    # would be equal for other pairs too.
    sides = mix(np.minimum(chosen, rejected) + mix(np.maximum(chosen, rejected)))
    # What is embedded differs in size as a rule, so that few rows are left whose images must be read.
    about = mix(prompt + mix(sides + columns.image_bytes.astype(np.uint64)))
    places = np.flatnonzero(columns.usable)
    _, group, counts = np.unique(about[places], return_inverse=True, return_counts=True)
    places = places[counts[group.reshape(-1)] > 1]
    shown = np.zeros(len(rows), dtype=np.uint64)
    seen = places[columns.is_multimodal[places]]
    for number, row in zip(seen.tolist(), iterate_rows(rows.select(seen)), strict=True):
        shown[number] = _images_hash(row)
    asked = mix(prompt + mix(shown))
    content = mix(mix(asked + chosen) + rejected)[places]
    _, first = np.unique(content, return_index=True)
    is_copy, is_conflict = np.zeros((2, len(rows)), dtype=bool)
    is_copy[np.delete(places, first)] = True
    is_conflict[places] = conflicting_pairs(asked[places], chosen[places], rejected[places])
    return RepeatedRows(is_copy, is_conflict)


def _images_hash(row: dict[str, Any]) -> int:
    digests = [image_digest(image) or image_key(image) for image in row_images(row)]
    return int(text_hashes([" ".join(digests)])[0])


def _batches(rows: datasets.Dataset) -> Iterator[pa.RecordBatch]:
    # The arrow format neither decodes nor copies images.
    for table in rows.with_format("arrow").iter(batch_size=_BATCH_ROWS):
        yield from table.to_batches()


def _read_batch(batch: pa.RecordBatch) -> dict[str, Any]:
    sides = tuple(read_spoken(batch[name]) for name in REQUIRED_KEYS)
    is_suspect = must_be_parsed(batch, sides)
    return {
        "is_suspect": is_suspect,
        "characters": np.stack([pc.utf8_length(side.texts).to_numpy() for side in sides], axis=1),
        "words": np.stack([_count_words(side.texts) for side in sides], axis=1),
        "texts": np.stack([text_hashes(side.texts.to_pylist()) for side in sides], axis=1),
        "images": list_counts(batch["images"]),
        "videos": list_counts(batch["videos"]),
        "image_bytes": _image_bytes(batch["images"]),
        "scores": _read_scores(batch["scores"]),
        "margin": pc.cast(batch["margin"], pa.float64()).to_numpy(zero_copy_only=False),
    }


def _encode(sources: pa.Array, names: dict[str, int]) -> np.ndarray:
    # A batch numbers its own names from 0; ``names`` gives each name one number through all batches.
    encoded = sources.dictionary_encode()
    codes = [names.setdefault(name, len(names)) for name in encoded.dictionary.to_pylist()]
    return np.array(codes, dtype=np.int32)[encoded.indices.to_numpy()]


def _count_words(texts: pa.Array) -> np.ndarray:
    trimmed = pc.utf8_trim_whitespace(texts)
    return np.where(pc.equal(trimmed, ""), 0, list_counts(pc.utf8_split_whitespace(trimmed)))


def _image_bytes(images: pa.Array) -> np.ndarray:
    # Not flattened where a row is null: that would copy the images.
    values, offsets = images.values, images.offsets.to_numpy()
    sizes = pc.fill_null(pc.binary_length(pc.struct_field(values[offsets[0] : offsets[-1]], "bytes")), 0).to_numpy()
    total = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    return np.diff(total[offsets - offsets[0]])


def _read_scores(scores: pa.Array) -> np.ndarray:
    read = np.full((len(scores), 2), np.nan)
    is_rated = list_counts(scores) == 2
    # Flattened only where there are exactly two, so that the reshape cannot shift one row's ratings into another's.
    read[is_rated] = pc.list_flatten(scores.filter(pa.array(is_rated))).to_numpy(zero_copy_only=False).reshape(-1, 2)
    return read
