"""Work of many requests in shared batches: encoded in threads, then computed by one, the oldest first.

What is queued when the computing thread is free goes together. It waits a moment for requests that are being read or
encoded just then, of which the first would otherwise be computed alone, and for nothing else. A future that is
cancelled, because its client left or its time is over, is dropped wherever it stands; nothing more is computed for it.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import accumulate
from threading import Condition, Thread
from typing import Any, NamedTuple

from basereward.data.outcomes import Failure
from basereward.serving.engines import ComputedBatch, Engine, Outcome, Unit
from basereward.serving.refusals import INTERNAL, explain

# A batch that takes longer when all is over computes for nobody; its thread ends with the process.
_LAST_SECONDS = 1.0
logger = logging.getLogger(__name__)


class Batch(NamedTuple):
    """What was computed together: units, tokens, and seconds that the oldest unit had waited and computing took."""

    units: int
    tokens: int
    waited: float
    seconds: float


class Job:
    """An item on its way: its future gets a list of outcomes when the last one is known."""

    def __init__(self, size: int) -> None:
        self.future: Future[list[Outcome]] = Future()
        self.born = time.monotonic()
        self._found: dict[int, Outcome] = {}
        self._size = size

    @property
    def is_wanted(self) -> bool:
        """Whether anyone waits for it."""
        return not self.future.cancelled()

    def add(self, places: Sequence[int], outcomes: Sequence[Outcome]) -> None:
        """Take the outcomes of some places."""
        self._found.update(zip(places, outcomes, strict=True))
        # Taken by one thread at a time, but the waiting side may cancel in between.
        if len(self._found) == self._size and self.future.set_running_or_notify_cancel():
            self.future.set_result([self._found[place] for place in range(self._size)])


class _QueuedUnit(NamedTuple):
    job: Job
    unit: Unit


class Batcher:
    """Runs an engine for any number of callers.

    Args:
        engine: what computes.
        threads: how many threads prepare.
        on_batch: told of every batch, from the computing thread.
        company: seconds to wait for what is being read or prepared, unless a batch is full.
    """

    def __init__(
        self,
        engine: Engine,
        threads: int,
        on_batch: Callable[[Batch], None] = lambda batch: None,
        company: float = 0.0,
    ) -> None:
        self.engine = engine
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="prepare")
        self._on_batch = on_batch
        self._company = company
        self._coming = 0
        self._waiting: deque[_QueuedUnit] = deque()
        self._changed = Condition()
        self._is_stopped = False
        self._computing = Thread(target=self._run, name="compute", daemon=True)
        self._computing.start()

    def submit(self, item: Any) -> Future[list[Outcome]]:
        """Return the future outcomes of an item, which may be cancelled at any time."""
        job = Job(self.engine.size(item))
        with self._changed:
            self._coming += 1
        self.pool.submit(self._prepare, job, item)
        return job.future

    @contextmanager
    def expect(self) -> Iterator[None]:
        """Know that something will be submitted within the context."""
        with self._changed:
            self._coming += 1
        try:
            yield
        finally:
            self._arrive()

    @property
    def is_alive(self) -> bool:
        """Whether the computing thread has not ended."""
        return self._computing.is_alive()

    def waiting(self) -> int:
        """Return the number of units that are ready to be computed."""
        return len(self._waiting)

    def stop(self) -> None:
        """End the threads; what has not been computed is cancelled, and what is being computed waited for briefly."""
        self.pool.shutdown(wait=False, cancel_futures=True)
        with self._changed:
            self._is_stopped = True
            self._changed.notify()
        self._computing.join(_LAST_SECONDS)
        for task in self._waiting:
            task.job.future.cancel()

    def _arrive(self) -> None:
        with self._changed:
            self._coming -= 1
            self._changed.notify()

    def _prepare(self, job: Job, item: Any) -> None:
        try:
            if job.is_wanted:
                self._encode(job, item)
        finally:
            self._arrive()

    def _encode(self, job: Job, item: Any) -> None:
        try:
            prepared = self.engine.prepare(item)
        except Exception:  # a fault of one item ends neither the thread nor the others
            logger.exception("An item could not be prepared.")
            size = self.engine.size(item)
            job.add(range(size), [_BROKEN] * size)
            return
        # Before any unit can be computed, so that one thread at a time adds outcomes.
        job.add(list(prepared.known), list(prepared.known.values()))
        with self._changed:
            self._waiting.extend(_QueuedUnit(job, unit) for unit in prepared.units)
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_stopped)
                if self._company:
                    self._changed.wait_for(self._is_ready, self._company)
                if self._is_stopped:
                    return
                tasks = self._take()
            if tasks:
                self._compute(tasks)

    def _is_ready(self) -> bool:
        """Whether a batch is full or nothing more is coming."""
        if self._is_stopped or not self._coming:
            return True
        filled = accumulate(task.unit.tokens for task in self._waiting)
        return any(tokens >= self.engine.cap for tokens in filled)

    def _take(self) -> list[_QueuedUnit]:
        """Remove the oldest units that fill a batch, and with them younger ones that begin like these and still fit.

        The first unit is taken whatever its size. Once one with another beginning does not fit, no further one is
        begun, so that a large unit is not overtaken for ever.
        """
        taken: list[_QueuedUnit] = []
        left: deque[_QueuedUnit] = deque()
        begun: set[Any] = set()
        filled, is_full = 0, False
        for task in self._waiting:
            if not task.job.is_wanted:
                continue
            unit = task.unit
            shared = next((own.tokens for own in unit.beginnings if own.key in begun), 0)
            size, is_known = unit.tokens - shared, shared > 0
            if taken and (filled + size > self.engine.cap or (is_full and not is_known)):
                is_full = is_full or not is_known
                left.append(task)
                continue
            taken.append(task)
            begun.update(own.key for own in unit.beginnings)
            filled += size
        self._waiting = left
        return taken

    def _compute(self, tasks: Sequence[_QueuedUnit]) -> None:
        start = time.monotonic()
        try:
            computed = self.engine.compute([task.unit for task in tasks])
        except Exception:
            if len(tasks) > 1:
                # One of them is to blame; the others are computed all the same.
                for task in tasks:
                    self._compute([task])
                return
            logger.exception("A batch could not be computed.")
            computed = ComputedBatch([[_BROKEN] * len(tasks[0].unit.places)], 0)
        end = time.monotonic()
        for task, outcomes in zip(tasks, computed.outcomes, strict=True):
            task.job.add(task.unit.places, outcomes)
        self._on_batch(Batch(len(tasks), computed.tokens, start - min(task.job.born for task in tasks), end - start))


_BROKEN = Failure(INTERNAL, explain(INTERNAL))
