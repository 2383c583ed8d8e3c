"""A scorer whose rewards are changed by a calibration: the same numbers in Python, on a server and in RL."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from basereward.data.outcomes import HIGH, LOW, RAW, About, Failure, Score, Scored
from basereward.data.schema import ResponseGroup
from basereward.scoring.calibration.artifact import Calibration, check_model, read_calibration
from basereward.scoring.calibration.forms import GroupForm, read_form
from basereward.scoring.calibration.maps import RawResponses
from basereward.scoring.interface import Scorer, checked_scores, finite


class Calibrated:
    """Scores with another scorer and maps each reward; failures stay failures.

    ``Score.parts`` gains the raw reward and an interval: of two responses to a prompt whose intervals do not overlap,
    the higher one is called better.

    Args:
        scorer: what scores.
        calibration: fitted on its scores.
    """

    def __init__(self, scorer: Scorer, calibration: Calibration) -> None:
        self.scorer = scorer
        self.calibration = calibration

    @cached_property
    def about(self) -> About:
        """What the scorer says of itself; the identity has the digest of the calibration beside it."""
        own = self.scorer.about
        facts = {**own.facts, "calibration": self.calibration.digest}
        return replace(own, partial=facts) if own.identity is None else replace(own, identity=facts)

    @property
    def model(self) -> Any:
        """The model in this process, None if there is none."""
        return getattr(self.scorer, "model", None)

    @property
    def template(self) -> Any:
        """What turns conversations into tokens, None if nothing does."""
        return getattr(self.scorer, "template", None)

    @property
    def weight_bytes(self) -> int | None:
        """The bytes of weights that are held, None if they are those of ``model``."""
        return getattr(self.scorer, "weight_bytes", None)

    def score(self, groups: Sequence[ResponseGroup]) -> list[list[Scored]]:
        """Return a score or a failure for each response of each group, in order."""
        return self._map(groups, checked_scores(self.scorer, groups))

    def form(self, group: ResponseGroup) -> GroupForm | Failure:
        """Return what the maps see of a group; a failure if an image cannot be read."""
        return read_form(group, self.calibration.maps.visual is not None)

    def map_scores(self, form: GroupForm | Failure, scores: Sequence[Scored]) -> list[Scored]:
        """Return the mapped scores of a group from its raw ones; a failure for all without their form."""
        if isinstance(form, Failure):
            return [score if isinstance(score, Failure) else form for score in scores]
        count = len(scores)
        raw = np.array([np.nan if isinstance(score, Failure) else score.value for score in scores], dtype=np.float64)
        shows = np.full(count, form.shows)
        responses = RawResponses(raw, form.features, np.full(count, form.visual), shows)
        mapped, reach = self.calibration.maps.apply(responses), self.calibration.bounds.half_widths(shows)
        return [
            score if isinstance(score, Failure) else _changed(score, value, half)
            for score, value, half in zip(scores, mapped.tolist(), reach.tolist(), strict=True)
        ]

    def _map(self, groups: Sequence[ResponseGroup], scores: Sequence[Sequence[Scored]]) -> list[list[Scored]]:
        return [self.map_scores(self.form(group), own) for group, own in zip(groups, scores, strict=True)]


class CalibratedRemote(Calibrated):
    """A calibrated scorer that can be awaited."""

    async def score_async(self, groups: Sequence[ResponseGroup]) -> list[list[Scored]]:
        """Return what ``score`` does, in an event loop."""
        return self._map(groups, await self.scorer.score_async(groups))  # type: ignore[attr-defined]


def _changed(score: Score, value: float, half: float) -> Scored:
    parts = {**(score.parts or {}), RAW: score.value, LOW: value - half, HIGH: value + half}
    return finite(replace(score, value=value, parts=parts))


def open_calibrated(scorer: Scorer, file: Path) -> Calibrated:
    """Return a scorer under the calibration of a file.

    Raises:
        MissingFileError: no such file.
        ScoringError: it is no calibration, or one of another model.
    """
    calibration = read_calibration(file)
    check_model(calibration, scorer.about, file)
    kind = CalibratedRemote if hasattr(scorer, "score_async") else Calibrated
    return kind(scorer, calibration)
