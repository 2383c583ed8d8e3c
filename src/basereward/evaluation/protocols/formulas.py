"""What protocols are made of: the value of a row, means with intervals, and the summary that all of them fill.

A value is in [0, 1]. Intervals are 95 %: Wilson's where every value is 0, 1/2 or 1 and every row has a prompt of its
own, and the percentile bootstrap over prompts (within each group for a mean of groups) everywhere else.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from basereward.errors import DataError
from basereward.evaluation.records import RowRecord
from basereward.statistics import TIE_VALUES, Interval, Ties, wilson_interval

SAMPLES = 2000
SEED = 0
Metric = dict[str, float | int | None]
Value = Callable[[RowRecord, Ties], float]
GroupOf = Callable[[RowRecord], str]
EMPTY: Metric = {"value": None, "n": 0, "low": None, "high": None}


class Stratum(NamedTuple):
    """Values that are averaged together, the prompt (or other cluster) of each, and the weight of their mean."""

    values: Sequence[float]
    clusters: Sequence[Hashable]
    weight: float = 1.0


class Computed(NamedTuple):
    """What a protocol computes: metrics and groups with intervals, and one line that defines each metric."""

    metrics: dict[str, Metric]
    groups: dict[str, dict[str, float | int | None]]
    definitions: dict[str, str]


def compare(correct: float, rejected: float, ties: Ties) -> float:
    """Return 1 if correct scores higher, 0 if lower, and for a tie 0, 1/2 or 1 as ``ties`` says."""
    return TIE_VALUES[ties] if correct == rejected else float(correct > rejected)


def win_value(record: RowRecord, ties: Ties) -> float:
    """Return whether the first correct response scores above all rejected ones.

    At a tie for the highest score it gets 0 (``strict``), an equal share (``half``), or 1 (``greater_or_equal``).
    """
    correct, rejected = record.scores
    best = max(rejected)
    if correct[0] != best:
        return float(correct[0] > best)
    return 1 / (1 + rejected.count(best)) if ties == "half" else TIE_VALUES[ties]


def scored(records: Iterable[RowRecord]) -> list[RowRecord]:
    """Return the records that did not fail."""
    return [record for record in records if record.failure is None]


def count_tied(records: Iterable[RowRecord]) -> int:
    """Count the comparisons of a correct with a rejected response of one row that have equal scores."""
    tied = 0
    for record in scored(records):
        correct, rejected = record.scores
        tied += sum(right == wrong for right in correct for wrong in rejected)
    return tied


def split(records: Iterable[RowRecord], group_of: GroupOf, order: Sequence[str] = ()) -> dict[str, list[RowRecord]]:
    """Return the scored records by group, groups of ``order`` first; a group without any is left out."""
    groups: dict[str, list[RowRecord]] = {}
    for record in scored(records):
        groups.setdefault(group_of(record), []).append(record)
    names = [*order, *sorted(set(groups) - set(order))]
    return {name: groups[name] for name in names if name in groups}


def stratum(records: Sequence[RowRecord], value: Value, ties: Ties, weight: float = 1.0) -> Stratum:
    """Return the values of the scored records, clustered by prompt."""
    usable = scored(records)
    return Stratum([value(record, ties) for record in usable], [record.item for record in usable], weight)


def mean_metric(part: Stratum) -> Metric:
    """Return the mean of one stratum with its interval and n; without values all but n is None."""
    return combined_metric([part])


def combined_metric(strata: Iterable[Stratum]) -> Metric:
    """Return ``sum(weight * mean) / sum(weight)`` over the strata that have values; n counts all their values."""
    parts = [part for part in strata if len(part.values)]
    if not parts:
        return dict(EMPTY)
    weights = np.array([part.weight for part in parts])
    value = float(np.dot(weights, [np.mean(part.values) for part in parts]) / weights.sum())
    return {"value": value, "n": sum(len(part.values) for part in parts), **_interval(parts)._asdict()}


def group_metric(metric: Mapping[str, Any]) -> dict[str, float | int | None]:
    """Return a metric as it stands under ``groups``."""
    return {"n": metric["n"], "accuracy": metric["value"], "low": metric["low"], "high": metric["high"]}


def scoped(name: str, present: Iterable[str], expected: Sequence[str]) -> str:
    """Return the name of a mean of groups, with the groups in brackets if some are missing.

    So a mean of three of four domains is never read as the benchmark's own number.
    """
    found = [group for group in expected if group in set(present)]
    return name if len(found) == len(expected) else f"{name}[{'+'.join(found)}]"


def _interval(parts: Sequence[Stratum]) -> Interval:
    values = [value for part in parts for value in part.values]
    clusters = [(number, cluster) for number, part in enumerate(parts) for cluster in part.clusters]
    distinct = len(set(clusters))
    is_alone = len(parts) == 1 and distinct == len(values) and set(values) <= {0.0, 0.5, 1.0}
    # Resampling values that are all equal gives an interval without width, which would claim certainty.
    if is_alone or (set(values) in ({0.0}, {1.0})):
        return wilson_interval(float(np.mean(values)) * distinct, distinct)
    return _bootstrap(parts)


def _bootstrap(parts: Sequence[Stratum]) -> Interval:
    generator = np.random.default_rng(SEED)
    means = np.zeros(SAMPLES)
    for part in parts:
        places = {cluster: place for place, cluster in enumerate(dict.fromkeys(part.clusters))}
        index = np.array([places[cluster] for cluster in part.clusters])
        sums, counts = np.bincount(index, weights=np.asarray(part.values, dtype=float)), np.bincount(index)
        for start in range(0, SAMPLES, 200):
            drawn = generator.integers(len(places), size=(200, len(places)))
            share = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
            means[start : start + 200] += part.weight * share
    means /= sum(part.weight for part in parts)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(low), float(high))


def accuracy_by_group(
    records: Sequence[RowRecord],
    ties: Ties,
    group_of: GroupOf,
    order: Sequence[str] = (),
    value: Value = win_value,
) -> Computed:
    """Return the accuracy over all scored rows and that of each group."""
    groups = split(records, group_of, order)
    return Computed(
        {"accuracy": mean_metric(stratum(records, value, ties))},
        {name: group_metric(mean_metric(stratum(own, value, ties))) for name, own in groups.items()},
        {"accuracy": "correct rows / scored rows (micro)"},
    )


def macro(records: Sequence[RowRecord], ties: Ties, group_of: GroupOf, order: Sequence[str]) -> dict[str, Metric]:
    """Return ``{"macro": mean of the accuracies of the groups}``, its name scoped if a group is missing."""
    groups = split(records, group_of, order)
    metric = combined_metric(stratum(own, win_value, ties) for own in groups.values())
    return {scoped("macro", groups, order): metric}


def check_ties(ties: str) -> None:
    """Refuse an unknown rule for ties.

    Raises:
        DataError: not one of strict, half and greater_or_equal.
    """
    if ties not in TIE_VALUES:
        raise DataError(f"Unknown rule for ties {ties!r}. Known: {', '.join(TIE_VALUES)}.")
