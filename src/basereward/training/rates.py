"""Learning rates of parts of a model, as groups of the optimiser."""

from typing import Any

from basereward.errors import TrainingError
from basereward.models.components import check_components, component_of
from basereward.models.reward_model import RewardModel
from basereward.training.options import PartRates

# The key of a group that says which part of the model it holds.
_PART = "part"


def check_rates(model: RewardModel, rates: PartRates) -> None:
    """Refuse a rate that nothing would train with.

    Args:
        model: with adapters, and frozen as wanted.

    Raises:
        TrainingError: the model has no such part, or none of its weights trains.
    """
    check_components(model, rates.named)
    trained = {component_of(name, model.family) for name, weight in model.named_parameters() if weight.requires_grad}
    for part in rates.named:
        if part not in trained:
            raise TrainingError(
                f"optimizer.learning_rates.{part}: no weight of this part trains, only those of "
                f"{', '.join(sorted(trained))}. Leave it out, or what freezes it: model.freeze, freeze_vision, "
                "freeze_backbone, or lora, whose adapters are of the language part."
            )


def split_by_rate(optimizer: Any, model: RewardModel, rates: PartRates) -> None:
    """Give each part of a model with a learning rate of its own groups of its own; the others stay together.

    Args:
        optimizer: new, with groups by weight decay.
    """
    own: dict[str, float] = rates.model_dump(exclude_none=True)
    if not own:
        return
    parts = {id(weight): component_of(name, model.family) for name, weight in model.named_parameters()}
    groups = []
    for group in optimizer.param_groups:
        shared = [weight for weight in group["params"] if parts[id(weight)] not in own]
        groups.append({**group, "params": shared})
        for part, rate in own.items():
            if weights := [weight for weight in group["params"] if parts[id(weight)] == part]:
                groups.append({**group, "params": weights, "lr": rate, _PART: part})
    optimizer.param_groups[:] = groups


def part_rates(optimizer: Any) -> dict[str, float]:
    """Return the present learning rates of the parts that have one of their own, as a log line holds them."""
    return {f"learning_rate_{group[_PART]}": group["lr"] for group in optimizer.param_groups if _PART in group}
