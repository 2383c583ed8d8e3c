"""Groups whose rollouts lie on several ranks: put together on one of them, and their rewards brought back.

Every rank takes part in both exchanges, also one that failed, so that none waits for another forever.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from basereward.errors import BaseRewardError, RewardError
from basereward.rl.adapters.rollout import Rollout, group_lengths, make_rollouts, rollout_key
from basereward.rl.rewards import GroupRewards, Reward, Rollouts


@dataclass(frozen=True, slots=True)
class Ranks:
    """The processes of a run.

    Args:
        rank: of this one.
        count: how many there are.
        gather: returns the lists of all ranks as one, in the order of the ranks.
    """

    rank: int
    count: int
    gather: Callable[[list[Any]], list[Any]]


class _SentRollout(NamedTuple):
    """A rollout as other ranks need it: where it lies, of which group it is, and what was answered."""

    rank: int
    place: int
    key: str
    response: Any
    is_truncated: bool | None


class _Problem(NamedTuple):
    """Why a rank failed."""

    message: str


def current_ranks() -> Ranks:
    """Return the ranks of the running trainer, by Accelerate."""
    from accelerate import PartialState
    from accelerate.utils import gather_object

    state = PartialState()
    return Ranks(state.process_index, state.num_processes, gather_object)


def gathered_rewards(
    reward: Callable[[Sequence[Rollouts]], Sequence[GroupRewards]],
    read: Callable[[], Sequence[Rollout]],
    ranks: Ranks,
    size: int | None,
) -> list[Reward]:
    """Return the reward of each rollout of this rank, from groups that are put together over all ranks.

    A group is rewarded where its first rollout lies; only texts travel, because prompt and images lie there too.

    Args:
        reward: rewards whole groups.
        read: returns the rollouts of this rank, or raises.
        size: responses of a group; by default all that stand together with one prompt.

    Raises:
        RewardError: on every rank, if any rank fails or a group is not complete.
    """
    rows: list[Rollout] = []

    def send() -> list[Any]:
        rows.extend(read())
        return [_send(ranks.rank, place, row) for place, row in enumerate(rows)]

    everyone = _agreed(ranks.gather(_attempt(send)))
    outcomes = _agreed(ranks.gather(_attempt(lambda: _reward_own(reward, rows, everyone, ranks.rank, size))))
    own = {place: value for rank, place, value in outcomes if rank == ranks.rank}
    return [own[place] for place in range(len(rows))]


def _send(rank: int, place: int, row: Rollout) -> _SentRollout:
    return _SentRollout(rank, place, rollout_key(row), row.response, row.is_truncated)


def _reward_own(
    reward: Callable[[Sequence[Rollouts]], Sequence[GroupRewards]],
    rows: Sequence[Rollout],
    everyone: Sequence[_SentRollout],
    rank: int,
    size: int | None,
) -> list[tuple[int, int, Reward]]:
    """Return rank, place and reward of every rollout of the groups that begin on this rank."""
    groups = []
    begin = 0
    for length in group_lengths([one.key for one in everyone], size):
        groups.append(everyone[begin : begin + length])
        begin += length
    if broken := [len(group) for group in groups if size and len(group) != size]:
        raise RewardError(f"Found a group of {broken[0]} rollouts of one prompt in a row; expected {size}.")
    own = [group for group in groups if group[0].rank == rank]
    rollouts = [
        make_rollouts(
            [replace(rows[group[0].place], response=one.response, is_truncated=one.is_truncated) for one in group],
            f"prompt {group[0].place} of rank {rank}",
        )
        for group in own
    ]
    return [
        (one.rank, one.place, value)
        for group, rewarded in zip(own, reward(rollouts), strict=True)
        for one, value in zip(group, rewarded.rewards, strict=True)
    ]


def _attempt(work: Callable[[], list[Any]]) -> list[Any]:
    """Return what work gives, or what is wrong, so that the other ranks can be told."""
    try:
        return work()
    except BaseRewardError as error:
        return [_Problem(str(error))]
    except Exception as error:
        return [_Problem(f"{type(error).__name__}: {error}")]


def _agreed(gathered: Sequence[Any]) -> list[Any]:
    """Return what all ranks sent.

    Raises:
        RewardError: one of them failed.
    """
    if failed := [one.message for one in gathered if isinstance(one, _Problem)]:
        raise RewardError(f"Rewards failed on {len(failed)} ranks: {failed[0]}")
    return list(gathered)
