"""What cheap models see of a response: hashed words, and its form; or the features that somebody else computed."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import datasets
import numpy as np

from basereward.curation.fingerprints.features import pair_texts
from basereward.curation.fingerprints.text import hash_words
from basereward.data.places import iterate_rows
from basereward.data.validation import parse_row
from basereward.errors import DataError, MissingFileError

WORD_DIMENSIONS = 128
_ROWS = 4096
# What the form of a text is: how much there is of each.
_MARKS = ("\n", "**", "# ", "- ", "`", "?", "!", ":")


def word_features(texts: Sequence[str]) -> np.ndarray:
    """Return hashed word counts, shape (texts, ``WORD_DIMENSIONS``), each row divided by the root of its words.

    Source: Weinberger et al., Feature Hashing for Large Scale Multitask Learning, 2009.
    """
    words = hash_words(texts)
    counts = np.diff(words.starts)
    place = np.repeat(np.arange(len(texts)), counts) * WORD_DIMENSIONS + (words.hashes % WORD_DIMENSIONS).astype(int)
    sign = np.where(words.hashes >> np.uint64(63), 1.0, -1.0)
    summed = np.bincount(place, sign, len(texts) * WORD_DIMENSIONS).reshape(len(texts), WORD_DIMENSIONS)
    return (summed / np.sqrt(np.maximum(counts, 1))[:, None]).astype(np.float32)


def form_features(texts: Sequence[str]) -> np.ndarray:
    """Return logarithms of a text's characters, words, digits and marks, shape (texts, 11)."""
    rows = [
        [len(text), text.count(" "), sum(map(text.count, "0123456789")), *map(text.count, _MARKS)] for text in texts
    ]
    return np.log1p(np.array(rows, dtype=np.float32).reshape(len(texts), 3 + len(_MARKS)))


def text_differences(rows: datasets.Dataset, numbers: np.ndarray) -> dict[str, np.ndarray]:
    """Return ``{"words", "form"}``: features of chosen minus those of rejected for the rows numbered, shape (n, d)."""
    found: dict[str, list[np.ndarray]] = {"words": [], "form": []}
    for chosen, rejected in _responses(rows, numbers):
        found["words"].append(word_features(chosen) - word_features(rejected))
        found["form"].append(form_features(chosen) - form_features(rejected))
    return {name: np.concatenate(parts) for name, parts in found.items()}


class GivenDifferences(NamedTuple):
    """Features of chosen minus those of rejected, the numbers of their rows, and how many rows have none, and why."""

    numbers: np.ndarray
    differences: np.ndarray
    without: dict[str, int]


def given_differences(path: Path, rows: datasets.Dataset, numbers: np.ndarray) -> GivenDifferences:
    """Return what an ``.npz`` file of ``id`` [n], ``chosen`` [n, d] and ``rejected`` [n, d] says of the rows numbered.

    Rows without features are ``absent`` from the file, or they have a ``repeated_id``: another row of the set or of
    the file has it too, and whose features they are cannot be known.

    Raises:
        MissingFileError: no such file.
        DataError: other arrays, features that are not finite, or none of any row.
    """
    if not path.is_file():
        raise MissingFileError(f"There is no file of features {path}.")
    with np.load(path) as arrays:
        if missing := {"id", "chosen", "rejected"} - set(arrays):
            raise DataError(f"{path} holds {', '.join(arrays)}; it lacks {', '.join(sorted(missing))}.")
        names, chosen, rejected = (arrays[key] for key in ("id", "chosen", "rejected"))
    if chosen.shape != rejected.shape or chosen.ndim != 2 or names.shape != chosen.shape[:1]:
        shapes = ", ".join(str(array.shape) for array in (names, chosen, rejected))
        raise DataError(f"{path} holds id, chosen and rejected of shapes {shapes}; expected (n,), (n, d) and (n, d).")
    differences = np.subtract(chosen, rejected, dtype=np.float32)
    if broken := np.count_nonzero(~np.isfinite(differences).all(axis=1)):
        raise DataError(f"{path} holds features of {broken} rows that are not finite; leave such rows out.")
    return _match(path, names.tolist(), differences, rows["id"][:], numbers)


def _match(
    path: Path, names: Sequence[str], differences: np.ndarray, ids: Sequence[str], numbers: np.ndarray
) -> GivenDifferences:
    """Find the rows numbered among the named differences; what is ambiguous is not found."""
    places = {str(name): place for place, name in enumerate(names)}
    in_file, in_rows = Counter(map(str, names)), Counter(ids)
    found = np.array([in_file[ids[number]] for number in numbers.tolist()], dtype=int)
    is_repeated = (found > 1) | np.array([in_rows[ids[number]] > 1 for number in numbers.tolist()], dtype=bool)
    own = numbers[(found == 1) & ~is_repeated]
    without = {"absent": int((found == 0).sum()), "repeated_id": int((is_repeated & (found > 0)).sum())}
    if not len(own):
        raise DataError(f"{path} has features of none of {len(numbers)} rows: {without}; expected the ids of the rows.")
    return GivenDifferences(own, differences[[places[ids[number]] for number in own.tolist()]], without)


def _responses(rows: datasets.Dataset, numbers: np.ndarray) -> Iterator[tuple[Sequence[str], Sequence[str]]]:
    for start in range(0, len(numbers), _ROWS):
        own = numbers[start : start + _ROWS]
        found = zip(own.tolist(), iterate_rows(rows.select(own)), strict=True)
        _, chosen, rejected = zip(*(pair_texts(parse_row(row, number)) for number, row in found), strict=True)
        yield chosen, rejected
