"""What a run shows and writes while it trains: a progress bar on stderr and ``metrics.jsonl``."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK, get_available_reporting_integrations

from basereward.errors import TrainingError
from basereward.registry import close_names


def check_loggers(names: Sequence[str]) -> None:
    """Check that transformers knows these loggers and that they are installed.

    Raises:
        TrainingError: one is not there.
    """
    known = sorted(INTEGRATION_TO_CALLBACK)
    for name in names:
        if name not in known:
            hint = f"{close_names(name, known)} Known: {', '.join(known)}."
            raise TrainingError(f"run.report_to: there is no logger {name!r}.{hint}")
        if name not in get_available_reporting_integrations():
            raise TrainingError(f"run.report_to: the logger {name!r} is not installed; install it, or leave it out.")


class MetricsFile(TrainerCallback):
    """Appends every log line to ``metrics.jsonl``."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """End the window of a log line at every checkpoint, so that a resumed run logs the same, and at the end."""
        if control.should_save or state.global_step >= state.max_steps:
            control.should_log = True

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **kwargs: Any
    ) -> None:
        """Write one line: the step and what was logged."""
        if state.is_world_process_zero:
            with self.file.open("a", encoding="utf-8") as opened:
                opened.write(json.dumps({"step": state.global_step, **(logs or {})}) + "\n")


class ProgressBar(TrainerCallback):
    """Shows steps, loss and accuracy on stderr, and says once when the run waits for its data."""

    # Above this share of the time, more loader processes would speed the run up.
    SLOW_DATA = 0.25
    # Before this step the share is that of the loader's start.
    SETTLED = 20

    def __init__(self) -> None:
        self.bar: Any = None
        self.has_warned = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the bar at the resumed step."""
        if state.is_world_process_zero:
            self.bar = tqdm(
                total=state.max_steps,
                initial=state.global_step,
                desc="train",
                unit="step",
                file=sys.stderr,
                mininterval=1,
            )

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Move on by one step."""
        if self.bar is not None:
            self.bar.update(1)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **kwargs: Any
    ) -> None:
        """Show the newest loss and accuracies."""
        if self.bar is None or not logs:
            return
        shown = {name: f"{logs[name]:.3f}" for name in ("loss", "accuracy", "eval_accuracy") if name in logs}
        if shown:
            self.bar.set_postfix(shown)
        is_slow = state.global_step >= self.SETTLED and logs.get("data_wait_share", 0.0) > self.SLOW_DATA
        if is_slow and not self.has_warned:
            self.has_warned = True
            share = logs["data_wait_share"]
            self.bar.write(f"waiting for data {share:.0%} of the time: raise hardware.workers", file=sys.stderr)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()
