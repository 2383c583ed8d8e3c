"""Records: what a scorer or a judge said of each row of a benchmark, a line of ``records.jsonl`` each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import hypot
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError, computed_field

from basereward.benchmarks.items import BenchmarkItem, ItemRow, Side
from basereward.benchmarks.judged import JudgedPair, Shown
from basereward.data.outcomes import SPREAD, Failure, Judged, Scored
from basereward.errors import DataError

Outcome = Literal["correct", "wrong", "tie", "failed"]
# What a line holds for readers alone: it follows from the rest.
DERIVED = ("margin", "outcome")


@dataclass(frozen=True, slots=True)
class RowRecord:
    """What was said of one row, in the order of the benchmark's file.

    A response without a score is null; then the row is failed. The score of a judged response is the share of its
    judgements that it won.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    row: int
    """Place in the file, counted from 0: the key, because ids repeat."""
    id: str
    subset: str
    """The finest category that the file gives."""
    item: int
    """Rows of one prompt share it."""
    correct: tuple[float | None, ...]
    """Scores of the correct responses, in the order of the benchmark's file."""
    rejected: tuple[float | None, ...]
    failure: str | None = None
    """A countable reason."""
    failure_message: str | None = None
    first: Side | None = None
    """The side that the file shows first, where that matters to judges."""
    judged: tuple[JudgedPair, ...] = ()
    """The answers of a judge; empty for scores."""
    correct_parts: tuple[Mapping[str, float] | None, ...] = ()
    """What each score of a correct response was made of; empty if no score of the row says."""
    rejected_parts: tuple[Mapping[str, float] | None, ...] = ()
    tied: bool = False
    """The label calls both responses equal: one stands on each side, and only equal scores are right."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def margin(self) -> float | None:
        """The lowest score of a correct response minus the highest of a rejected one; null for a failed row."""
        if self.failure is not None:
            return None
        correct, rejected = ([score for score in side if score is not None] for side in (self.correct, self.rejected))
        return min(correct) - max(rejected)

    @property
    def margin_spread(self) -> float | None:
        """``sqrt(spread_c^2 + spread_r^2)`` of the two scores whose difference is the margin, None if unknown."""
        spreads = [(parts or {}).get(SPREAD) for parts in self.decisive_parts]
        return None if not spreads or None in spreads else hypot(*spreads)  # type: ignore[arg-type]

    @property
    def decisive_parts(self) -> tuple[Mapping[str, float] | None, ...]:
        """The parts of the two scores whose difference is the margin, correct first; empty of a failed row."""
        if self.failure is not None or not self.correct_parts or not self.rejected_parts:
            return ()
        sides = ((self.correct, self.correct_parts, min), (self.rejected, self.rejected_parts, max))
        return tuple(parts[scores.index(pick(scores))] for scores, parts, pick in sides)  # type: ignore[type-var]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def outcome(self) -> Outcome:
        """Whether every correct response scores above every rejected one; of a tied row whether they score the same."""
        margin = self.margin
        if self.tied and margin is not None:
            return "wrong" if margin else "correct"
        return "failed" if margin is None else "correct" if margin > 0 else "wrong" if margin < 0 else "tie"


RECORD: TypeAdapter[RowRecord] = TypeAdapter(RowRecord)


def reading_order(record: RowRecord) -> tuple[bool, float, int]:
    """Return the key by which a reader looks at rows: what is not right first, then what is decided by the least."""
    return record.outcome == "correct", abs(record.margin or 0), record.row


def dump_record(record: RowRecord) -> dict[str, Any]:
    """Return a record as a line of ``records.jsonl`` holds it."""
    unknown = {name for name in ("judged", "correct_parts", "rejected_parts", "tied") if not getattr(record, name)}
    return RECORD.dump_python(record, mode="json", exclude=unknown)


def parse_record(line: Mapping[str, Any]) -> RowRecord:
    """Return the record of a line of ``records.jsonl``.

    Raises:
        DataError: the line is not one.
    """
    try:
        return RECORD.validate_python({key: value for key, value in line.items() if key not in DERIVED})
    except ValidationError as error:
        reasons = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:3])
        raise DataError(f"Expected the record of a row, found {str(line)[:100]} ({reasons}).") from error


def score_records(item: BenchmarkItem, number: int, scores: Sequence[Scored]) -> list[RowRecord]:
    """Return the records of all rows of an item from the scores of its responses, in their order."""
    records = []
    for row in item.rows:
        sides = [[scores[place] for place in places] for places in (row.correct, row.rejected)]
        failures = [score for side in sides for score in side if isinstance(score, Failure)]
        correct, rejected = (
            tuple(None if isinstance(score, Failure) else score.value for score in side) for side in sides
        )
        reason, message = _explain(failures)
        parts = _parts(sides)
        records.append(
            RowRecord(
                row=row.row,
                id=row.id,
                subset=row.subset,
                item=number,
                correct=correct,
                rejected=rejected,
                failure=reason,
                failure_message=message,
                first=row.first,
                correct_parts=parts[0],
                rejected_parts=parts[1],
                tied=row.tied,
            )
        )
    return records


def _parts(sides: Sequence[Sequence[Scored]]) -> list[tuple[Mapping[str, float] | None, ...]]:
    """Return the parts of each side's scores; empty ones if no score has any."""
    parts = [tuple(None if isinstance(score, Failure) else score.parts for score in side) for side in sides]
    return parts if any(own for side in parts for own in side) else [(), ()]


def judge_record(row: ItemRow, item: int, answers: Mapping[Shown, tuple[Judged, ...]]) -> RowRecord:
    """Return the record of a row from the answers to its ``shown_pairs``; one failed answer fails the row."""
    pairs = tuple(
        JudgedPair(correct, rejected, answers[right, wrong], answers[wrong, right])
        for correct, right in enumerate(row.correct)
        for rejected, wrong in enumerate(row.rejected)
    )
    failures = [failure for pair in pairs for failure in pair.failures]
    won = tuple(_share([pair for pair in pairs if pair.correct == place]) for place in range(len(row.correct)))
    lost = (_share([pair for pair in pairs if pair.rejected == place]) for place in range(len(row.rejected)))
    rejected = tuple(None if share is None else 1 - share for share in lost)
    reason, message = _explain(failures)
    said = (row.row, row.id, row.subset, item, won, rejected, reason, message, row.first, pairs)
    return RowRecord(*said, tied=row.tied)


def _share(pairs: Sequence[JudgedPair]) -> float | None:
    return None if any(pair.failures for pair in pairs) else sum(pair.share for pair in pairs) / len(pairs)


def _explain(failures: Sequence[Failure]) -> tuple[str | None, str | None]:
    """Return the countable reason and the messages of failures."""
    if not failures:
        return None, None
    return failures[0].reason, "; ".join(dict.fromkeys(failure.message for failure in failures))
