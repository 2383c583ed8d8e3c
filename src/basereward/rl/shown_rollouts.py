"""Rollouts to look at, as ``rollouts.jsonl`` holds them: some groups of some steps of a run."""

from pathlib import Path

from pydantic import ValidationError

from basereward.configuration import Section
from basereward.data.io import read_log
from basereward.errors import DataError

ROLLOUTS = "rollouts.jsonl"


class ShownRollout(Section):
    """A response of a group."""

    response: str
    reward: float | None
    model_reward: float | None
    matched: bool | None
    truncated: bool


class ShownGroup(Section):
    """A prompt with its rollouts: a line of ``rollouts.jsonl``."""

    step: int
    prompt: str
    answer: str | None
    images: list[str]
    """Thumbnails, within the run folder."""
    rollouts: list[ShownRollout]
    """From the highest reward down; those without one come last."""


def read_rollouts(folder: Path) -> list[ShownGroup]:
    """Return the groups that a run kept, none if it kept none.

    Raises:
        DataError: the file is broken.
    """
    path = folder / ROLLOUTS
    try:
        return [ShownGroup.model_validate(line) for line in read_log(path)] if path.is_file() else []
    except ValidationError as error:
        raise DataError(f"{path} holds no rollouts: {error.errors()[0]['msg']}.") from error
