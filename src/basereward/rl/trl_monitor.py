"""Monitors in a TRL trainer: a callback that takes the groups of each step from all ranks and observes them once."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from basereward.errors import RewardError
from basereward.rl.monitors import RewardMonitor
from basereward.rl.watched import WatchedGroup, WatchedResponse, format_flags

_log = logging.getLogger(__name__)


class MonitorCallback(TrainerCallback):
    """Observes the rewards of every step of a trainer; what an evaluation asks for is left out.

    A step whose generations come from an earlier one (``steps_per_generation`` above 1) has nothing to observe.

    Args:
        monitor: of the run; the first rank writes its log.
        take: gives the groups of this process since it was called last, such as ``WatchedRollouts.take`` or
            ``WatchedFunction.take``.
        stop_at: monitors whose alarm ends the training after the step.
    """

    def __init__(
        self,
        monitor: RewardMonitor,
        take: Callable[[], list[WatchedGroup]],
        stop_at: Sequence[str] = (),
    ) -> None:
        self.monitor = monitor
        self._take = take
        self._stop_at = frozenset(stop_at)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Forget what the log holds from behind the checkpoint that is gone on from."""
        if state.is_world_process_zero:
            self.monitor.rewind(state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Observe the groups of the step, and say every alarm."""
        groups = join_groups(_gather(self._take()), getattr(args, "num_generations", None))
        if not groups:
            return
        alarms = self.monitor.observe(state.global_step, groups) if state.is_world_process_zero else ()
        for alarm in alarms:
            _log.warning("alarm at step %d: %s", alarm.step, alarm.message)
        if self._stop_at and any(_gather([alarm.monitor in self._stop_at for alarm in alarms])):
            control.should_training_stop = True

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Leave out the groups of an evaluation."""
        self._take()


class WatchedFunction:
    """Any reward function of TRL, whose rewards, lengths and forms are kept for a monitor.

    It knows neither matches nor what a model said: for these give a ``WatchedRollouts`` to a ``RewardFunction``.

    Args:
        function: called with ``prompts``, ``completions`` and columns.
        images: the column of the images, a list or one for each prompt.
    """

    def __init__(self, function: Callable[..., list[float | None]], images: str = "images") -> None:
        self.function = function
        self.__name__ = getattr(function, "__name__", type(function).__name__)
        self._images = images
        self._responses: list[WatchedGroup] = []

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """Return the rewards of the function."""
        rewards = self.function(prompts=prompts, completions=completions, **columns)
        ids = columns.get("completion_ids") or [None] * len(completions)
        shown = columns.get(self._images) or [()] * len(completions)
        for reward, completion, own_ids, images in zip(rewards, completions, ids, shown, strict=True):
            text = completion if isinstance(completion, str) else completion[-1]["content"]
            length = len(text) if own_ids is None else len(own_ids)
            response = WatchedResponse(reward, length=length, formats=format_flags(text))
            self._responses.append(WatchedGroup((response,), len(images) if isinstance(images, (list, tuple)) else 1))
        return rewards

    def take(self) -> list[WatchedGroup]:
        """Return one group for each response since the last time; ``join_groups`` puts them together."""
        groups, self._responses = self._responses, []
        return groups


def join_groups(groups: Sequence[WatchedGroup], size: int | None) -> list[WatchedGroup]:
    """Return groups of ``size``, put together from parts that stand one after another, as ranks split them.

    Raises:
        RewardError: the parts do not add up to whole groups.
    """
    if size is None or all(len(group.responses) == size for group in groups):
        return list(groups)
    flat = [(response, group.images) for group in groups for response in group.responses]
    if len(flat) % size:
        raise RewardError(f"Found {len(flat)} responses in a step, no multiple of {size} generations for each prompt.")
    return [
        WatchedGroup(tuple(response for response, _ in flat[start : start + size]), flat[start][1])
        for start in range(0, len(flat), size)
    ]


def _gather(values: list[Any]) -> list[Any]:
    """Return the values of all ranks, in the order of ranks."""
    from accelerate.utils import gather_object

    return gather_object(values)
