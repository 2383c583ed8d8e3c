"""What a runner is asked to do and where everything lies; read by every side, so standard library only."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Data = Literal["image", "text"]
Group = Literal["pair", "prompt"]


@dataclass(frozen=True)
class Workload:
    """A folder with two backbones, the same pairs in every side's own format, and the first weights of the head."""

    folder: Path

    def backbone(self, data: Data) -> Path:
        """Return the model folder: a Qwen2.5-VL for images, a Qwen3 of the same text size for text."""
        return self.folder / f"backbone-{data}"

    def rows(self, data: Data, form: Literal["canonical", "ordered", "ms-swift"]) -> Path:
        """Return the pairs: as our trainer reads them, or in the order of its steps (TRL's form, or ms-swift's)."""
        return self.folder / f"{data}-{form}.jsonl"

    @property
    def head(self) -> Path:
        """Weights of the linear head that every side starts from."""
        return self.folder / "head.npy"

    @property
    def facts(self) -> Path:
        """Measured lengths and shares."""
        return self.folder / "facts.json"


@dataclass(frozen=True)
class Job:
    """One run of one side.

    ``steps`` counts the measured optimiser steps; one more step comes before them and is not measured.
    ``variant`` is what the side's script computes, where it knows several. Pairs of a prompt stand in one step with
    ``group`` ``prompt``. ``pairs_at_once`` is what the peers compute at once; they add the gradients of a step up.
    """

    name: str
    variant: str
    data: Data
    workload: Path
    folder: Path
    group: Group
    pairs_per_step: int
    pairs_at_once: int
    steps: int
    learning_rate: float
    checkpointing: bool

    @property
    def pairs(self) -> Workload:
        """The workload."""
        return Workload(self.workload)

    @property
    def result(self) -> Path:
        """Where the side writes what it measured."""
        return self.folder / "result.json"

    def save(self) -> Path:
        """Write the job into its folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "job.json"
        file.write_text(json.dumps(asdict(self), indent=2, default=str))
        return file

    @classmethod
    def load(cls, file: str | Path) -> "Job":
        """Read a job."""
        content = json.loads(Path(file).read_text())
        return cls(**{**content, "workload": Path(content["workload"]), "folder": Path(content["folder"])})
