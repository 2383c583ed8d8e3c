"""What protocols are made of: the value of a row, the strata of a metric, and their mean with its interval.

A value is in [0, 1]. Intervals are 95 %, by prompts: ``statistics.stratified_interval``.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from pydantic import ConfigDict, Field

from basereward.benchmarks.points import RowPoints
from basereward.configuration import Section
from basereward.errors import DataError
from basereward.statistics import (
    TIE_VALUES,
    Stratum,
    Ties,
    stratified_interval,
    stratified_mean,
)

Value = Callable[[RowPoints, Ties], float]
# From the subset of a row; None leaves the row out.
GroupOf = Callable[[str], str | None]
Strata = Sequence[Stratum]


class Metric(Section):
    """A number over n rows with its 95 % interval; null where nothing could be scored."""

    model_config = ConfigDict(strict=True)

    value: float | None
    n: int = Field(ge=0)
    low: float | None
    high: float | None


class Computed(NamedTuple):
    """What a protocol computes: the strata whose weighted mean is a metric or a group, and a line on each metric.

    ``rows`` gives the number of rows behind a metric or ``groups.NAME`` where it is not that of the values; ``notes``
    say what a reader must know.
    """

    metrics: dict[str, Strata]
    groups: dict[str, Strata]
    definitions: dict[str, str]
    rows: Mapping[str, int] = {}
    notes: tuple[str, ...] = ()


def win_value(row: RowPoints, ties: Ties) -> float:
    """Return whether the first correct response beats all rejected ones.

    At a tie for the highest score it gets 0 (``strict``), an equal share (``half``), or 1 (``greater_or_equal``). Of a
    row whose label is a tie, a tie is right, whatever the rule.
    """
    if row.tied:
        return float(all(value == 0.5 for own in row.points for value in own))
    # Points against each rejected response say all that scores would: one loss, and the first is not the highest.
    points = row.points[0]
    if 0.0 in points:
        return 0.0
    if tied := points.count(0.5):
        return 1 / (1 + tied) if ties == "half" else TIE_VALUES[ties]
    return 1.0


def scored(rows: Iterable[RowPoints]) -> list[RowPoints]:
    """Return the rows that did not fail."""
    return [row for row in rows if row.failure is None]


def split(rows: Iterable[RowPoints], group_of: GroupOf, order: Sequence[str] = ()) -> dict[str, list[RowPoints]]:
    """Return the scored rows by group, groups of ``order`` first; a group without any is left out."""
    groups: dict[str, list[RowPoints]] = {}
    for row in scored(rows):
        if (name := group_of(row.subset)) is not None:
            groups.setdefault(name, []).append(row)
    names = [*order, *sorted(set(groups) - set(order))]
    return {name: groups[name] for name in names if name in groups}


def stratum(rows: Sequence[RowPoints], value: Value, ties: Ties, weight: float = 1.0) -> Stratum:
    """Return the values of the scored rows, clustered by prompt."""
    usable = scored(rows)
    return Stratum([value(row, ties) for row in usable], [row.item for row in usable], weight)


def mean_over(readings: Sequence[Computed]) -> Computed:
    """Return the mean of what several readings of the same rows give, metric by metric.

    So what needs several rows to be right, such as Acc+, needs them right in one reading. All values of a prompt share
    its cluster, so that intervals draw its readings together.
    """
    first, *others = readings
    if not others:
        return first
    named = {**first.metrics, **{f"groups.{name}": strata for name, strata in first.groups.items()}}
    return Computed(
        {name: _join([own.metrics[name] for own in readings]) for name in first.metrics},
        {name: _join([own.groups[name] for own in readings]) for name in first.groups},
        first.definitions,
        {name: first.rows.get(name, sum(len(part.values) for part in strata)) for name, strata in named.items()},
        first.notes,
    )


def _join(readings: Sequence[Strata]) -> list[Stratum]:
    return [
        Stratum(
            [value for part in parts for value in part.values],
            [cluster for part in parts for cluster in part.clusters],
            parts[0].weight,
        )
        for parts in zip(*readings, strict=True)
    ]


def combined_metric(strata: Strata, rows: int | None = None) -> Metric:
    """Return ``sum(weight * mean) / sum(weight)`` over the strata that have values, with its interval and n.

    n counts all values, or is ``rows``; without values all but n is None.
    """
    parts = [part for part in strata if len(part.values)]
    if not parts:
        return Metric(value=None, n=0, low=None, high=None)
    n = sum(len(part.values) for part in parts) if rows is None else rows
    low, high = stratified_interval(parts)
    return Metric(value=stratified_mean(parts), n=n, low=low, high=high)


def scoped(name: str, present: Iterable[str], expected: Sequence[str]) -> str:
    """Return the name of a mean of groups, with the groups in brackets if some are missing.

    So a mean of three of four domains is never read as the benchmark's own number.
    """
    found = [group for group in expected if group in set(present)]
    return name if len(found) == len(expected) else f"{name}[{'+'.join(found)}]"


def accuracy_by_group(
    rows: Sequence[RowPoints], ties: Ties, group_of: GroupOf, order: Sequence[str] = (), value: Value = win_value
) -> Computed:
    """Return the accuracy over all scored rows and that of each group."""
    groups = split(rows, group_of, order)
    return Computed(
        {"accuracy": [stratum(rows, value, ties)]},
        {name: [stratum(own, value, ties)] for name, own in groups.items()},
        {"accuracy": "correct rows / scored rows (micro)"},
    )


def macro(rows: Sequence[RowPoints], ties: Ties, group_of: GroupOf, order: Sequence[str]) -> dict[str, Strata]:
    """Return ``{"macro": mean of the accuracies of the groups}``, its name scoped if a group is missing."""
    groups = split(rows, group_of, order)
    return {scoped("macro", groups, order): [stratum(own, win_value, ties) for own in groups.values()]}


def missing_note(rows: Sequence[RowPoints], group_of: GroupOf, order: Sequence[str]) -> tuple[str, ...]:
    """Return that the accuracy over all rows is not the benchmark's own, where a group has no scored row."""
    there = split(rows, group_of, order)
    missing = [name for name in order if name not in there]
    found = ", ".join(there) or "nothing"
    return (f"accuracy is over {found} alone; that of the benchmark is over {', '.join(order)}.",) if missing else ()


def check_ties(ties: str) -> None:
    """Refuse an unknown rule for ties.

    Raises:
        DataError: not one of strict, half and greater_or_equal.
    """
    if ties not in TIE_VALUES:
        raise DataError(f"Unknown rule for ties {ties!r}. Known: {', '.join(TIE_VALUES)}.")
