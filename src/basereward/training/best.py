"""Which evaluation of a run was the best, and when a run stops for want of a better one."""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from pydantic import Field
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from basereward.configuration import Section


class BestCheckpoint(Section):
    """Keep the checkpoint whose evaluation was the best, and make the model of it."""

    metric: Literal["accuracy", "margin", "own_accuracy"] = "accuracy"
    """Of the validation pairs, the higher the better; ``own_accuracy`` is a critic's behind its own critiques."""
    of: str | None = None
    """The name of one of ``data.validation_sets``; ``data.validation`` if not given."""
    patience: int | None = Field(default=None, ge=1)
    """End the run after so many evaluations in a row without a better one."""

    @property
    def key(self) -> str:
        """What the metric is called in an evaluation."""
        return f"eval_{self.of}_{self.metric}" if self.of else f"eval_{self.metric}"

    def check_set(self, has_unnamed: bool, names: Sequence[str]) -> None:
        """Refuse a set that is not there.

        Raises:
            ValueError: names those that are.
        """
        if self.of is None and not has_unnamed:
            raise ValueError(f"run.best.of says by which of {', '.join(names)} evaluations are compared; set it")
        if self.of is not None and self.of not in names:
            raise ValueError(f"run.best.of: there is no set {self.of!r} in data.validation_sets: {', '.join(names)}")


class Judged(NamedTuple):
    """What an evaluation means for a run."""

    is_best: bool
    ends: bool


def judge_evaluation(best: BestCheckpoint, state: TrainerState, metrics: dict[str, float]) -> Judged:
    """Compare the newest evaluation with those before, and write it into the state if it is the best.

    Only a higher value is better: of equal ones the first stays, and what is no number is never the best.

    Args:
        state: with the newest evaluation in its log.
        metrics: of that evaluation.
    """
    value = metrics[best.key]
    if not math.isnan(value) and (state.best_metric is None or value > state.best_metric):
        state.best_metric, state.best_global_step = value, state.global_step
        return Judged(is_best=True, ends=False)
    return Judged(is_best=False, ends=is_patience_over(best, state))


def is_patience_over(best: BestCheckpoint, state: TrainerState) -> bool:
    """Whether so many evaluations came since the best one that the run ends.

    They are counted in the log in the state, which a checkpoint holds, so that a resumed run stops where the whole one
    does.
    """
    best_step = state.best_global_step or 0
    since = {entry["step"] for entry in state.log_history if best.key in entry and entry["step"] > best_step}
    return best.patience is not None and len(since) >= best.patience


class EvaluateAtEnd(TrainerCallback):
    """Evaluates at the last step, and ends the window of a log line wherever an evaluation may ask for a checkpoint."""

    def __init__(self, has_validation: bool, has_best: bool) -> None:
        self.has_validation, self.has_best = has_validation, has_best

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Ask for the last evaluation; a checkpoint inside a window would lose the sums of its first steps."""
        if self.has_validation and state.global_step >= state.max_steps:
            control.should_evaluate = True
        if self.has_best and control.should_evaluate:
            control.should_log = True
