"""The result of a benchmark as rows of text, for whoever prints tables."""

from collections.abc import Mapping
from typing import Any, NamedTuple

MISSING = "-"


class TextTable(NamedTuple):
    """A header and rows of text; the first column is a name, the others are numbers."""

    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


def metric_table(result: Mapping[str, Any]) -> TextTable:
    """Return one row for each metric: value, interval and n of the model, and the value of each trivial baseline."""
    evaluations = result["evaluations"]
    model, others = evaluations["model"], {name: own for name, own in evaluations.items() if name != "model"}
    rows = []
    for name, metric in model["metrics"].items():
        beside = [_percent(own["metrics"].get(name, {}).get("value")) for own in others.values()]
        rows.append((name, _percent(metric["value"]), _interval(metric), str(metric["n"]), *beside))
    return TextTable(("metric", "model", "95 % interval", "n", *others), rows)


def group_table(result: Mapping[str, Any]) -> TextTable:
    """Return one row for each group of the protocol, in the same columns."""
    evaluations = result["evaluations"]
    model, others = evaluations["model"], {name: own for name, own in evaluations.items() if name != "model"}
    rows = []
    for name, group in model["groups"].items():
        beside = [_percent(own["groups"].get(name, {}).get("accuracy")) for own in others.values()]
        rows.append((name, _percent(group["accuracy"]), _interval(group), str(group["n"]), *beside))
    return TextTable(("group", "model", "95 % interval", "n", *others), rows)


def footnotes(result: Mapping[str, Any]) -> list[str]:
    """Return what must stand under the tables: protocol, counts, coverage, failures, and what each metric is."""
    counts = f"{result['n']} rows, {result['ties']} ties, {result['failed']} failed, coverage "
    lines = [f"protocol {result['protocol']}", counts + _percent(result["coverage"])]
    lines += [f"{count} x {reason}" for reason, count in result["failures"].items()]
    return lines + [f"{name}: {text}" for name, text in result["definitions"].items()]


def _percent(share: float | None) -> str:
    return MISSING if share is None else f"{100 * share:.2f} %"


def _interval(proportion: Mapping[str, Any]) -> str:
    low, high = proportion["low"], proportion["high"]
    return MISSING if low is None else f"{100 * low:.1f} to {100 * high:.1f}"
