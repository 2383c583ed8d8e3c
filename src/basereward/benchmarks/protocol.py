"""What a protocol is: how the rows of a benchmark become numbers, for scores and for the answers of a judge."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from basereward.benchmarks.formulas import Computed, GroupOf, Value, accuracy_by_group, win_value
from basereward.benchmarks.points import MEAN_OF_ORDERS, JudgeRule, RowPoints
from basereward.registry import Registry
from basereward.statistics import Ties

Compute = Callable[[Sequence[RowPoints], Ties], Computed]
OFFICIAL = "official"


def own_subset(subset: str) -> str:
    """Return the subset: each is a group of its own."""
    return subset


@dataclass(frozen=True, slots=True)
class Protocol:
    """One way to turn what was said of a benchmark's rows into numbers.

    Args:
        name: what ``--protocol`` calls it.
        text: grouping and formula in one line; it is printed with every result.
        compute: the strata of metrics (``accuracy`` among them) and groups from all rows, failed ones included; pure.
        parts: the parts of the benchmark that it needs; the default one if empty.
        ties: the rule of the official script; strict unless it says otherwise.
        value: the points of one scored row, for the accuracies of subsets and of all rows.
        group: the group of a subset.
        judge: the official rules for a judge, the main one first; ``MEAN_OF_ORDERS`` stands beside them.
    """

    name: str
    text: str
    compute: Compute
    parts: tuple[str, ...] = ()
    ties: Ties = "strict"
    value: Value = win_value
    group: GroupOf = own_subset
    judge: tuple[JudgeRule, ...] = ()

    @property
    def judge_rules(self) -> tuple[JudgeRule, ...]:
        """The official rules for a judge, and ours."""
        return (*self.judge, MEAN_OF_ORDERS)


Protocols = Registry[Protocol]


def protocols(*entries: Protocol) -> Protocols:
    """Return a registry of protocols by their names."""
    return Registry("protocol", {entry.name: entry for entry in entries})


def _by_subset(rows: Sequence[RowPoints], ties: Ties) -> Computed:
    return accuracy_by_group(rows, ties, own_subset)


# For a benchmark that brings none: the accuracy of rows, by subset.
DEFAULT_PROTOCOLS = protocols(Protocol(OFFICIAL, "accuracy over rows, by subset", _by_subset))
