"""Whether a model was trained on items of a benchmark.

It speaks of the preference data that the checkpoint's record names. What the backbone saw before is not known.
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from basereward.benchmarks.items import BenchmarkItem
from basereward.curation.contamination.index import item_key
from basereward.curation.seen import seen_rows
from basereward.data.overlap import KINDS, BenchmarkOverlap, MatchKind
from basereward.data.record import DataRecord
from basereward.evaluation.result import ProtocolResult, TrainingOverlap

OTHER_ITEMS = "The training data were checked against other items: another version of the benchmark, or --limit."


class KnownRows(NamedTuple):
    """What is known of the overlap, and the rows that the model was trained on."""

    overlap: TrainingOverlap
    rows: frozenset[int]


def find_overlap(
    record: DataRecord | None, benchmark: str, items: Iterable[BenchmarkItem], fingerprint: str
) -> KnownRows:
    """Return what the record of a model's training data says of a benchmark or a file of pairs.

    ``clean`` only if the same items were looked for in all of the training data and none was found, ``overlap`` if one
    was, or if pairs of theirs are training pairs by their fingerprints; else ``unknown`` with the reason.

    Args:
        record: of what was asked; None for scores made elsewhere and models that do not say.
        fingerprint: ``items_fingerprint`` of the items.
    """
    found, reason = _overlap_of(record, benchmark, fingerprint)
    known = known_rows(found, items) if found else {}
    trained = seen_rows(items, record.pairs) if record and record.pairs else []
    known |= dict.fromkeys(trained, KINDS[0])
    is_same = found is not None and found.items_sha256 == fingerprint
    counts = Counter(known.values())
    overlap = TrainingOverlap(
        status="overlap" if known else "clean" if is_same else "unknown",
        reason=None if is_same else reason or OTHER_ITEMS,
        summary_sha256=record.summary.sha256 if record and record.summary and found else None,
        rows={kind: counts[kind] for kind in KINDS if counts[kind]},
        trained=len(trained),
    )
    return KnownRows(overlap, frozenset(known))


def known_rows(overlap: BenchmarkOverlap, items: Iterable[BenchmarkItem]) -> dict[int, MatchKind]:
    """Return the rows of items that are known, with the kind; items are found again by their content."""
    kinds = {one.item: one.kind for one in overlap.known}
    if not kinds:
        return {}
    return {row.row: kinds[key] for item in items if (key := item_key(item)) in kinds for row in item.rows}


def trained_notes(overlap: TrainingOverlap, rows: int) -> list[str]:
    """Return the warning that rows are training rows, if any are."""
    if not overlap.trained:
        return []
    return [f"{overlap.trained} of {rows} rows are pairs that the model was trained on; their accuracy is no estimate."]


def contamination_line(overlap: TrainingOverlap, result: ProtocolResult) -> str:
    """Return what stands under the table of a benchmark: status, known rows, and accuracy on the others."""
    parts = [f"{count} x {kind}" for kind, count in overlap.rows.items()]
    if clean := result.clean:
        accuracy = clean.metrics["accuracy"].value
        value = "-" if accuracy is None else f"{100 * accuracy:.2f} %"
        parts.append(f"accuracy on the {clean.n} other rows {value}")
    if overlap.reason:
        parts.append(overlap.reason)
    return f"contamination {overlap.status}" + (f": {'; '.join(parts)}" if parts else "")


def _overlap_of(
    record: DataRecord | None, benchmark: str, fingerprint: str
) -> tuple[BenchmarkOverlap | None, str | None]:
    if record is None:
        return None, "Nothing says what the scorer was trained on."
    summary = record.summary
    if summary is None and record.contamination is not None:
        return None, "The training data were checked by an older version; check and curate them again."
    if summary is None:
        names = ", ".join(own.name for own in record.inputs)
        return None, f"Not all of the training data ({names}) were checked against the same benchmarks."
    # A file of pairs may be called by another path than when it was checked.
    files = {own.items_sha256: own for own in summary.benchmarks.values() if own.is_file}
    found = summary.benchmarks.get(benchmark) or files.get(fingerprint)
    return found, None if found else f"The training data were not checked against {benchmark}."
