"""The result of an audit: what its ``result.json`` holds."""

from collections import Counter
from typing import Any, Literal

from pydantic import ConfigDict, Field

from basereward.benchmarks.records import Outcome
from basereward.configuration import Section
from basereward.evaluation.audit.marks import Direction, Status
from basereward.evaluation.audit.probe import ProbeKind
from basereward.evaluation.result import UsedData

FORMAT: Literal[1] = 1
TASK: Literal["audit"] = "audit"
PAGE = "index.html"


class ShownPair(Section):
    """A pair as it was asked about: its texts and images, and what was said of it."""

    prompt: str
    correct: str
    rejected: str
    images: list[str | None]
    """Thumbnails, as paths relative to ``result.json``; null for an image that cannot be read."""
    scores: tuple[float | None, float | None]
    """Of the correct and of the rejected response."""
    outcome: Outcome


class ProbeExample(Section):
    """A row that counts against the scorer, as it is and as the probe changed it."""

    row: int
    id: str
    subset: str
    before: ShownPair
    after: ShownPair | None
    """Null for a property, which changes nothing."""


class ProbeResult(Section):
    """What one probe found."""

    name: str
    kind: ProbeKind
    question: str
    status: Status
    reason: str | None
    """Why the probe is not applicable or cannot tell."""
    direction: Direction
    mark: float
    """The pass mark: what the value must be at least, or may be at most."""
    value: float | None
    low: float | None
    """Lower end of the 95 % interval; null with ``high`` for an exact value."""
    high: float | None
    n: int = Field(ge=0)
    """Rows that the value is of."""
    asked: int = Field(ge=0)
    """Rows that were asked about, changed or not."""
    left_out: int = Field(ge=0)
    """Rows with scores that the change cannot be made to, such as those without an image, or beyond a sample."""
    failures: dict[str, int]
    """Changed rows without a score, by reason; they are in no number."""
    details: dict[str, float]
    """Further numbers by name."""
    examples: list[ProbeExample]
    """The worst rows."""


class AuditResult(Section):
    """What ``result.json`` of an audit holds."""

    model_config = ConfigDict(strict=True)

    format: Literal[1] = FORMAT
    """Version of the files of an audit."""
    task: Literal["audit"] = TASK
    benchmark: str
    """What was asked about: a benchmark, or a file of pairs."""
    scorer: str
    """The name of what was asked."""
    is_judge: bool
    n: int = Field(ge=0)
    """Items, each with one pair of responses."""
    n_images: int = Field(ge=0)
    """Items with images or videos."""
    data: UsedData
    seed: int
    accuracy: float | None
    """Of the pairs as they are, ties as half; null if none has scores."""
    answers: int = Field(ge=0)
    """Scores of responses, or verdicts of a judge, that the audit asked for."""
    failures: dict[str, int]
    """Rows without a score as they are, by reason; they are in no probe."""
    probes: list[ProbeResult]
    left_out: int = Field(ge=0)
    """Items without two different responses; they are in no number."""
    settings: dict[str, Any]
    """What the command asked for, such as a dtype."""
    identity: dict[str, Any] | None
    versions: dict[str, str]

    @property
    def counts(self) -> Counter[Status]:
        """How many probes ended how."""
        return Counter(probe.status for probe in self.probes)

    @property
    def failed(self) -> list[str]:
        """The names of the probes that failed."""
        return [probe.name for probe in self.probes if probe.status == "fail"]

    @property
    def answered(self) -> bool:
        """Whether any pair has scores as it is."""
        return self.accuracy is not None
