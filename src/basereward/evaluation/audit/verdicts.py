"""From the records of a probe to its result: measured, held against the mark, with the worst rows."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from basereward.benchmarks.records import RowRecord
from basereward.evaluation.audit.examples import EXAMPLES, show_example
from basereward.evaluation.audit.marks import MARKS, Status
from basereward.evaluation.audit.measures import Measurement, ProbedRow
from basereward.evaluation.audit.probe import Changed, Probe, Subject
from basereward.evaluation.audit.result import ProbeResult
from basereward.evaluation.audit.sets import AuditSet

# Where more of the changed rows have no score, those that have one may be of another kind.
MOST_FAILED = 0.1


class PreparedProbe(NamedTuple):
    """A probe with what it asks about; ``reason`` says why it is not applicable.

    Args:
        changed: None for a property, or where there is nothing to ask.
    """

    probe: Probe
    changed: Changed | None
    reason: str = ""

    @property
    def to_ask(self) -> int:
        """How many items are asked about."""
        return len(self.changed.numbers) if self.changed else 0


def prepare_probe(probe: Probe, subject: Subject, asked: AuditSet) -> PreparedProbe:
    """Return what a probe asks about the usable items."""
    if reason := probe.unsuited(subject):
        return PreparedProbe(probe, None, reason)
    if not asked.usable:
        return PreparedProbe(probe, None, "no pair has scores as it is")
    if probe.prepare is None:
        return PreparedProbe(probe, None)
    changed = probe.prepare(asked)
    return PreparedProbe(probe, changed) if changed.numbers else PreparedProbe(probe, None, probe.nothing)


def conclude_probe(
    prepared: PreparedProbe,
    asked: AuditSet,
    before: Mapping[int, RowRecord],
    after: Mapping[int, RowRecord],
    folder: Path,
) -> ProbeResult:
    """Return the result of a probe; thumbnails of its examples are written into the folder.

    Args:
        before: records of the items as they are, by their numbers.
        after: records of those that were changed; for a property the same as before.
    """
    probe, changed, reason = prepared
    numbers = () if reason else asked.usable if changed is None else changed.numbers
    scored = {asked.row(number): number for number in numbers if after[number].failure is None}
    rows = [ProbedRow(before[number], after[number], asked.lengths[number]) for number in scored.values()]
    found = Measurement(0, None, missing=reason) if reason else probe.measure(rows)
    failures = count_failures(after[number] for number in numbers)
    status, why = judge_measurement(probe.name, found, sum(failures.values()), len(numbers))
    low, high = found.interval or (None, None)
    examples = [
        show_example(
            folder,
            (asked.items[number], before[number]),
            None if changed is None else (changed.item(number), after[number]),
        )
        for number in (scored[row] for row in found.worst[:EXAMPLES])
    ]
    mark = MARKS[probe.name]
    return ProbeResult(
        name=probe.name,
        kind=probe.kind,
        question=probe.question,
        status=status,
        reason=why or None,
        direction=mark.direction,
        mark=mark.limit,
        value=found.value,
        low=low,
        high=high,
        n=found.n,
        asked=len(numbers),
        left_out=len(asked.usable) - len(numbers),
        failures=failures,
        details=dict(found.details),
        examples=examples,
    )


class JudgedProbe(NamedTuple):
    """How a probe ended, and why it could not say more."""

    status: Status
    reason: str = ""


def judge_measurement(name: str, found: Measurement, failed: int, asked: int) -> JudgedProbe:
    """Return whether a measured value passes the mark of its probe.

    Args:
        failed: changed rows without a score, of those that were asked about.
    """
    if found.value is None and not failed:
        return JudgedProbe("not applicable", found.missing)
    if failed > MOST_FAILED * asked:
        return JudgedProbe("cannot tell", f"{failed} of {asked} changed rows have no score")
    if found.value is None:
        return JudgedProbe("cannot tell", found.missing)
    status = MARKS[name].judge(found.value, found.interval)
    return JudgedProbe(
        status, "the mark lies within the interval; more items would tell" if status == "cannot tell" else ""
    )


def count_failures(records: Iterable[RowRecord]) -> dict[str, int]:
    """Return how many records failed, by reason."""
    return dict(Counter(record.failure for record in records if record.failure is not None))
