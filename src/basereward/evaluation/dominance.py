"""Whether one member decides an ensemble alone: it does when the others are outvoted wherever they disagree with it."""

from collections.abc import Sequence
from math import fsum
from typing import NamedTuple

from basereward.benchmarks.records import RowRecord
from basereward.statistics import wilson_interval

# From this share on, surely, a member decides; two that count alike decide half of their disagreements each.
DECIDES = 0.9


class Decided(NamedTuple):
    """How often a member and the mean of the others disagree on the sign of a margin, and how often it prevails."""

    member: str
    disagreements: int
    prevails: int

    @property
    def dominates(self) -> bool:
        """Whether the share in which it prevails lies above 0.9, its 95 % interval included."""
        return bool(self.disagreements) and wilson_interval(self.prevails, self.disagreements).low > DECIDES


def decided_by(records: Sequence[RowRecord], members: Sequence[str]) -> list[Decided]:
    """Return, for each member, in how many rows it prevails against the mean margin of the others.

    Only rows count in which two members at least have a margin, and the sign of the member's differs from that of the
    mean of the others that the prompt concerns. A member whose rewards have 100 times the scale of the others' prevails
    in all of them.

    Args:
        members: names of the parts that are members' rewards.
    """
    counts = {member: [0, 0] for member in members}
    for record in records:
        margins = _margins(record, members)
        if record.margin is None or len(margins) < 2:
            continue
        for member, own in margins.items():
            others = fsum(margin for name, margin in margins.items() if name != member)
            if own * others < 0:
                counts[member][0] += 1
                counts[member][1] += own * record.margin > 0
    return [Decided(member, *found) for member, found in counts.items()]


def dominance_notes(records: Sequence[RowRecord], members: Sequence[str]) -> list[str]:
    """Return a note on each member that decides alone."""
    return [
        f"{one.member} decides alone: it prevails in {one.prevails} of {one.disagreements} rows in which the mean of "
        "the other members prefers another response. Its rewards have a larger scale; calibrate the members "
        "(basereward calibrate), or let them vote."
        for one in decided_by(records, members)
        if one.dominates
    ]


def _margins(record: RowRecord, members: Sequence[str]) -> dict[str, float]:
    parts = record.decisive_parts
    if len(parts) < 2 or parts[0] is None or parts[1] is None:
        return {}
    return {name: parts[0][name] - parts[1][name] for name in members if name in parts[0] and name in parts[1]}
