"""Work split over processes, each of which receives once, when it starts, what all tasks share."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")
# Of a worker process: opening a mapped data set takes longer than most tasks, so it does not travel with each of them.
_received: list[Any] = []


def map_shared(function: Callable[..., R], shared: tuple[Any, ...], tasks: Sequence[T], workers: int) -> Iterator[R]:
    """Yield ``function(*shared, task)`` for each task in order; with one worker or task in this process.

    Args:
        workers: processes; with more than one, a script needs its ``if __name__ == "__main__"``.
    """
    if workers <= 1 or len(tasks) < 2:
        yield from (function(*shared, task) for task in tasks)
        return
    # Spawned, not forked: the caller may hold threads or a CUDA context.
    with ProcessPoolExecutor(workers, get_context("spawn"), _receive, (function, shared)) as pool:
        yield from pool.map(_run, tasks)


def _receive(function: Callable[..., Any], shared: tuple[Any, ...]) -> None:
    _received[:] = function, shared


def _run(task: Any) -> Any:
    function, shared = _received
    return function(*shared, task)
