"""What differs between runs of GRPO: what is asked, what answers are worth, and how the result is evaluated."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from basereward.data.progress import Progress
from basereward.encoding.template import Template
from basereward.models.inputs import TemplateSettings
from basereward.rl.held_out import Answer, answer_prompts, summarize_answers
from basereward.rl.prompts import PolicyPrompts, Prompts, load_prompts
from basereward.rl.recipe import AnyRlRecipe, RlRecipe
from basereward.rl.reward_function import RewardFunction
from basereward.rl.run_facts import HeldOut
from basereward.rl.watching import WatchOptions


class RlTask(Protocol):
    """A kind of run: everything about it that the loop of GRPO does not know.

    Args:
        recipe: of the run.
        function: what rewards answers.
        scheme: what the run's facts call that.
        places: data that decides the weights, known by content.
        watching: how monitors read rewards, lengths aside.
    """

    recipe: Any
    function: Any
    scheme: str
    places: list[str]
    watching: WatchOptions

    def settings(self) -> dict[str, Any]:
        """Return the settings that decide the weights; places and models are known by content instead."""
        ...

    def load(self) -> PolicyPrompts:
        """Return what is asked in training."""
        ...

    def load_held_out(self) -> Any:
        """Return what ``answer`` is asked, None for nothing."""
        ...

    def answer(self, policy: str, held_out: Any, on_progress: Progress) -> list[Answer]:
        """Return greedy answers of a policy, compared with the right ones."""
        ...

    def summarize(self, answers: Sequence[Answer]) -> HeldOut:
        """Return how good answers are."""
        ...

    def finish(self, folder: Path, template: Template) -> None:
        """Add to a trained model's folder what it must say of itself; ``template`` is the one it was trained with."""
        ...


class PolicyTask:
    """A policy, rewarded for its answers; see ``RlTask``."""

    def __init__(self, recipe: RlRecipe, function: RewardFunction | None = None) -> None:
        reward = recipe.reward
        self.recipe = recipe
        self.function = function or RewardFunction(reward.model, reward.scheme, reward.options)
        self.scheme: str = reward.scheme
        self.places = recipe.data.prompts
        has_model = reward.scheme != "tournament"
        self.watching = WatchOptions(reward.options.offset, reward.options.scale, has_model=has_model)

    def settings(self) -> dict[str, Any]:
        """Return the settings that decide the weights."""
        settings: dict[str, Any] = self.recipe.model_dump(mode="json")
        del settings["data"]["prompts"], settings["policy"]["model"], settings["reward"]["model"]
        return settings

    def load(self) -> Prompts:
        """Return the prompts of training."""
        data = self.recipe.data
        return load_prompts(data.prompts, data.answer, data.limit, data.strict)

    def load_held_out(self) -> Prompts | None:
        """Return the held-out prompts."""
        data = self.recipe.data
        return load_prompts(data.held_out, data.answer, None, data.strict) if data.held_out else None

    def answer(self, policy: str, held_out: Prompts, on_progress: Progress) -> list[Answer]:
        """Return greedy answers."""
        limit, device = self.recipe.grpo.max_completion_length, own_device(self.recipe)
        return answer_prompts(policy, held_out, limit, device, image_limits(self.recipe), on_progress)

    def summarize(self, answers: Sequence[Answer]) -> HeldOut:
        """Return how many match."""
        return summarize_answers(answers)

    def finish(self, folder: Path, template: Template) -> None:
        """Add nothing."""


def image_limits(recipe: AnyRlRecipe) -> TemplateSettings:
    """Return a recipe's limits of images."""
    return TemplateSettings(recipe.policy.min_pixels, recipe.policy.max_pixels)


def own_device(recipe: AnyRlRecipe) -> str | None:
    """Return where held-out prompts are answered; None for the best there is."""
    return "cpu" if recipe.hardware.use_cpu else None
