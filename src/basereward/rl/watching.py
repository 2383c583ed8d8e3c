"""From rewarded rollouts to what monitors see of them, kept for them until they take it."""

from collections.abc import Callable, Sequence
from threading import Lock
from typing import NamedTuple

from basereward.data.outcomes import Score
from basereward.rl.rewards import GroupRewards, Rollouts
from basereward.rl.watched import WatchedGroup, WatchedResponse, format_flags


class WatchOptions(NamedTuple):
    """How monitors read rewards.

    Args:
        offset: the raw reward at which the hybrid scheme's sigmoid is 0.5.
        scale: how much raw reward one unit of that sigmoid is.
        count: the length of a response; its characters by default.
        has_model: whether a model was asked; what a tournament gives are points, whose sigmoid says nothing.
    """

    offset: float = 0.0
    scale: float = 1.0
    count: Callable[[str], int] = len
    has_model: bool = True


def watch_groups(
    rollouts: Sequence[Rollouts], rewarded: Sequence[GroupRewards], options: WatchOptions | None = None
) -> list[WatchedGroup]:
    """Return what monitors see of groups and their rewards."""
    chosen = options or WatchOptions()
    return [
        WatchedGroup(
            tuple(_watch(own, rewards, place, chosen) for place in range(len(own.group.responses))),
            len(own.group.images),
        )
        for own, rewards in zip(rollouts, rewarded, strict=True)
    ]


def _watch(own: Rollouts, rewards: GroupRewards, place: int, options: WatchOptions) -> WatchedResponse:
    said, match, text = rewards.scored[place], rewards.matches[place], own.group.responses[place].text
    known = said.value if options.has_model and isinstance(said, Score) else None
    return WatchedResponse(
        reward=rewards.rewards[place],
        model_reward=None if known is None else (known - options.offset) / options.scale,
        matched=None if match is None else match.matched,
        length=options.count(text),
        is_cut=own.is_truncated(place) if own.truncated else None,
        formats=format_flags(text),
    )


class WatchedRollouts:
    """Keeps what monitors see of each call of a reward function until one takes it: one of its ``observers``.

    Calls may come from any thread.

    Args:
        offset: as for ``WatchOptions``.
        scale: as for ``WatchOptions``.
        count: as for ``WatchOptions``.
        has_model: as for ``WatchOptions``; False for a tournament.
    """

    def __init__(
        self,
        offset: float = 0.0,
        scale: float = 1.0,
        count: Callable[[str], int] = len,
        has_model: bool = True,
    ) -> None:
        self._options = WatchOptions(offset, scale, count, has_model)
        self._groups: list[WatchedGroup] = []
        self._lock = Lock()

    def __call__(self, rollouts: Sequence[Rollouts], rewarded: Sequence[GroupRewards]) -> None:
        """Keep the groups of a call."""
        watched = watch_groups(rollouts, rewarded, self._options)
        with self._lock:
            self._groups += watched

    def take(self) -> list[WatchedGroup]:
        """Return the groups since the last time."""
        with self._lock:
            groups, self._groups = self._groups, []
        return groups
