"""The result of an evaluation: what ``result.json`` and ``items.jsonl`` hold."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ConfigDict, Field

from basereward.benchmarks.formulas import Metric
from basereward.benchmarks.summary import Summary
from basereward.configuration import Section
from basereward.data.overlap import MatchKind
from basereward.data.reader import Recognised
from basereward.data.record import TrainedBy
from basereward.evaluation.abstention import Abstention
from basereward.scoring.calibration.reliability import Reliability

FORMAT: Literal[2] = 2
RECORDS, ITEMS, RESULT = "records.jsonl", "items.jsonl", "result.json"


class DataPart(Section):
    """A separately downloaded part of a benchmark."""

    hub_id: str
    revision: str | None
    """The commit that was read, null where the folder does not tell it."""


class UsedData(Section):
    """Which items were asked about."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """Of all texts, labels and images."""
    parts: dict[str, DataPart]
    """Of a benchmark; empty for a file of pairs."""
    limit: int | None
    """Only the first items, or pairs of the file."""
    part_of: int | None
    """How many rows there are, where only those that a file has scores for are in any number; else null."""
    dropped: dict[str, int]
    """Rows of a file of pairs that are no usable pair, by reason; they are in no number."""
    read_as: Recognised | None = None
    """What a file of pairs was recognised as; null for a benchmark."""


class TrainingOverlap(Section):
    """What is known of the model's training data and this benchmark."""

    status: Literal["clean", "overlap", "unknown"]
    """Clean only if the same items were looked for in all of the training data and none was found."""
    reason: str | None = None
    """Why more is not known."""
    summary_sha256: str | None = None
    """Of the contamination summary in the checkpoint."""
    rows: dict[MatchKind, int] = Field(default_factory=dict)
    """Rows that the model was trained on, by the kind of the match."""
    trained: int = 0
    """Rows of which a pair has the fingerprint of a training pair."""


class ProtocolResult(Section):
    """What one protocol makes of the evaluation."""

    model: Summary
    references: dict[str, Summary]
    """The model with images of others (``image_blind``), and the trivial baselines."""
    subsets: dict[str, Metric]
    """Accuracy of the model by the finest category of the file."""
    clean: Summary | None
    """The model's summary of the rows that it was not trained on, null without an overlap."""

    @property
    def summaries(self) -> dict[str, Summary]:
        """The model's summary and those of the references, by name."""
        return {"model": self.model, **self.references}


class Judgements(Section):
    """How often a judge was asked, and what it said: failed, first, second, tie and unparsable add up to asked."""

    samples: int = Field(ge=1)
    """How often each question was asked."""
    asked: int = Field(ge=1)
    """Answers: every pair of responses in both orders, sample by sample."""
    failed: int = Field(ge=0)
    """Questions without an answer."""
    first: int = Field(ge=0)
    second: int = Field(ge=0)
    tie: int = Field(ge=0)
    unparsable: int = Field(ge=0)
    cut_off: int = Field(ge=0)
    """Unparsable answers that reached the limit of tokens."""
    groups: dict[str, dict[str, Metric]]
    """The rates of the judge for each group of the main protocol."""


class Result(Section):
    """What ``result.json`` holds, of a scorer or of a judge, on a benchmark or on a file of pairs."""

    model_config = ConfigDict(strict=True)

    format: Literal[2] = FORMAT
    """Version of the files of an evaluation."""
    benchmark: str
    scorer: str
    """The name of what was asked."""
    n: int = Field(ge=1)
    """Rows."""
    items: int = Field(ge=1)
    """Different prompts; pairs of a file are one each."""
    responses: int = Field(ge=2)
    """Different responses."""
    data: UsedData
    protocols: dict[str, ProtocolResult]
    """By the name of the protocol, and behind a slash that of the rule for a judge; the main one first."""
    judgements: Judgements | None
    """Of a judge."""
    reliability: Reliability | None = None
    """Whether margins are log odds; null for a judge, and where every row failed."""
    failures: dict[str, int]
    """Failed rows by reason."""
    abstention: Abstention | None = None
    """Accuracy when the least confident rows are left out; of a scorer whose scores have a spread."""
    notes: list[str]
    contamination: TrainingOverlap
    trained_by: TrainedBy | None = None
    """The recipe that trained the model, null where it does not tell."""
    settings: dict[str, Any]
    """What the command asked for, such as a dtype."""
    identity: dict[str, Any] | None
    """What decides the scores: SHA-256 of the weights, template hash, limits, dtype, device, library versions."""
    partial_identity: dict[str, Any] | None = None
    """What is known of it where it is not told whole."""
    seeds: dict[str, int]
    versions: dict[str, str]

    @property
    def main(self) -> ProtocolResult:
        """What the main protocol makes of it."""
        return next(iter(self.protocols.values()))

    @property
    def published(self) -> Mapping[str, Summary]:
        """The model's summary under each protocol by name, where published numbers mean the same."""
        found: dict[str, Summary] = {}
        for own in self.protocols.values():
            used = own.model.protocol
            if used.judge is None or used.judge.is_official:
                found.setdefault(used.name, own.model)
        return found


class ItemLine(Section):
    """A line of ``items.jsonl``: what a row shows to a reader."""

    row: int = Field(ge=0)
    id: str
    subset: str
    prompt: str
    correct: list[str] = Field(min_length=1)
    rejected: list[str] = Field(min_length=1)
    images: list[str | None]
    """Thumbnails, as paths relative to the file; null for an image that is missing or cannot be read."""
