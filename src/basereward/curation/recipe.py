"""Curation recipes: which sets, and the list of steps that they go through, each with its options."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import datasets
import numpy as np
from pydantic import Field, field_validator, model_validator

from basereward.configuration import Section, load_configuration
from basereward.curation.conflicts import conflicting_pairs
from basereward.curation.contamination_step import ContaminationStep
from basereward.curation.duplicates import NEAR, Repeats, exact_duplicates, near_duplicates
from basereward.curation.filters import beyond_cap, small_gaps, small_ratios
from basereward.curation.fingerprints.features import Features
from basereward.curation.lengths import balance_lengths, bias_lengths
from basereward.curation.mix_recipe import MixInput
from basereward.curation.noise import expected_agreement
from basereward.curation.response_features import given_differences, text_differences
from basereward.curation.steps import StepResult
from basereward.sources.registry import SOURCES


class ExactDuplicates(Section):
    """Drops rows whose images and normalised texts an earlier row has."""

    step: Literal["exact_duplicates"]

    def apply(self, features: Features, kept: np.ndarray, rows: datasets.Dataset) -> StepResult:
        """Return the repeats among the kept rows."""
        return _repeats("exact_duplicate", exact_duplicates(features, kept))


class NearDuplicates(Section):
    """Drops rows whose images are alike and whose texts are nearly those of an earlier row."""

    step: Literal["near_duplicates"]
    threshold: float = Field(default=NEAR, gt=0, le=1)
    """Jaccard similarity of the word triples of prompt, chosen and rejected."""

    def apply(self, features: Features, kept: np.ndarray, rows: datasets.Dataset) -> StepResult:
        """Return the repeats among the kept rows."""
        return _repeats("near_duplicate", near_duplicates(features, kept, rows, self.threshold))


class _Mask(Section, ABC):
    """A step that decides from the features alone, for all sources or for some."""

    reason: ClassVar[str]
    sources: list[str] | None = None
    """Only rows of these sources; all by default."""

    def apply(self, features: Features, kept: np.ndarray, rows: datasets.Dataset) -> StepResult:
        """Return what to drop of the kept rows of the step's sources."""
        if self.sources is not None:
            codes = [place for place, name in enumerate(features.sources) if name in self.sources]
            kept = kept[np.isin(features.source[kept], codes)]
        return StepResult({self.reason: kept[self._find(features, kept)]})

    @abstractmethod
    def _find(self, features: Features, kept: np.ndarray) -> np.ndarray:
        """Return which of the kept rows to drop."""


class Conflicts(_Mask):
    """Drops pairs that other pairs contradict at least as often as others agree."""

    step: Literal["conflicts"]
    reason = "conflict"

    def _find(self, features: Features, kept: np.ndarray) -> np.ndarray:
        return conflicting_pairs(features.prompt[kept], features.chosen[kept], features.rejected[kept])


class ScoreGap(_Mask):
    """Drops rated pairs whose ratings are less than ``minimum`` apart."""

    step: Literal["score_gap"]
    reason = "score_gap"
    minimum: float

    def _find(self, features: Features, kept: np.ndarray) -> np.ndarray:
        return small_gaps(features.scores[kept], self.minimum)


class ScoreRatio(_Mask):
    """Drops rated pairs whose chosen rating is less than ``minimum`` times the rejected one."""

    step: Literal["score_ratio"]
    reason = "score_ratio"
    minimum: float = Field(gt=1)

    def _find(self, features: Features, kept: np.ndarray) -> np.ndarray:
        return small_ratios(features.scores[kept], self.minimum)


class PromptCap(_Mask):
    """Keeps at most ``cap`` pairs of a prompt with its images, drawn at random."""

    step: Literal["prompt_cap"]
    reason = "prompt_cap"
    cap: int = Field(ge=1)
    seed: int = 0

    def _find(self, features: Features, kept: np.ndarray) -> np.ndarray:
        return beyond_cap(features.prompt[kept], self.cap, self.seed)


class LengthBalance(_Mask):
    """Keeps as many pairs with a longer chosen as with a longer rejected response, for each length difference."""

    step: Literal["length_balance"]
    reason = "length_balance"
    seed: int = 0

    def _find(self, features: Features, kept: np.ndarray) -> np.ndarray:
        _, chosen, rejected = features.lengths[kept].T
        return ~balance_lengths(chosen, rejected, self.seed)


