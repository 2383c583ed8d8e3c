"""Which rows can be used, and the ledger of those that cannot, by reason."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from basereward.data.columns import must_be_parsed
from basereward.data.parquet import batch_records
from basereward.data.parsing import parse_pair
from basereward.data.schema import PreferencePair
from basereward.data.sidecar import Problem
from basereward.data.storage import unpack_row
from basereward.errors import DataError, RowError

DROP_REASONS: dict[str, str] = {
    "malformed": "The row is no canonical record: a key is missing or of the wrong kind.",
    "empty_response": "The chosen or the rejected response says nothing.",
    "equal_responses": "Chosen and rejected are the same text.",
    "placeholder_count": "The number of image or video parts is not the number of images or videos.",
    "video": "A video has no frames, too few, frames of several sizes, or a rate that is no positive number.",
    "image_missing": "An image file does not exist.",
    "image_unreadable": "An image is truncated, corrupt or in no supported format.",
    "image_animated": "An image has several frames.",
    "image_limit": "An image has too many bytes or pixels, is too small, or is too long and narrow.",
    "tie": "The source rates both responses equally.",
    "unrated": "A rating is missing or not a number.",
    "no_pair": "The record holds no two responses that could be compared.",
    "prefix_mismatch": "Chosen and rejected do not continue the same conversation.",
    "unknown_label": "The preferred response is named by none of the documented labels.",
    "too_long": "The tokens of the row exceed the maximum length.",
}
EXAMPLES_KEPT = 3


@dataclass
class DropLedger:
    """How many rows were dropped for each reason, with the first messages as examples."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """The number of dropped rows."""
        return sum(self.counts.values())

    def add(self, reason: str, message: str) -> None:
        """Count one dropped row.

        Raises:
            DataError: ``reason`` is no key of ``DROP_REASONS``.
        """
        if reason not in DROP_REASONS:
            raise DataError(f"Unknown drop reason {reason!r} ({message}); known: {', '.join(DROP_REASONS)}.")
        self.counts[reason] = self.counts.get(reason, 0) + 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < EXAMPLES_KEPT:
            examples.append(message)

    def merge(self, other: "DropLedger") -> "DropLedger":
        """Return a new ledger with the drops of both."""
        reasons = [reason for reason in DROP_REASONS if reason in self.counts or reason in other.counts]
        counts = {reason: self.counts.get(reason, 0) + other.counts.get(reason, 0) for reason in reasons}
        examples = {
            reason: (self.examples.get(reason, []) + other.examples.get(reason, []))[:EXAMPLES_KEPT]
            for reason in reasons
        }
        return DropLedger(counts, examples)

    def tell(self) -> str:
        """Return each reason with its count and its first message, as an error says it."""
        return "; ".join(
            f"{reason} {count}, the first: {self.examples[reason][0]}" for reason, count in self.counts.items()
        )

    def to_dict(self) -> dict[str, Any]:
        """Return total, and count, explanation and examples of each reason that occurred."""
        reasons = {
            reason: {"count": count, "explanation": DROP_REASONS[reason], "examples": self.examples.get(reason, [])}
            for reason, count in self.counts.items()
        }
        return {"total": self.total, "reasons": reasons}


class Validated(NamedTuple):
    """The numbers of the usable rows, in order, and the ledger of the others."""

    kept: np.ndarray
    ledger: DropLedger


def parse_row(row: Mapping[str, Any], number: int) -> PreferencePair:
    """Return the pair of a stored row.

    Raises:
        RowError: with a reason of ``DROP_REASONS``.
    """
    return parse_pair(unpack_row(row), fallback_id=str(number))


def find_bad(rows: pa.Table) -> dict[int, Problem]:
    """Return what is wrong with each stored row that is no pair, by its place; only rows that look wrong are parsed."""
    masks = [np.empty(0, dtype=bool), *(must_be_parsed(batch) for batch in rows.to_batches())]
    asked = np.flatnonzero(np.concatenate(masks))
    bad = {}
    for place, row in zip(asked.tolist(), batch_records(rows.take(asked)), strict=True):
        try:
            parse_row(row, place)
        except RowError as error:
            bad[place] = Problem(error.reason, str(error), str(row["id"]))
    return bad


def drop_bad(rows: int, bad: Mapping[int, Problem], strict: bool = False) -> Validated:
    """Return which of so many rows are left.

    Args:
        bad: what is wrong with a row, by number.
        strict: raise at the first bad row instead of counting it.

    Raises:
        DataError: a bad row when ``strict``.
    """
    ledger = DropLedger()
    for number, problem in sorted(bad.items()):
        message = f"Row {number} (id {problem.id!r}): {problem.message}"
        if strict:
            hint = "Repair or remove it, or read without strict to drop and count such rows."
            raise DataError(f"[{problem.reason}] {message} {hint}")
        ledger.add(problem.reason, message)
    is_kept = np.ones(rows, dtype=bool)
    is_kept[list(bad)] = False
    return Validated(np.flatnonzero(is_kept), ledger)
