"""SIGTERM and Ctrl-C: a run ends after the step that it is in, and saves where it is."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from basereward.training.launch import agree_on_largest

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopOnSignal(TrainerCallback):
    """Asks for a checkpoint and the end of the run once any rank has received a signal.

    Ranks receive it at different moments, or only some of them do; they agree after every step, because a checkpoint
    is written by all of them together.
    """

    def __init__(self) -> None:
        self.received = 0
        self.stopped_by = 0
        self._process = os.getpid()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals until the block ends; a second one does what it did before."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may take signals
            return
        before = {number: signal.signal(number, self._receive) for number in SIGNALS}
        self._before = before
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def agreed(self) -> bool:
        """Whether the run is to stop (collective)."""
        self.stopped_by = self.stopped_by or agree_on_largest(self.received)
        return self.stopped_by > 0

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Save and stop, whether or not a checkpoint is due."""
        if self.agreed():
            control.should_save = control.should_training_stop = True

    def _receive(self, number: int, frame: FrameType | None) -> None:
        # Loader processes that are forked inherit this handler; they end when the run does.
        if os.getpid() != self._process:
            return
        if self.received:
            signal.signal(number, self._before[signal.Signals(number)])
            signal.raise_signal(number)
            return
        self.received = number
        name = signal.Signals(number).name
        print(f"{name}: saving a checkpoint after this step; once more stops at once", file=sys.stderr, flush=True)


def start_loader(worker: int, seed: Callable[[int], None] | None = None) -> None:
    """Begin a loader process: out of the run's process group, then seeded.

    A terminal sends Ctrl-C to the whole group, and schedulers send SIGTERM so; a loader that dies of it would end the
    step that is still to be finished.
    """
    os.setpgrp()
    if seed:
        seed(worker)
