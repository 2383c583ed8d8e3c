"""The pairs of a training set that its page shows: drawn source by source, then parsed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from basereward.curation.columns import PairColumns
from basereward.curation.mixture import apportion
from basereward.data.media import at_equal_distances
from basereward.data.places import iterate_rows
from basereward.data.schema import PreferencePair
from basereward.data.validation import parse_row
from basereward.evaluation.items import FRAMES, read_text
from basereward.reporting.items import Card, CardList, ShownAnswer


def draw_pairs(columns: PairColumns, samples: int, seed: int = 0) -> np.ndarray:
    """Return numbers of usable rows drawn at random: one of every source, the rest in proportion to the sources.

    The first one of every source comes first, then the second ones: a page that gets full still shows each source.
    """
    kept = np.flatnonzero(columns.usable)
    drawn = np.random.default_rng(seed).permutation(kept)
    codes = columns.source[drawn]
    sizes = np.bincount(codes, minlength=len(columns.sources))
    has_pairs = np.flatnonzero(sizes)
    quota = np.zeros(len(sizes), dtype=np.int64)
    left = min(samples, len(kept)) - len(has_pairs)
    quota[has_pairs] = 1 + np.array(apportion(max(0, left), (sizes[has_pairs] - 1).tolist()), dtype=np.int64)
    order = np.argsort(codes, kind="stable")
    rank = np.empty(len(drawn), dtype=np.int64)
    rank[order] = np.arange(len(drawn)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    chosen = np.flatnonzero(rank < quota[codes])
    return drawn[chosen[np.lexsort((codes[chosen], rank[chosen]))]]


def list_pairs(rows: datasets.Dataset, columns: PairColumns, numbers: Sequence[int] | np.ndarray) -> CardList:
    """Return pairs as items of a page: which response is longer, lengths, ratings, images and first frames."""
    is_rated = bool(np.isfinite(columns.scores[columns.usable]).any())
    measures = ("characters", "words", *(["rating"] if is_rated else []))
    places = [int(number) for number in numbers]
    items = [
        _item(parse_row(row, number), number, columns, is_rated)
        for number, row in zip(places, iterate_rows(rows.select(places)), strict=True)
    ]
    rule = "of the sources with most cards the last ones are left out"
    filters = ("all sources", "all lengths", "text and images")
    return CardList("Sampled pairs", items, rule, measures, "length difference", filters, "row")


def _item(pair: PreferencePair, number: int, columns: PairColumns, is_rated: bool) -> Card:
    difference = int(columns.characters[number, 1] - columns.characters[number, 2])
    answers = []
    for place, (side, messages) in enumerate((("chosen", pair.chosen), ("rejected", pair.rejected))):
        measures = [int(columns.characters[number, place + 1]), int(columns.words[number, place + 1])]
        ratings = [pair.scores[place] if len(pair.scores) == 2 else None] if is_rated else []
        answers.append(ShownAnswer(side, read_text(messages), (*measures, *ratings)))
    longer = "chosen longer" if difference > 0 else "rejected longer" if difference else "equal length"
    return Card(
        row=number,
        id=pair.id,
        source=pair.source,
        outcome=longer,
        margin=difference,
        prompt=read_text(pair.prompt),
        answers=tuple(answers),
        images=tuple(_openable(image) for image in _shown(pair)),
        kind="images" if pair.images else "video" if pair.videos else "text",
    )


def _shown(pair: PreferencePair) -> list[Any]:
    return [*pair.images, *(frame for video in pair.videos for frame in at_equal_distances(video.frames, FRAMES))]


def _openable(image: dict[str, Any]) -> Path | bytes:
    return Path(image["path"]) if image["bytes"] is None else image["bytes"]
