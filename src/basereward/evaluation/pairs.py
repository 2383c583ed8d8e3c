"""A file of pairs, opened for an evaluation."""

from pathlib import Path

from basereward.benchmarks.pairs import PairItems, benchmark_name
from basereward.data.arrangement import ReadOptions
from basereward.data.pairs import load_pairs
from basereward.evaluation.opened import Opened


def read_pairs(
    path: str | Path, limit: int | None = None, strict: bool = False, options: ReadOptions | None = None
) -> Opened:
    """Return the pairs of a file, a folder or a hub data set as items; the protocol is accuracy, by source.

    Args:
        limit: read only the first rows.
        strict: raise at the first bad row instead of dropping and counting it.
        options: how records are read that do not say it by themselves.

    Raises:
        MissingFileError: the path does not exist.
        DataError: no usable pair, or a bad row when ``strict``.
    """
    loaded = load_pairs([path], split="test", limit=limit, strict=strict, options=options)
    items = PairItems(loaded.pairs, loaded.pairs.rows)
    read_as = loaded.recognised[str(path)]
    return Opened(benchmark_name(path), items, limit=limit, dropped=loaded.ledger.counts, read_as=read_as)
