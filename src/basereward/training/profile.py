"""A trace of some steps of a run, for the question where their time goes."""

import gzip
import logging
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from pydantic import Field
from torch.profiler import ProfilerActivity, profile
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from basereward.configuration import Section
from basereward.data.io import replacing
from basereward.errors import TrainingError

_log = logging.getLogger(__name__)


class ProfileSteps(Section):
    """Write a trace of some optimiser steps, which takes time and changes no number."""

    start: int = Field(default=10, ge=1)
    """The first of them; caches and kernels are settled after a few."""
    steps: int = Field(default=3, ge=1)
    """How many; each takes tens of megabytes."""

    @property
    def last(self) -> int:
        """The last of them."""
        return self.start + self.steps - 1

    def check(self, steps: int) -> None:
        """Refuse steps that a run of so many does not take.

        Raises:
            TrainingError: it ends before.
        """
        if self.last > steps:
            raise TrainingError(
                f"run.profile_steps asks for steps {self.start} to {self.last}, and the run has {steps}; lower start."
            )


class StepProfiler(TrainerCallback):
    """Writes ``trace-START-LAST.json.gz`` in Chrome's format on the first rank; a resumed run only if it takes START.

    Args:
        asked: which steps.
        folder: the run folder.
    """

    def __init__(self, asked: ProfileSteps, folder: Path) -> None:
        self.asked, self.folder = asked, folder
        self._profile: Any = None

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin with the first of the steps."""
        if state.is_world_process_zero and state.global_step + 1 == self.asked.start:
            activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
            self._profile = profile(activities=activities, record_shapes=True)
            self._profile.start()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Write the trace after the last of the steps."""
        if state.global_step == self.asked.last:
            self._end(state.global_step)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write the trace of a run that ends between them: a signal ends it, or an evaluation that is no better."""
        self._end(state.global_step)

    def close(self) -> None:
        """Leave off profiling where a step failed."""
        if self._profile is not None:
            self._profile.stop()
            self._profile = None

    def _end(self, last: int) -> None:
        if self._profile is not None:
            done, self._profile = self._profile, None
            done.stop()
            self._write(done, last)

    def _write(self, done: Any, last: int) -> None:
        file = self.folder / f"trace-{self.asked.start}-{last}.json.gz"
        with TemporaryDirectory(dir=self.folder, prefix=".trace-") as folder:
            # The profiler knows one kind of end, and would give a temporary name of ours another.
            plain = Path(folder) / "trace.json"
            done.export_chrome_trace(str(plain))
            with replacing(file) as temporary, plain.open("rb") as read, gzip.open(temporary, "wb") as written:
                shutil.copyfileobj(read, written)
        _log.info("Steps %d to %d are traced in %s; open it at ui.perfetto.dev.", self.asked.start, last, file)
