"""Rollouts of a framework in, rewards out: what the adapters share."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from basereward.data.outcomes import Failure
from basereward.errors import RewardError
from basereward.rl.adapters.rollout import Rollout, group_lengths, make_rollouts, rollout_key
from basereward.rl.options import RewardOptions
from basereward.rl.reward_function import RewardFunction
from basereward.rl.rewards import GroupRewards, Reward, Rollouts, Scheme


@dataclass(frozen=True, slots=True)
class RolloutReward:
    """What is known of one rollout: its reward, the raw one of the model, whether it matched, and what failed."""

    reward: Reward
    model: Reward
    matched: bool | None
    failure: Failure | None = None

    def required(self) -> float:
        """Return the reward, for frameworks that have no place for a missing one.

        Raises:
            RewardError: there is none; to such a framework nothing else would tell it from a number.
        """
        if self.reward is not None:
            return self.reward
        why = f"{self.failure.reason}: {self.failure.message}" if self.failure else "it was cut off by the limit"
        raise RewardError(f"A response has no reward ({why}); this framework would count it as 0.")


def read_options(options: RewardOptions | dict[str, Any] | None) -> RewardOptions | None:
    """Return options that a configuration of a framework gives as a mapping.

    Raises:
        RewardError: an unknown key or a value of the wrong kind.
    """
    if options is None or isinstance(options, RewardOptions):
        return options
    try:
        return RewardOptions.model_validate(dict(options))
    except ValueError as error:
        raise RewardError(f"The options of the reward are wrong: {error}") from error


def open_reward(model: Any, scheme: Scheme, options: RewardOptions | dict[str, Any] | None) -> RewardFunction:
    """Return the reward function of a spec, or the one that is given.

    Raises:
        BaseRewardError: as ``RewardFunction``.
    """
    return model if isinstance(model, RewardFunction) else RewardFunction(model, scheme, read_options(options))


def open_single_reward(
    model: Any, scheme: Scheme, options: RewardOptions | dict[str, Any] | None, asker: str
) -> RewardFunction:
    """Return what ``open_reward`` does, for one that asks about one response at a time.

    Args:
        asker: who asks so, as a sentence begins: ``verl asks``.

    Raises:
        RewardError: responses are compared, by a tournament or by the model.
        BaseRewardError: as ``RewardFunction``.
    """
    # Before a judge is asked whether it is there.
    function = None if scheme == "tournament" else open_reward(model, scheme, options)
    if function is None or function.compares:
        name = function.name if function else "a tournament"
        raise RewardError(f"{asker} for one response at a time; {name} compares, and needs all responses of a prompt.")
    return function


def group_rollouts(rows: Sequence[Rollout], size: int | None = None) -> list[Rollouts]:
    """Return the groups that neighbours with one prompt make.

    Raises:
        RewardError: as ``make_rollouts``.
    """
    groups = []
    begin = 0
    for length in group_lengths([rollout_key(row) for row in rows], size):
        groups.append(make_rollouts(rows[begin : begin + length], f"row {begin}"))
        begin += length
    return groups


def reward_rollouts(function: RewardFunction, rows: Sequence[Rollout], size: int | None = None) -> list[RolloutReward]:
    """Return the reward of each rollout; neighbours with one prompt share its computation.

    Args:
        size: responses of a group; what compares them needs groups of just so many.

    Raises:
        RewardError: a group that is compared is not complete, or as a call of the function.
    """
    return spread(function(check_groups(function, group_rollouts(rows, size), size)))


def reward_scattered(function: RewardFunction, rows: Sequence[Rollout]) -> list[RolloutReward]:
    """Return the reward of each rollout, where those of one prompt may stand anywhere.

    Raises:
        RewardError: as ``reward_rollouts``.
    """
    keys = [rollout_key(row) for row in rows]
    first = {key: place for place, key in reversed(list(enumerate(keys)))}
    order = sorted(range(len(rows)), key=lambda place: (first[keys[place]], place))
    found = reward_rollouts(function, [rows[place] for place in order])
    return [one for _, one in sorted(zip(order, found, strict=True), key=lambda own: own[0])]


async def reward_rollouts_async(
    function: RewardFunction, rows: Sequence[Rollout], size: int | None = None
) -> list[RolloutReward]:
    """Return what ``reward_rollouts`` does, without holding up an event loop.

    Raises:
        RewardError: as ``reward_rollouts``.
    """
    groups = await asyncio.to_thread(group_rollouts, rows, size)
    return spread(await function.call_async(check_groups(function, groups, size)))


def check_groups(function: RewardFunction, groups: list[Rollouts], size: int | None) -> list[Rollouts]:
    """Return groups as they are if every one is complete where that matters.

    Raises:
        RewardError: a group that is compared, such as that of a tournament, is not.
    """
    lengths = [len(group.group.responses) for group in groups]
    if function.compares and any(length != size if size else length < 2 for length in lengths):
        raise RewardError(
            f"{function.name} compares responses and needs all {size or 'responses'} of a prompt in a row; found "
            f"groups of {sorted(set(lengths))}. Rollouts are shuffled, or split over processes that cannot be asked."
        )
    return groups


def spread(rewarded: Sequence[GroupRewards]) -> list[RolloutReward]:
    """Return the rewards of groups one by one."""
    return [
        RolloutReward(reward, model, None if one is None else one.matched, group.failures.get(place))
        for group in rewarded
        for place, (reward, model, one) in enumerate(
            zip(group.rewards, group.model_rewards, group.matches, strict=True)
        )
    ]
