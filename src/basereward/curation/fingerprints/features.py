"""What curation knows of every row, from one pass over the data: validity, hashes, lengths, ratings, signatures.

The arrays lie in the cache folder, filled chunk by chunk, so that interrupted work goes on; steps then work on arrays,
and the rows themselves are read again by number only.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from numpy.lib.format import open_memmap

from basereward.curation.fingerprints.image import ImageHashes, hash_image, pictures_type
from basereward.curation.fingerprints.looks import ROW_LOOKS
from basereward.curation.fingerprints.text import PERMUTATIONS, mix, signatures, text_hashes
from basereward.data.cache import user_cache
from basereward.data.digests import image_key
from basereward.data.images import load_image
from basereward.data.io import replacing
from basereward.data.places import iterate_rows
from basereward.data.processes import map_shared
from basereward.data.schema import PreferencePair, messages_text
from basereward.data.validation import DROP_REASONS, parse_row
from basereward.errors import RowError

# Part of the name of the cached folder; grows with what the arrays hold.
FEATURES_VERSION = 3
CHUNK_ROWS = 4096
REASONS = (None, *DROP_REASONS)
_NUMBER = (np.uint64, ())
# In a file for each chunk, as rows have any number of images.
_PICTURE = pictures_type(ROW_LOOKS)
_ARRAYS: dict[str, tuple[type, tuple[int, ...]]] = {
    "reason": (np.int8, ()),
    **dict.fromkeys(("content", "prompt", "question", "chosen", "rejected"), _NUMBER),
    "lengths": (np.int32, (3,)),
    "scores": (np.float32, (2,)),
    "source": (np.int16, ()),
    "images": (np.int16, ()),
    **dict.fromkeys(("image", "picture"), _NUMBER),
    "signature": (np.uint16, (PERMUTATIONS,)),
}


@dataclass(frozen=True)
class Features:
    """One entry for each row of a dataset, in its order; the arrays are mapped from disk.

    Args:
        reason: place in ``REASONS`` of why the row cannot be used, 0 for one that can.
        content: hash of images and normalised prompt, chosen and rejected.
        prompt: hash of the normalised prompt and its images.
        question: hash of the normalised text of the prompt.
        chosen: hash of the normalised chosen response.
        rejected: hash of the normalised rejected response.
        lengths: characters of prompt, chosen and rejected, shape (n, 3).
        scores: ratings of chosen and rejected, shape (n, 2); NaN where the source gives none.
        source: place in ``sources``.
        images: number of images, frames of videos included.
        image: combined hash of the pixels of all of them, 0 without any.
        picture: perceptual hash of the first one, ``NO_HASH`` without one or for a flat one.
        signature: MinHash of prompt, chosen and rejected together, shape (n, permutations).
        pictures: every image of the usable rows, a table of ``pictures_type`` with ``ROW_LOOKS``.
        sources: names of the sources.
    """

    reason: np.ndarray
    content: np.ndarray
    prompt: np.ndarray
    question: np.ndarray
    chosen: np.ndarray
    rejected: np.ndarray
    lengths: np.ndarray
    scores: np.ndarray
    source: np.ndarray
    images: np.ndarray
    image: np.ndarray
    picture: np.ndarray
    signature: np.ndarray
    pictures: np.ndarray
    sources: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.reason)


def compute_features(
    rows: datasets.Dataset, workers: int = 1, on_progress: Callable[[int], None] = lambda rows: None
) -> Features:
    """Return the features of a dataset of ``read_rows``; what an earlier call found is not computed again.

    Rows with a missing image are looked at again each time: someone may have brought it.

    Args:
        workers: processes; with more than one, a script needs its ``if __name__ == "__main__"``.
        on_progress: called with the number of rows done so far.
    """
    folder = user_cache() / "features" / f"{rows._fingerprint}-{FEATURES_VERSION}"
    sources = tuple(sorted(set(rows.unique("source"))))
    done = _open_arrays(folder, len(rows))
    todo = np.flatnonzero(~done).tolist()
    finished = len(rows) - sum(len(_chunk(number, len(rows))) for number in todo)
    places = {name: place for place, name in enumerate(sources)}
    for number, is_final in zip(todo, map_shared(_fill_chunk, (rows, folder, places), todo, workers), strict=True):
        done[number] = is_final
        finished += len(_chunk(number, len(rows)))
        on_progress(finished)
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
    pictures = [np.load(folder / _pictures_file(number)) for number in range(len(done))]
    return Features(**arrays, pictures=np.concatenate([np.empty(0, _PICTURE), *pictures]), sources=sources)


def pair_texts(pair: PreferencePair) -> tuple[str, str, str]:
    """Return the texts of prompt, chosen and rejected: what their messages say, one after the other."""
    return messages_text(pair.prompt), messages_text(pair.chosen), messages_text(pair.rejected)


def row_hashes(pair: PreferencePair, known: dict[str, ImageHashes] | None = None) -> list[ImageHashes]:
    """Return the hashes of all images of a pair, frames of videos included.

    Args:
        known: images hashed before, by ``image_key``; many rows of a set show the same one.

    Raises:
        RowError: an image cannot be read.
    """
    known = {} if known is None else known
    images = [*pair.images, *(frame for video in pair.videos for frame in video.frames)]
    found = []
    for image in images:
        # Not the bytes themselves: those of a whole chunk would be held.
        key = image_key(image)
        if key not in known:
            known[key] = hash_image(load_image(image))
        found.append(known[key])
    return found


def _open_arrays(folder: Path, count: int) -> np.ndarray:
    """Make the arrays on the first call; return which chunks are done."""
    flags = folder / "done.npy"
    if not flags.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        for name, (dtype, shape) in _ARRAYS.items():
            open_memmap(folder / f"{name}.npy", "w+", dtype, (count, *shape)).flush()
        # Written last: with it the others are there.
        np.save(flags, np.zeros(-(-count // CHUNK_ROWS), dtype=bool))
    return np.load(flags, mmap_mode="r+")


def _pictures_file(number: int) -> str:
    return f"pictures-{number:06d}.npy"


def _chunk(number: int, count: int) -> range:
    return range(number * CHUNK_ROWS, min((number + 1) * CHUNK_ROWS, count))


def _fill_chunk(rows: datasets.Dataset, folder: Path, sources: dict[str, int], number: int) -> bool:
    """Compute one chunk into the arrays; return whether it is final."""
    chunk = _chunk(number, len(rows))
    found, pictures = _chunk_features(iterate_rows(rows.select(chunk)), chunk, sources)
    with replacing(folder / _pictures_file(number)) as temporary, temporary.open("wb") as file:
        np.save(file, pictures)
    for name, values in found.items():
        array = np.load(folder / f"{name}.npy", mmap_mode="r+")
        array[chunk.start : chunk.stop] = values
        array.flush()
    return not np.any(found["reason"] == REASONS.index("image_missing"))


def _chunk_features(
    rows: Iterable[dict[str, Any]], chunk: range, sources: dict[str, int]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    found: dict[str, np.ndarray] = {
        name: np.zeros((len(chunk), *shape), dtype) for name, (dtype, shape) in _ARRAYS.items()
    }
    found["scores"][:] = np.nan
    known: dict[str, ImageHashes] = {}
    pictures: list[tuple[int, int, int, tuple[int, ...]]] = []
    texts: list[tuple[str, str, str]] = []
    usable = []
    for place, row in enumerate(rows):
        found["source"][place] = sources[row["source"]]
        try:
            pair = parse_row(row, chunk[place])
            hashes = row_hashes(pair, known)
        except RowError as error:
            found["reason"][place] = REASONS.index(error.reason)
            continue
        usable.append(place)
        texts.append(pair_texts(pair))
        found["images"][place] = len(hashes)
        if hashes:
            found["image"][place] = combine_hashes([each.exact for each in hashes])
            found["picture"][place] = hashes[0].looks[0]
            pictures += [(chunk[place], number, *each) for number, each in enumerate(hashes)]
        if len(pair.scores) == 2:
            found["scores"][place] = pair.scores
    if texts:
        _fill_texts(found, np.array(usable), texts)
    return found, np.array(pictures, dtype=_PICTURE)


def _fill_texts(found: dict[str, np.ndarray], usable: np.ndarray, texts: Sequence[tuple[str, str, str]]) -> None:
    questions, chosen, rejected = zip(*texts, strict=True)
    hashes = [text_hashes(side) for side in (questions, chosen, rejected)]
    for name, own in zip(("question", "chosen", "rejected"), hashes, strict=True):
        found[name][usable] = own
    found["prompt"][usable] = mix(hashes[0] + mix(found["image"][usable]))
    found["content"][usable] = mix(mix(found["prompt"][usable] + hashes[1]) + hashes[2])
    found["lengths"][usable] = [[len(text) for text in own] for own in texts]
    found["signature"][usable] = signatures(["\n".join(own) for own in texts])


def combine_hashes(hashes: Sequence[int]) -> np.uint64:
    """Return one hash of the exact hashes of several images in their order, 0 of none."""
    combined = np.zeros(1, dtype=np.uint64)
    for number in hashes:
        combined = mix(combined + np.array([number], dtype=np.uint64))
    return combined[0]