class LengthBias(_Mask):
    """Makes the chosen response the longer one in a ``share`` of the pairs: the paper's biased set, for experiments."""

    step: Literal["length_bias"]
    reason = "length_bias"
    share: float = Field(default=0.9, ge=0, le=1)
    seed: int = 0

    def _find(self, features: Features, kept: np.ndarray) -> np.ndarray:
        _, chosen, rejected = features.lengths[kept].T
        return ~bias_lengths(chosen, rejected, self.share, self.seed)


class LabelNoise(Section):
    """Drops pairs whose rejected response is preferred by a cheap model that was fitted on the other prompts."""

    step: Literal["label_noise"]
    below: float = Field(default=0.2, gt=0, lt=0.5)
    """Drop where a model gives the chosen response less than this probability, and none more than one half."""
    features: Path | None = None
    """What ``basereward data features`` writes; without it, hashed words and the form of the texts."""
    folds: int = Field(default=5, ge=2)
    seed: int = 0

    def apply(self, features: Features, kept: np.ndarray, rows: datasets.Dataset) -> StepResult:
        """Return the suspicious rows among those kept, and what each model expects."""
        judged, without = kept, dict[str, int]()
        if self.features is None:
            differences = text_differences(rows, kept)
        else:
            judged, given, without = given_differences(self.features, rows, kept)
            differences = {"given": given}
        agreement = {
            name: expected_agreement(own, features.prompt[judged], self.folds, self.seed)
            for name, own in differences.items()
        }
        accuracy = {name: float((own > 0.5).mean()) for name, own in agreement.items()}
        # What is wrong more often than right about prompts that it never saw has learned nothing to judge by.
        found = np.stack([np.full(len(judged), 0.5), *(own for name, own in agreement.items() if accuracy[name] > 0.5)])
        is_noise = (found.min(axis=0) < self.below) & (found.max(axis=0) <= 0.5)
        details = {"accuracy": accuracy, "kept_without_features": without}
        return StepResult({"label_noise": judged[is_noise]}, details=details)


AnyStep = Annotated[
    ExactDuplicates
    | NearDuplicates
    | Conflicts
    | ScoreGap
    | ScoreRatio
    | PromptCap
    | LengthBalance
    | LengthBias
    | LabelNoise
    | ContaminationStep,
    Field(discriminator="step"),
]


class CurationRecipe(Section):
    """Everything about a curation."""

    name: str
    """What manifests call it."""
    inputs: list[str] = Field(min_length=1)
    """Sources, found in folders of their names under ``--data-root``, or paths of converted folders and files of pairs.

    Each is a text, or ``{source: NAME}`` or ``{path: PLACE}`` as in a mixture.
    """
    steps: list[AnyStep] = Field(min_length=1)
    """In this order, over the rows of all inputs together; rows that no pair can be read from are dropped before."""

    @field_validator("inputs", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return (
            [_input_text(one) if isinstance(one, Mapping) else one for one in value]
            if isinstance(value, list)
            else value
        )

    @model_validator(mode="after")
    def _one_summary(self) -> "CurationRecipe":
        if sum(isinstance(step, ContaminationStep) for step in self.steps) > 1:
            raise ValueError("a manifest holds one contamination summary; name all benchmarks in one step")
        return self


def _input_text(given: Mapping[str, Any]) -> str:
    """Return an input that is written as in a mixture as a text."""
    parsed = MixInput.model_validate(given)
    if beyond := sorted(parsed.model_fields_set - {"source", "path"}):
        raise ValueError(f"{', '.join(beyond)} of an input is for mixtures; a curation looks at all rows")
    if parsed.source is not None:
        SOURCES.get(parsed.source)
    # A path that is called like a source stays a path.
    return f"./{parsed.path}" if parsed.path in SOURCES.names() else parsed.name


def load_curation_recipe(path: Path, overrides: list[str] | None = None) -> CurationRecipe:
    """Read a curation recipe and apply ``key=value`` overrides.

    Raises:
        MissingFileError: no such file.
        RecipeError: unknown key or step (the message names close ones), or a value of the wrong kind.
    """
    return load_configuration(CurationRecipe, path, overrides, "curation")


def _repeats(reason: str, repeats: Repeats) -> StepResult:
    return StepResult({reason: repeats.rows}, like={reason: repeats.originals})
