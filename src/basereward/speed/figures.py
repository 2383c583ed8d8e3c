"""Numbers that were measured, beside the bars for them."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that was measured, and the bar for it, if there is one."""

    part: str
    what: str
    value: float
    most: float | None = None
    least: float | None = None
    spread: tuple[float, float] | None = None

    @property
    def is_met(self) -> bool | None:
        """Whether the bar is met; None without one."""
        if self.most is None and self.least is None:
            return None
        # What is no number meets no bar.
        under_most = self.most is None or self.value <= self.most
        return under_most and (self.least is None or self.value >= self.least)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        names = ("part", "what", "value", "most", "least", "spread", "is_met")
        return {name: getattr(self, name) for name in names}


def middle(
    part: str, what: str, values: Sequence[float], least: float | None = None, most: float | None = None
) -> Figure:
    """Return the median of rounds, with the smallest and the largest."""
    return Figure(part, what, statistics.median(values), most, least, (min(values), max(values)))


def latencies(part: str, seconds: Sequence[float]) -> list[Figure]:
    """Return median, 99th percentile and largest of latencies, in milliseconds."""
    in_order = sorted(1000 * one for one in seconds)
    if not in_order:
        return []
    return [
        Figure(part, f"latency, {name}, ms", in_order[max(0, math.ceil(share * len(in_order)) - 1)])
        for name, share in (("p50", 0.5), ("p99", 0.99), ("largest", 1.0))
    ]
