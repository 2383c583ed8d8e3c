"""Numbers as external programs write them: checked, and in percent."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from basereward.errors import DataError
from basereward.rl.policy.benchmarks import NumberPlace


class FoundNumber(NamedTuple):
    """A number in percent, the file that has it, and what the program says of it."""

    value: float
    file: Path
    items: int | None = None
    judge: str | None = None
    notes: tuple[str, ...] = ()


class NotThere(NamedTuple):
    """Why a number is missing."""

    why: str


Numbers = Mapping[str, FoundNumber] | NotThere


def to_percent(value: Any, place: NumberPlace, file: Path) -> float:
    """Return a number of a file in percent.

    Raises:
        DataError: it is no number in the range of its scale, so that it means something else.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    # A score against a reference answer may be better than it.
    most = place.scale * (2 if place.scale == 100 else 1)
    if not 0 <= number <= most:
        raise DataError(f"{file}: found {value!r} under {' / '.join(place.key)}, expected a number from 0 to {most}.")
    return 100 * number / place.scale
