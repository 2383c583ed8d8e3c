"""The curation step that looks for benchmark items among the pairs."""

from pathlib import Path
from typing import Literal

import datasets
import numpy as np
from pydantic import Field

from basereward.configuration import Section
from basereward.curation.contamination.ledger import contaminated_rows, load_index
from basereward.curation.contamination.match import find_matches
from basereward.curation.contamination.summary import summarise
from basereward.curation.fingerprints.features import Features
from basereward.curation.steps import StepResult
from basereward.data.overlap import CONTAMINATING, MatchKind


class ContaminationStep(Section):
    """Drops pairs that match an item of a benchmark, and writes into the manifest what was looked for and what stayed.

    The summary is that of all inputs together.
    """

    step: Literal["contamination"]
    benchmarks: list[str] = Field(min_length=1)
    """Names, as `basereward eval --bench` takes them, or files of pairs."""
    data_root: Path | None = None
    """Folder of local copies of benchmarks; from the hub by default."""
    drop: tuple[MatchKind, ...] = CONTAMINATING
    """Kinds of matches whose pairs are dropped; with none the overlap is only stated."""

    def apply(self, features: Features, kept: np.ndarray, rows: datasets.Dataset) -> StepResult:
        """Return the matching rows among those kept, and the summary."""
        index = load_index(self.benchmarks, self.data_root)
        matches = find_matches(features, kept, rows, index)
        summary = summarise(matches, index, len(kept), self.drop)
        found = {name: dict(own.found) for name, own in summary.benchmarks.items()}
        details = {"found": found, "sha256": summary.sha256}
        dropped = {"contaminated": contaminated_rows(matches, self.drop)}
        return StepResult(dropped, details=details, contamination=summary.to_dict())
