"""The exceptions of basereward: one root, and each class also inherits the standard one."""


class BaseRewardError(Exception):
    """Root of every error that basereward raises on purpose; ``status`` is what a command ends with."""

    status = 1


class DataError(BaseRewardError, ValueError):
    """A record, a file or a column is not what the schema says."""


class RowError(DataError):
    """One row cannot be used; ``reason`` is the key under which the drop is counted.

    Args:
        reason: a key of ``basereward.data.validation.DROP_REASONS``.
        message: what was found, what was expected, what to do.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class WorkError(DataError):
    """An output cannot be written: another process holds it, it holds other work, or the disk is full."""


class MissingFileError(BaseRewardError, FileNotFoundError):
    """A named file or folder does not exist."""


class UnknownNameError(BaseRewardError, KeyError):
    """A name is not registered; the message lists close matches."""

    def __str__(self) -> str:
        return str(self.args[0])


class RecipeError(BaseRewardError, ValueError):
    """A recipe has an unknown key or a value of the wrong kind."""


class TemplateError(BaseRewardError, ValueError):
    """A conversation cannot be turned into tokens without losing something."""


class CheckpointError(BaseRewardError, RuntimeError):
    """A checkpoint folder is incomplete or does not hold what it claims."""


class BackendError(BaseRewardError, RuntimeError):
    """An attention backend cannot compute this model exactly."""


class TrainingError(BaseRewardError, RuntimeError):
    """A run cannot start, or cannot go on without lying about its result."""


class StoppedError(BaseRewardError):
    """A signal stopped the work, which was saved first.

    Args:
        signal: its number; the status is 128 more, as shells say it.
        message: what was saved, and how to go on.
    """

    def __init__(self, signal: int, message: str) -> None:
        super().__init__(message)
        self.status = 128 + signal


class ScoringError(BaseRewardError, RuntimeError):
    """A response could not be scored."""


class RewardError(BaseRewardError, ValueError):
    """Rollouts cannot be rewarded as they were given; a reward would say nothing about the answers."""


class MissingExtraError(BaseRewardError, ImportError):
    """An optional dependency is not installed; the message names the extra."""
