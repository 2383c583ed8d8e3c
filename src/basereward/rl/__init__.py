"""Rewards for reinforcement learning: rules, models and both, with the images, in the forms of RL frameworks."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from basereward.rl.adapters.trl import trl_reward
    from basereward.rl.reward_function import RewardFunction

__all__ = ["RewardFunction", "trl_reward"]


def __getattr__(name: str) -> Any:
    """Import what is asked for, so that an adapter of a framework does not bring the others."""
    if name == "trl_reward":
        from basereward.rl.adapters.trl import trl_reward

        return trl_reward
    if name == "RewardFunction":
        from basereward.rl.reward_function import RewardFunction

        return RewardFunction
    raise AttributeError(f"module 'basereward.rl' has no attribute {name!r}")
