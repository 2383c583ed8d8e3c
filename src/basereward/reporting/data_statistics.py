"""What a training set is in numbers: lengths, sources, images, repeats and ratings, as one JSON object."""

from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import numpy as np

from basereward.curation.columns import PairColumns, RepeatedRows
from basereward.data.images import image_size
from basereward.data.manifest import Manifest
from basereward.data.places import iterate_rows
from basereward.data.rows import row_images
from basereward.data.schema import REQUIRED_KEYS
from basereward.data.validation import parse_row
from basereward.errors import DataError, RowError
from basereward.evaluation.items import read_text
from basereward.statistics import wilson_interval

Statistics = dict[str, Any]
# Rows whose images are opened, by their header alone, to say how large images are.
SIZED_ROWS = 1000
MOST_REPEATED = 5
PROMPT_CHARACTERS = 160


def describe_set(rows: datasets.Dataset, columns: PairColumns, repeats: RepeatedRows, seed: int = 0) -> Statistics:
    """Return the statistics of a training set, with image sizes and the prompts that most pairs share.

    Raises:
        DataError: no usable row.
    """
    if not columns.usable.any():
        raise DataError(f"None of {len(rows)} rows is usable ({columns.ledger.tell()}).")
    return {
        **describe_pairs(columns, repeats),
        "image_sizes": measure_images(rows, columns, seed),
        "most_repeated": most_repeated(rows, columns),
    }


def describe_pairs(columns: PairColumns, repeats: RepeatedRows) -> Statistics:
    """Return the statistics of all usable pairs, of each source, and why the other rows are not usable.

    ``chosen_longer`` is the share among pairs whose responses differ in characters, with Wilson's 95 % interval.
    """
    kept = np.flatnonzero(columns.usable)
    order = kept[np.argsort(columns.source[kept], kind="stable")]
    codes, starts = np.unique(columns.source[order], return_index=True)
    own = dict(zip(codes.tolist(), np.split(order, starts[1:]), strict=True))
    prompts, group, counts = np.unique(columns.texts[kept, 0], return_inverse=True, return_counts=True)
    difference = columns.characters[kept, 1] - columns.characters[kept, 2]
    per_pair, pairs = np.unique(columns.images[kept], return_counts=True)
    return {
        "rows": len(columns.usable),
        **_describe(columns, kept),
        "length_difference": spread(difference),
        "images_per_pair": dict(zip(per_pair.tolist(), pairs.tolist(), strict=True)),
        "prompts": {
            "distinct": len(prompts),
            "pairs_that_share_one": int(counts[counts > 1].sum()),
            "pairs_in_several_sources": int(counts[_in_several(group, columns.source[kept])].sum()),
        },
        "duplicates": int(repeats.is_copy.sum()),
        "conflicts": int(repeats.is_conflict.sum()),
        "score_gap": spread(score_gaps(columns)[kept]),
        "margin": spread(columns.margin[kept]),
        "sources": {
            columns.sources[code]: {
                **_describe(columns, places),
                "duplicates": int(repeats.is_copy[places].sum()),
                "conflicts": int(repeats.is_conflict[places].sum()),
            }
            for code, places in own.items()
        },
        "drops": columns.ledger.to_dict(),
    }


def spread(values: np.ndarray) -> Statistics | None:
    """Return count, mean, median, 5 % and 95 % quantile and both ends of the numbers; None if there is none."""
    numbers = values[~np.isnan(values)] if values.dtype.kind == "f" else values
    if not len(numbers):
        return None
    low, median, high = np.quantile(numbers, [0.05, 0.5, 0.95]).tolist()
    ends = {"min": numbers.min().item(), "p5": low, "median": median, "p95": high, "max": numbers.max().item()}
    return {"n": len(numbers), "mean": float(numbers.mean()), **ends}


def score_gaps(columns: PairColumns) -> np.ndarray:
    """Return the rating of chosen minus that of rejected, NaN where there are none."""
    return columns.scores[:, 0] - columns.scores[:, 1]


