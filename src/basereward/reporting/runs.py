"""What a run folder says about its run: everything that a report reads, and nothing else."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from basereward.data.io import read_json, read_log
from basereward.errors import DataError, MissingFileError
from basereward.evaluation.result import RESULT
from basereward.evaluation.runs import EvaluationRun, holds_evaluation, read_evaluation, read_facts
from basereward.rl.forecast import FORECAST, Forecast
from basereward.rl.monitors import MONITORS, StepRecord, read_monitors
from basereward.rl.run_facts import FACTS as RL_FACTS
from basereward.rl.run_facts import RlFacts
from basereward.rl.shown_rollouts import ShownGroup, read_rollouts

# Where the evaluation of a run stands that is no evaluation itself.
EVALUATION = "evaluation"
METRICS = "metrics.jsonl"
# Files of a run folder, any of which a report can be made of.
REPORTED = (RESULT, METRICS, MONITORS, FORECAST)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The result files of one run; what the folder lacks is empty.

    Args:
        facts: what ``result.json`` holds where it is not that of an evaluation.
        evaluation: that of the folder, or of the folder ``evaluation`` inside.
        monitors: the steps of ``monitors.jsonl``.
        forecast: that of ``forecast.json``.
        policy: what ``rl.json`` says of a finished run of reinforcement learning.
        rollouts: the groups of ``rollouts.jsonl``.
    """

    folder: Path
    recipe: str
    metrics: list[dict[str, Any]]
    facts: dict[str, Any]
    evaluation: EvaluationRun | None
    monitors: list[StepRecord] = field(default_factory=list)
    forecast: Forecast | None = None
    policy: RlFacts | None = None
    rollouts: list[ShownGroup] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The run's name: that of its folder."""
        return self.folder.resolve().name


def read_run(folder: Path) -> RunFolder:
    """Read the result files of a run folder.

    Raises:
        MissingFileError: no such folder.
        DataError: the folder holds nothing to report, or a file is not what its name says.
    """
    if not folder.is_dir():
        raise MissingFileError(f"There is no folder {folder}; expected one that train, rl, eval or forecast wrote.")
    recipe, result, metrics = (folder / name for name in ("recipe.yaml", RESULT, METRICS))
    is_evaluation = holds_evaluation(folder)
    facts = {} if is_evaluation else read_facts(result)
    place = folder if is_evaluation else folder / EVALUATION
    facts = {} if facts is None else facts
    if not isinstance(facts, dict):
        raise DataError(f"{result}: expected a JSON object, found {type(facts).__name__}.")
    run = RunFolder(
        folder,
        recipe.read_text(encoding="utf-8") if recipe.is_file() else "",
        read_log(metrics) if metrics.is_file() else [],
        facts,
        read_evaluation(place) if holds_evaluation(place) else None,
        read_monitors(folder / MONITORS) if (folder / MONITORS).is_file() else [],
        _read_forecast(folder / FORECAST),
        _read_policy(folder / RL_FACTS),
        read_rollouts(folder),
    )
    if not (run.metrics or run.facts or run.evaluation or run.monitors or run.forecast):
        raise DataError(f"{folder} holds none of {', '.join(REPORTED)} to report.")
    return run


def _read_policy(path: Path) -> RlFacts | None:
    if not path.is_file():
        return None
    try:
        return RlFacts.model_validate(read_json(path))
    except ValidationError as error:
        raise DataError(
            f"{path} says nothing of a run of reinforcement learning: {error.errors()[0]['msg']}."
        ) from error


def _read_forecast(path: Path) -> Forecast | None:
    if not path.is_file():
        return None
    try:
        return Forecast.model_validate(read_json(path))
    except ValidationError as error:
        raise DataError(f"{path} is no forecast: {error.errors()[0]['msg']}.") from error
