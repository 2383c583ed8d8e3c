"""The contamination ledger: a set of pairs or prompts checked against benchmarks, its drop-list and its summary."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np

from basereward.curation.contamination.index import Index, build_index
from basereward.curation.contamination.match import Matches, find_matches
from basereward.curation.contamination.sets import load_items, load_rows
from basereward.curation.contamination.summary import codes, strongest_kinds, summarise
from basereward.curation.fingerprints.features import compute_features
from basereward.data.io import replacing, write_json, write_lines
from basereward.data.overlap import CONTAMINATING, KINDS, MatchKind, OverlapSummary

SUMMARY_SUFFIX = ".summary.json"


class Checked(NamedTuple):
    """Where drop-list and summary were written, the summary, and how many pairs are on the drop-list."""

    drop_list: Path
    summary_file: Path
    summary: OverlapSummary
    drops: int


def load_index(benchmarks: Sequence[str], data_root: Path | None = None, answer: str = "answer") -> Index:
    """Return the index of benchmarks and files of pairs or prompts, each as ``load_items`` takes it.

    Raises:
        UnknownNameError: no such benchmark.
        MissingFileError: its files are not there; names the command that brings them.
        DataError: a file without a usable pair.
    """
    found = {spec: load_items(spec, data_root, answer) for spec in dict.fromkeys(benchmarks)}
    files = frozenset(spec for spec, own in found.items() if own.is_file)
    return build_index({spec: own.items for spec, own in found.items()}, files)


def check(
    path: str | Path,
    benchmarks: Sequence[str],
    out: Path,
    data_root: Path | None = None,
    kinds: Sequence[MatchKind] = CONTAMINATING,
    workers: int = 1,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    answer: str = "answer",
) -> Checked:
    """Check a set of pairs or of prompts against benchmarks; write the drop-list to ``out``, the summary beside it.

    The set itself is not changed: the curation step ``contamination`` drops.

    Args:
        kinds: kinds of matches whose pairs are on the drop-list.
        workers: processes that compute features.
        on_progress: called with the rows read and all of them.
        answer: the column of the right answer, in sets of prompts.

    Raises:
        MissingFileError: the set or a benchmark is not there.
        DataError: the set cannot be read.
    """
    index = load_index(benchmarks, data_root, answer)
    rows = load_rows(path, answer)
    features = compute_features(rows, workers, lambda done: on_progress(done, len(rows)))
    kept = np.flatnonzero(features.reason == 0)
    matches = find_matches(features, kept, rows, index)
    summary = summarise(matches, index, len(kept), dropped=())
    with replacing(out) as temporary:
        drops = write_lines(temporary, drop_list(matches, index, rows, kinds))
    beside = out.with_name(out.name + SUMMARY_SUFFIX)
    write_json(beside, summary.to_dict())
    return Checked(out, beside, summary, drops)


def contaminated_rows(matches: Matches, kinds: Sequence[MatchKind]) -> np.ndarray:
    """Return the numbers of the rows whose strongest match is of one of these kinds, sorted, shape (rows,)."""
    return np.flatnonzero(np.isin(strongest_kinds(matches), codes(kinds)))


def drop_list(
    matches: Matches, index: Index, rows: datasets.Dataset, kinds: Sequence[MatchKind]
) -> Iterator[dict[str, Any]]:
    """Yield ``{row, id, source, kind, benchmark, benchmark_rows, benchmark_ids}`` of each contaminated row, in order.

    The item named is the first of those that it matches by its strongest kind.
    """
    dropped = contaminated_rows(matches, kinds)
    order = np.lexsort((matches.items, matches.kinds, matches.pairs))
    first = order[np.searchsorted(matches.pairs[order], dropped)]
    named = rows.select_columns(["id", "source"]).select(dropped)
    for row, place, own in zip(dropped.tolist(), first.tolist(), named, strict=True):
        item = int(matches.items[place])
        yield {
            "row": row,
            "id": own["id"],
            "source": own["source"],
            "kind": KINDS[matches.kinds[place]],
            "benchmark": index.names[index.benchmark[item]],
            "benchmark_rows": list(index.rows[item]),
            "benchmark_ids": list(index.ids[item]),
        }