def chosen_longer(chosen: np.ndarray, rejected: np.ndarray) -> Statistics:
    """Return the share of longer chosen responses among pairs of unequal length; ``equal`` counts the others."""
    longer, unequal = int((chosen > rejected).sum()), int((chosen != rejected).sum())
    share: Statistics = {"value": None, "n": unequal, "equal": len(chosen) - unequal}
    if unequal:
        low, high = wilson_interval(longer, unequal)
        share.update(value=longer / unequal, low=low, high=high)
    return share


def measure_images(rows: datasets.Dataset, columns: PairColumns, seed: int) -> Statistics:
    """Return the sizes of the images of up to ``SIZED_ROWS`` pairs drawn at random, and how many cannot be opened.

    Frames of videos count as images; ``sizes`` are the distinct (width, height) with their counts.
    """
    kept = np.flatnonzero(columns.usable & columns.is_multimodal)
    drawn = np.sort(np.random.default_rng(seed).permutation(kept)[:SIZED_ROWS])
    sizes: dict[tuple[int, int], int] = {}
    unreadable: dict[str, int] = {}
    for row in iterate_rows(rows.select(drawn)):
        for image in row_images(row):
            try:
                size = image_size(image)
            except RowError as error:
                unreadable[error.reason] = unreadable.get(error.reason, 0) + 1
            else:
                sizes[size] = sizes.get(size, 0) + 1
    sides = np.repeat(np.array(list(sizes), dtype=np.int64).reshape(-1, 2), list(sizes.values()), axis=0)
    return {
        "pairs_drawn": len(drawn),
        "width": spread(sides[:, 0]),
        "height": spread(sides[:, 1]),
        "megapixels": spread(sides.prod(axis=1) / 1e6),
        "unreadable": unreadable,
        "sizes": [[*size, number] for size, number in sorted(sizes.items())],
    }


def most_repeated(rows: datasets.Dataset, columns: PairColumns) -> list[Statistics]:
    """Return the beginnings of the prompts that most pairs share, whatever their images, with the number of pairs."""
    kept = np.flatnonzero(columns.usable)
    _, first, counts = np.unique(columns.texts[kept, 0], return_index=True, return_counts=True)
    ranked = [place for place in np.argsort(-counts, kind="stable")[:MOST_REPEATED].tolist() if counts[place] > 1]
    return [{"prompt": _prompt_text(rows, int(kept[first[place]])), "pairs": int(counts[place])} for place in ranked]


def describe_manifest(place: str, manifest: Manifest) -> Statistics:
    """Return what the page says of a folder with a manifest."""
    content = manifest.model_dump(mode="json", exclude={"shards", "format", "holds"})
    return {"place": place, **content, "sha256": manifest.sha256, "shards": len(manifest.shards)}


def describe_tokens(tokens: Mapping[str, Sequence[int]], drops: Mapping[str, Any], tokenizer: str) -> Statistics:
    """Return the spread of token counts, each under its name, of the pairs that fit, and what was dropped."""
    spreads = {name: spread(np.asarray(values, dtype=np.int64)) for name, values in tokens.items()}
    return {"tokenizer": tokenizer, "drops": drops, **spreads}


def _in_several(group: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Return which groups have pairs of more than one source."""
    pairs = np.unique(np.stack([group.reshape(-1), source], axis=1), axis=0)
    return np.bincount(pairs[:, 0]) > 1


def _prompt_text(rows: datasets.Dataset, number: int) -> str:
    (row,) = iterate_rows(rows.select([number]))
    return " ".join(read_text(parse_row(row, number).prompt).split())[:PROMPT_CHARACTERS]


def _describe(columns: PairColumns, places: np.ndarray) -> Statistics:
    lengths = {"characters": columns.characters[places], "words": columns.words[places]}
    return {
        "pairs": len(places),
        "multimodal": int(columns.is_multimodal[places].sum()),
        "images": int(columns.images[places].sum()),
        "videos": int(columns.videos[places].sum()),
        **{
            unit: {name: spread(own[:, place]) for place, name in enumerate(REQUIRED_KEYS)}
            for unit, own in lengths.items()
        },
        "chosen_longer": chosen_longer(columns.characters[places, 1], columns.characters[places, 2]),
        "rated": int(np.isfinite(columns.scores[places, 0]).sum()),
    }
