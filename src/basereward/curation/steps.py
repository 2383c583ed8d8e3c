"""What a curation step gives: rows that it drops, by reason, and what it has to tell."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

CURATION_REASONS: dict[str, str] = {
    "exact_duplicate": "An earlier row has the same images and the same normalised texts.",
    "near_duplicate": "An earlier row has the same or a like image, and nearly the same texts.",
    "conflict": "At least as many rows prefer the other one of the same two responses to the same prompt.",
    "score_gap": "The ratings of chosen and rejected are too close.",
    "score_ratio": "The ratings of chosen and rejected have too small a ratio.",
    "prompt_cap": "Enough other rows have the same prompt and images.",
    "length_balance": "Among pairs of such a length difference the longer response is chosen too often, or too rarely.",
    "length_bias": "Left out so that the longer response is chosen as often as asked for.",
    "label_noise": "Models fitted on the other rows prefer the rejected response.",
    "contaminated": "The row matches an item of a benchmark.",
}


@dataclass(frozen=True)
class StepResult:
    """Numbers of the rows that a step drops, by reason, and figures to report beside their counts.

    ``like`` has for a reason the row that stays beside each dropped one. ``contamination`` is what the manifest says of
    the overlap with benchmarks, from a step that looked for it.
    """

    dropped: Mapping[str, np.ndarray]
    like: Mapping[str, np.ndarray] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    contamination: Mapping[str, Any] | None = None
