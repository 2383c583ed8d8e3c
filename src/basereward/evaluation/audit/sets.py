"""What an audit asks about: one pair of responses of each item, so that every item counts once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from basereward.benchmarks.items import BenchmarkItem, ItemFacts, MadeItems, survey


def draw_pair_of(item: BenchmarkItem, seed: int) -> BenchmarkItem | None:
    """Return an item with one correct and one rejected response, drawn from its rows; None if none differ."""
    # Equal texts in groups of their own may differ in their images.
    shown = [(place, own.messages) for place, group in enumerate(item.groups) for own in group.responses]
    found = [
        (row, right, wrong)
        for row in item.rows
        for right in row.correct
        for wrong in row.rejected
        if shown[right] != shown[wrong]
    ]
    if not found:
        return None
    row, right, wrong = Random(f"{seed}/{item.rows[0].row}").choice(found)
    return item.take_row(replace(row, correct=(right,), rejected=(wrong,)))


class PairedItems(MadeItems):
    """One pair of each item that has two different responses, made when asked for.

    Args:
        seed: which pair an item with several gives.
    """

    def __init__(self, items: Sequence[BenchmarkItem], seed: int) -> None:
        self._items = items
        self._seed = seed
        self._numbers = [number for number, item in enumerate(items) if draw_pair_of(item, seed) is not None]

    def __len__(self) -> int:
        return len(self._numbers)

    def make(self, index: int) -> BenchmarkItem:
        """Return the pair of an item."""
        found = draw_pair_of(self._items[self._numbers[index]], self._seed)
        assert found is not None
        return found


@dataclass(frozen=True, slots=True)
class AuditSet:
    """The items of an audit.

    Args:
        items: each with one row of two responses.
        facts: what is known of them.
        lengths: for each the characters of its correct and of its rejected response.
        usable: numbers of the items of which both responses have a score as they are.
        seed: of whatever a probe draws.
    """

    items: Sequence[BenchmarkItem]
    facts: ItemFacts
    lengths: Sequence[tuple[int, int]]
    usable: Sequence[int]
    seed: int

    def row(self, number: int) -> int:
        """Return the row of an item."""
        return self.facts.rows[number][0]


def make_set(items: Sequence[BenchmarkItem], seed: int) -> AuditSet:
    """Return one pair of each item, all of them usable; items without two different responses are left out."""
    paired = PairedItems(items, seed)
    return AuditSet(paired, survey(paired), [*map(_lengths, paired)], range(len(paired)), seed)


def _lengths(item: BenchmarkItem) -> tuple[int, int]:
    (right,), (wrong,) = item.rows[0].correct, item.rows[0].rejected
    return len(item.responses[right].text), len(item.responses[wrong].text)
