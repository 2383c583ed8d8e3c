"""What a scorer gains by abstaining from pairs that those within it are least sure of: pure functions of records."""

import math
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from pydantic import Field

from basereward.benchmarks.formulas import Metric, combined_metric
from basereward.benchmarks.records import RowRecord
from basereward.configuration import Section
from basereward.statistics import Stratum

COVERAGES = tuple(share / 10 for share in range(10, 0, -1))


class AbstentionPoint(Section):
    """The accuracy of the rows that are kept at a coverage."""

    coverage: float = Field(gt=0, le=1)
    """Share of the rows that are kept; rows of equal confidence are kept or left out together."""
    accuracy: Metric
    """A row is right if every correct response scores above every rejected one; a tie is not."""


class Abstention(Section):
    """Accuracy against coverage when the least confident rows are left out.

    The confidence of a row is ``|margin| / sqrt(spread_c^2 + spread_r^2)``, with the spreads of the two scores that the
    margin is the difference of: how many of its own standard deviations the margin is away from zero.
    """

    rows: int
    """Scored rows whose scores say how far those within the scorer are apart."""
    points: tuple[AbstentionPoint, ...]
    area: float
    """Area under the curve of risk against coverage: the mean over k of the share of wrong rows among the k most
    confident ones. Less is better."""
    margin_area: float
    """The area if ``|margin|`` alone were the confidence: what is gained without any spread."""
    random_area: float
    """The area if rows are left out by chance: the share of wrong rows."""
    best_area: float
    """The area if all wrong rows are left out first."""


class ConfidentRow(NamedTuple):
    """A row with its confidence, its absolute margin, whether it is wrong, and its prompt."""

    confidence: float
    margin: float
    is_wrong: bool
    item: int


def abstention_curve(records: Sequence[RowRecord]) -> Abstention | None:
    """Return accuracy against coverage, None if no row says how far those within the scorer are apart.

    Rows whose label is a tie are left out.

    Source: El-Yaniv and Wiener, JMLR 2010; Geifman and El-Yaniv, NeurIPS 2017 (risk and coverage), 2019 (the area).
    """
    rows = [
        ConfidentRow(confidence, abs(record.margin or 0.0), record.outcome != "correct", record.item)
        for record in records
        # A label that calls both equal is right at a margin of zero alone, where confidence is least.
        if not record.tied and (confidence := confidence_of(record)) is not None
    ]
    if not rows:
        return None
    wrong = [row.is_wrong for row in rows]
    return Abstention(
        rows=len(rows),
        points=tuple(_points(rows)),
        area=risk_coverage_area([row.confidence for row in rows], wrong),
        margin_area=risk_coverage_area([row.margin for row in rows], wrong),
        random_area=sum(wrong) / len(wrong),
        best_area=risk_coverage_area([-float(own) for own in wrong], wrong),
    )


def confidence_of(record: RowRecord) -> float | None:
    """Return ``|margin| / sqrt(spread_c^2 + spread_r^2)`` of a row, None if it failed or knows no spread.

    Infinite where all agree on a margin; 0 for a tie.
    """
    margin, spread = record.margin, record.margin_spread
    if margin is None or spread is None:
        return None
    if margin == 0:
        return 0.0
    return abs(margin) / spread if spread else math.inf


def risk_coverage_area(confidences: Sequence[float], wrong: Sequence[bool]) -> float:
    """Return ``1 / n sum_k (wrong among the k most confident) / k``; in expectation over the order of equal ones.

    Args:
        confidences: of each row.
        wrong: whether it is wrong.
    """
    ranked = sorted(zip(confidences, wrong, strict=True), key=lambda row: -row[0])
    total = errors = 0.0
    kept = 0
    for _, tied in groupby(ranked, key=lambda row: row[0]):
        own = [is_wrong for _, is_wrong in tied]
        share = sum(own) / len(own)
        total += sum((errors + share * step) / (kept + step) for step in range(1, len(own) + 1))
        kept += len(own)
        errors += sum(own)
    return total / kept


def _points(rows: Sequence[ConfidentRow]) -> list[AbstentionPoint]:
    ranked = sorted((row.confidence for row in rows), reverse=True)
    points: list[AbstentionPoint] = []
    for coverage in COVERAGES:
        least = ranked[math.ceil(coverage * len(ranked) - 1e-9) - 1]
        kept = [row for row in rows if row.confidence >= least]
        if points and points[-1].accuracy.n == len(kept):
            continue
        values = Stratum([float(not row.is_wrong) for row in kept], [row.item for row in kept])
        points.append(AbstentionPoint(coverage=len(kept) / len(rows), accuracy=combined_metric([values])))
    return points
