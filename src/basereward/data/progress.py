"""How long work says how far it is."""

from collections.abc import Callable

# Called with what is done and what there is to do, in the same unit.
Progress = Callable[[int, int], None]


def no_progress(done: int, total: int) -> None:
    """Say nothing."""
