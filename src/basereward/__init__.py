"""Reward models for multimodal LLMs: train them, know how good they are, use them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from basereward.data.pairs import load_pairs
    from basereward.data.schema import ResponseGroup
    from basereward.evaluation.start import start_evaluation as evaluate
    from basereward.models.reward_model import RewardModel
    from basereward.scoring.interface import Scorer
    from basereward.scoring.spec import open_scorer
    from basereward.training.start import start_training as train

__version__ = "0.2.0"
__all__ = [
    "ResponseGroup",
    "RewardModel",
    "Scorer",
    "__version__",
    "evaluate",
    "load_pairs",
    "open_scorer",
    "train",
]
_PLACES = {
    "ResponseGroup": "basereward.data.schema:ResponseGroup",
    "RewardModel": "basereward.models.reward_model:RewardModel",
    "Scorer": "basereward.scoring.interface:Scorer",
    "evaluate": "basereward.evaluation.start:start_evaluation",
    "load_pairs": "basereward.data.pairs:load_pairs",
    "open_scorer": "basereward.scoring.spec:open_scorer",
    "train": "basereward.training.start:start_training",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is asked for, so that ``import basereward`` stays without torch."""
    if name not in _PLACES:
        raise AttributeError(f"module 'basereward' has no attribute {name!r}")
    module, _, attribute = _PLACES[name].partition(":")
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    """Return the public names, those that are not imported yet too."""
    return sorted({*globals(), *__all__})
