"""What matches with benchmark items come to: counts by kind, and the items that stayed in the set."""

from collections.abc import Sequence

import numpy as np

from basereward.curation.contamination.index import UNKNOWN, Index
from basereward.curation.contamination.match import METHOD, Matches
from basereward.data.overlap import (
    CONTAMINATING,
    KINDS,
    BenchmarkOverlap,
    KnownItem,
    MatchKind,
    OverlapSummary,
    present_kinds,
    sort_items,
)


def summarise(matches: Matches, index: Index, pairs: int, dropped: Sequence[MatchKind]) -> OverlapSummary:
    """Return the summary of ``pairs`` pairs of which those that match by a kind of ``dropped`` were taken out."""
    strongest = strongest_kinds(matches)
    is_left = ~np.isin(strongest[matches.pairs], codes(dropped)) if len(matches.pairs) else np.empty(0, dtype=bool)
    benchmarks = {}
    for code, name in enumerate(index.names):
        own = np.flatnonzero(index.benchmark == code)
        is_own = index.benchmark[matches.items] == code
        inside = Matches(*(values[is_own] for values in matches))
        left = Matches(*(values[is_own & is_left] for values in matches))
        benchmarks[name] = BenchmarkOverlap(
            items_sha256=index.hashes[code],
            is_file=name in index.files,
            items=len(own),
            rows=sum(len(index.rows[item]) for item in own.tolist()),
            unreadable=int(np.count_nonzero(index.images[own] == UNKNOWN)),
            found=_count(_by_place(inside.pairs, inside.kinds), {}),
            found_rows=_count(
                _by_place(inside.items, inside.kinds), {item: len(index.rows[item]) for item in own.tolist()}
            ),
            known=_known_items(left, index),
        )
    return OverlapSummary(
        pairs=pairs, dropped=tuple(sorted(dropped, key=KINDS.index)), method=METHOD, benchmarks=benchmarks
    )


def codes(kinds: Sequence[MatchKind]) -> list[int]:
    """Return the places of kinds in ``KINDS``."""
    return [KINDS.index(kind) for kind in kinds]


def strongest_kinds(matches: Matches) -> np.ndarray:
    """Return the strongest kind of every row up to the last that matches; one more than any kind where none does.

    Shape (last row + 1,), so that ``strongest[matches.pairs]`` works without all rows of the set.
    """
    strongest = np.full(int(matches.pairs.max(initial=-1)) + 1, len(KINDS), dtype=np.int8)
    np.minimum.at(strongest, matches.pairs, matches.kinds)
    return strongest


def _known_items(left: Matches, index: Index) -> tuple[KnownItem, ...]:
    is_known = np.isin(left.kinds, codes(CONTAMINATING))
    found = _by_place(left.items[is_known], left.kinds[is_known])
    return sort_items(
        KnownItem(item=index.keys[item], rows=index.rows[item], kind=KINDS[kind]) for item, kind in found.items()
    )


def _by_place(places: np.ndarray, kinds: np.ndarray) -> dict[int, int]:
    """Return the strongest kind of each place."""
    order = np.lexsort((kinds, places))
    unique, first = np.unique(places[order], return_index=True)
    return dict(zip(unique.tolist(), kinds[order][first].tolist(), strict=True))


def _count(found: dict[int, int], weights: dict[int, int]) -> dict[MatchKind, int]:
    counts: dict[MatchKind, int] = dict.fromkeys(KINDS, 0)
    for place, kind in found.items():
        counts[KINDS[kind]] += weights.get(place, 1)
    return present_kinds(counts)
