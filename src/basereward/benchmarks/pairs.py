"""A file of preference pairs as benchmark items: each pair is an item of one row."""

from collections.abc import Sequence
from pathlib import Path

from basereward.benchmarks.items import BenchmarkItem, ItemRow, MadeItems
from basereward.data.schema import PreferencePair


class PairItems(MadeItems):
    """The items of pairs, made when asked for.

    Args:
        rows: the place of each pair in its file; by default the pairs are all that it holds.
    """

    def __init__(self, pairs: Sequence[PreferencePair], rows: Sequence[int] | None = None) -> None:
        self._pairs = pairs
        self._rows = range(len(pairs)) if rows is None else rows

    def __len__(self) -> int:
        return len(self._pairs)

    def make(self, index: int) -> BenchmarkItem:
        """Return the item of a pair."""
        pair = self._pairs[index]
        groups, chosen, rejected = pair.comparison()
        return BenchmarkItem(groups, (ItemRow(int(self._rows[index]), pair.id, pair.source, (chosen,), (rejected,)),))


def benchmark_name(path: str | Path) -> str:
    """Return what tables call a file of pairs: its folder and its name without suffix."""
    return f"{Path(path).parent.name}/{Path(path).stem}".strip("/")
