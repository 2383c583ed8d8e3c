"""Calibrates a scorer on pairs: scores them, chooses maps, finds bounds, and says what is gained."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from basereward import __version__
from basereward.data.arrangement import ReadOptions
from basereward.data.identity import WorkInput
from basereward.data.outcomes import About
from basereward.data.pairs import load_pairs
from basereward.data.places import open_place
from basereward.data.progress import Progress, no_progress
from basereward.data.work import open_work
from basereward.errors import DataError, ScoringError, WorkError
from basereward.scoring.calibration.artifact import CalibratedModel, Calibration, CalibrationData, write_calibration
from basereward.scoring.calibration.bounds import fit_bounds
from basereward.scoring.calibration.choice import MapName, check_asked, choose_maps
from basereward.scoring.calibration.fitting import LEAST
from basereward.scoring.calibration.maps import Maps
from basereward.scoring.calibration.reference import ReferenceSet, ScoredPairs, score_pairs
from basereward.scoring.calibration.reliability import Reliability, measure_reliability
from basereward.scoring.interface import Scorer


def calibrate(
    scorer: Scorer,
    pairs: str,
    out: Path,
    asked: Sequence[MapName] = (),
    alpha: float = 0.1,
    options: ReadOptions | None = None,
    limit: int | None = None,
    overwrite: bool = False,
    on_progress: Progress = no_progress,
) -> Calibration:
    """Calibrate a scorer on pairs and write the file.

    Args:
        pairs: file, folder or hub id; not what the model was trained on.
        asked: as ``choose_maps``.
        alpha: at most this share of new pairs is called wrongly.
        limit: use only the first pairs.

    Raises:
        ScoringError: nothing to remove, too few pairs, two scales, or the scorer is calibrated already.
        DataError: the pairs changed while they were scored.
        WorkError: the file is there, or another process writes it.
        BaseRewardError: as ``load_pairs``.
    """
    check_asked(asked)
    with open_work(out):
        if out.exists() and not overwrite:
            raise WorkError(f"{out} is there already; choose another --out, or give --overwrite.")
        about = scorer.about
        if "calibration" in about.facts:
            raise ScoringError(f"{about.name} is calibrated already; calibrate the model itself.")
        source = WorkInput(name=pairs, sha256=open_place(pairs).describe().sha256)
        loaded = load_pairs([pairs], limit=limit, options=options)
        scored = score_pairs(scorer, loaded.pairs, about.sees_images, on_progress)
        _check_size(scored)
        maps, candidates = choose_maps(_fitted_on(scored.reference), asked, about.sees_images)
        if open_place(pairs).describe().sha256 != source.sha256:
            raise DataError(f"{pairs} changed while it was scored; calibrate anew.")
        calibration = _describe(about, source, scored, maps, alpha).model_copy(update={"candidates": candidates})
        write_calibration(out, calibration)
    return calibration


def _fitted_on(reference: ReferenceSet) -> ReferenceSet:
    return reference.take(~reference.is_held_out)


def _describe(about: About, source: WorkInput, scored: ScoredPairs, maps: Maps, alpha: float) -> Calibration:
    reference = scored.reference
    held_out = reference.take(reference.is_held_out)
    raw, mapped = held_out.margins(Maps()), held_out.margins(maps)
    return Calibration(
        model=CalibratedModel(
            name=about.name,
            identity=None if about.identity is None else about.facts,
            partial=about.facts if about.identity is None else None,
        ),
        data=CalibrationData(
            name=source.name,
            sha256=source.sha256,
            pairs=len(reference.prompts),
            prompts=len(np.unique(reference.prompts)),
            held_out=len(held_out.prompts),
            failed=dict(scored.failed),
        ),
        maps=maps,
        bounds=fit_bounds(mapped, held_out.shows, held_out.prompts, alpha),
        candidates=(),
        before=_reliability(held_out, raw),
        after=_reliability(held_out, mapped),
        accuracy_before=_accuracy(raw),
        accuracy_after=_accuracy(mapped),
        versions={"basereward": __version__, "numpy": np.__version__},
    )


def _reliability(reference: ReferenceSet, margins: np.ndarray) -> Reliability:
    return measure_reliability(margins, reference.prompts)


def _accuracy(margins: np.ndarray) -> float:
    return float(np.mean((margins > 0) + 0.5 * (margins == 0)))


def _check_size(scored: ScoredPairs) -> None:
    """Refuse to fit on next to nothing.

    Raises:
        ScoringError: fewer than 100 prompts to fit on, or none to hold out.
    """
    prompts, failed = scored.reference.prompts, sum(scored.failed.values())
    if len(np.unique(prompts[~scored.reference.is_held_out])) < LEAST or not scored.reference.is_held_out.any():
        told = f" {failed} more have no score: {dict(scored.failed)}." if failed else ""
        raise ScoringError(
            f"Found {len(prompts)} scored pairs of {len(np.unique(prompts))} prompts, a fifth of which are held out; "
            f"expected {LEAST} prompts to fit on, and better 1,000.{told}"
        )
