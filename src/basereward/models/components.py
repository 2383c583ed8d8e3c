"""The parts of a reward model that may train apart: head, language, vision, projector."""

from collections.abc import Iterable
from typing import Literal

from basereward.errors import TrainingError
from basereward.models.families import Family
from basereward.models.reward_model import RewardModel

Component = Literal["head", "language", "vision", "projector"]
BACKBONE: frozenset[Component] = frozenset({"language", "vision", "projector"})


def component_of(name: str, family: Family) -> Component:
    """Return the part of a weight by its name in the model, adapters around it or not."""
    if name.startswith("head."):
        return "head"
    native = name.removeprefix("backbone.").removeprefix("base_model.model.")
    if family.vision_module and native.startswith(f"{family.vision_module}."):
        return "vision"
    if family.projector_module and native.startswith(f"{family.projector_module}."):
        return "projector"
    return "language"


def freeze_components(model: RewardModel, components: Iterable[Component]) -> None:
    """Stop training parts of a model.

    Raises:
        TrainingError: the model has no such part.
    """
    frozen = set(components)
    check_components(model, frozen)
    for name, weight in model.named_parameters():
        if component_of(name, model.family) in frozen:
            weight.requires_grad_(False)


def check_components(model: RewardModel, components: Iterable[Component]) -> None:
    """Refuse parts that a model does not have.

    Raises:
        TrainingError: names the part, and where its weights are if they are elsewhere.
    """
    present = {component_of(name, model.family) for name, _ in model.named_parameters()}
    for component in sorted(set(components) - present):
        inside = " Its vision tower holds the map from features to tokens." if "vision" in present else ""
        hint = inside if component == "projector" else ""
        raise TrainingError(
            f"A {model.family.architecture} model has no part {component!r}, only {', '.join(sorted(present))}.{hint}"
        )
