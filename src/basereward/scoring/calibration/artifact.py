"""The file of a calibration: maps and bounds, whose scores they change, and how they were chosen."""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, JsonValue, ValidationError

from basereward.configuration import Section
from basereward.data.identity import differences
from basereward.data.io import read_json, write_json
from basereward.data.outcomes import About
from basereward.errors import MissingFileError, ScoringError
from basereward.scoring.calibration.bounds import Bounds
from basereward.scoring.calibration.choice import Candidate
from basereward.scoring.calibration.maps import Maps
from basereward.scoring.calibration.reliability import Reliability

FORMAT: Literal[1] = 1
# Facts of an identity that move the last bits of a reward alone.
_FREE = ("device", "backend", "basereward", "torch", "transformers")
_log = logging.getLogger(__name__)


class CalibratedModel(Section):
    """The model whose scores are changed."""

    name: str
    identity: dict[str, JsonValue] | None
    """What decides its raw scores; null if it does not tell."""
    partial: dict[str, JsonValue] | None = None
    """What is known to decide them where there is no ``identity``."""


class CalibrationData(Section):
    """The pairs that a calibration was fitted on."""

    name: str
    sha256: str | None
    pairs: int = Field(ge=1)
    prompts: int = Field(ge=1)
    held_out: int = Field(ge=1)
    """Pairs that nothing was fitted or chosen on: bounds, ``before`` and ``after`` are of them."""
    failed: dict[str, int]
    """Pairs without scores by reason."""


class Calibration(Section):
    """What ``basereward calibrate`` writes."""

    format: Literal[1] = FORMAT
    model: CalibratedModel
    data: CalibrationData
    maps: Maps
    bounds: Bounds
    candidates: tuple[Candidate, ...]
    """What the maps were chosen from."""
    before: Reliability
    after: Reliability
    accuracy_before: float
    """Of held-out pairs; a tie counts half."""
    accuracy_after: float
    versions: dict[str, str]

    @property
    def digest(self) -> str:
        """One SHA-256 of all that decides a score."""
        return hashlib.sha256((self.maps.model_dump_json() + self.bounds.model_dump_json()).encode()).hexdigest()


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write the file, complete or not at all."""
    write_json(path, calibration.model_dump(mode="json"))


def read_calibration(path: Path) -> Calibration:
    """Read the file.

    Raises:
        MissingFileError: no such file.
        ScoringError: it is something else, or of another version.
    """
    if not path.is_file():
        raise MissingFileError(
            f"There is no calibration {path}; `basereward calibrate MODEL PAIRS --out {path}` writes it."
        )
    try:
        return Calibration.model_validate(read_json(path))
    except (ValidationError, ValueError) as error:
        raise ScoringError(
            f"{path} is no calibration of this version ({' '.join(str(error).split())[:200]}); `basereward calibrate` "
            "writes one."
        ) from error


def check_model(calibration: Calibration, about: About, path: Path) -> None:
    """Refuse a calibration that was fitted on the scores of another model.

    Device, backend and versions of libraries may differ. Where neither model tells all that decides its scores only
    what is known can be compared, which is said.

    Raises:
        ScoringError: another model; it says what differs.
    """
    before, own = calibration.model.identity, about.identity
    if before is None and own is None:
        _log.warning("%s does not tell what decides its scores; %s may be of another model.", about.name, path)
        # A file of before they were written down has none.
        before = calibration.model.partial
        own = about.facts if before else None
    unlike = differences(_without_free(before or {}), _without_free(own or {}))
    if unlike:
        raise ScoringError(
            f"{path} calibrates {calibration.model.name}, and {about.name} is another model: {'; '.join(unlike)}. "
            "Calibrate it anew."
        )


def _without_free(value: Any) -> Any:
    """Return an identity without the facts that may differ, also those of members."""
    if not isinstance(value, Mapping):
        return value
    # These stand beside the weights or the precision of a model; elsewhere a member or a task may be called so.
    free = _FREE if any(isinstance(value.get(name), str) for name in ("weights", "dtype")) else ()
    return {name: _without_free(own) for name, own in value.items() if name not in free}
