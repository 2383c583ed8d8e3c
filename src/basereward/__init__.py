"""Reward models for multimodal LLMs: train them, know how good they are, use them."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from basereward.models.reward_model import RewardModel

__version__ = "0.1.0"
__all__ = ["RewardModel", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the model class when it is asked for, so that ``import basereward`` stays without torch."""
    if name == "RewardModel":
        from basereward.models.reward_model import RewardModel

        return RewardModel
    raise AttributeError(f"module 'basereward' has no attribute {name!r}")
