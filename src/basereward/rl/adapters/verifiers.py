"""Rewards of verifiers: methods of its tasks, and functions for its older rubrics, of a rollout or of all of a prompt.

A task's reward may raise, which is an error of the rollout. A rubric turns any exception into a reward of 0. So a
group function gives a response that has no reward the mean of its group, whose advantage is 0, and whatever cannot be
rewarded at all ends the run with ``SystemExit``, which no rubric catches.
Source: ``verifiers/v1/task.py``, ``verifiers/legacy/rubrics/rubric.py``.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from basereward.errors import BaseRewardError, RewardError
from basereward.rl.adapters.labels import PromptTable
from basereward.rl.adapters.rewarder import RolloutReward, open_reward, open_single_reward, reward_rollouts_async
from basereward.rl.adapters.rollout import Rollout
from basereward.rl.adapters.sight import check_sight
from basereward.rl.options import RewardOptions
from basereward.rl.rewards import Scheme


def verifiers_reward(
    model: Any = None,
    scheme: Scheme = "model",
    options: RewardOptions | dict[str, Any] | None = None,
    *,
    is_group: bool = True,
    prompts: str | Path | Iterable[Mapping[str, Any]] | None = None,
    expects_images: bool | None = None,
) -> Callable[..., Any]:
    """Return a function for ``Rubric(funcs=[...])``.

    Args:
        model: a spec, as for ``RewardFunction``.
        scheme: ``model``, ``rule``, ``hybrid``, or ``tournament`` for groups.
        options: of ``RewardOptions``.
        is_group: whether it takes all rollouts of a prompt, which share its computation.
        prompts: a file with prompts and images by the ``id`` in ``info``; otherwise the prompt's own image parts count.
        expects_images: whether every prompt shows an image.

    Raises:
        BaseRewardError: as ``RewardFunction``.
        RewardError: single rollouts, where responses are compared, such as by a tournament.
    """
    function = open_reward(model, scheme, options)
    table = PromptTable(prompts)
    if function.compares and not is_group:
        raise RewardError(f"{function.name} compares responses and needs all rollouts of a prompt: is_group=True.")

    async def reward_all(given: Sequence[tuple[Any, Any, Any, Any]]) -> list[RolloutReward]:
        try:
            rows = [_read(table, *own) for own in given]
            check_sight(rows, {}, expects_images)
            return await reward_rollouts_async(function, rows)
        except BaseRewardError as error:
            raise SystemExit(f"basereward: {error}") from error

    async def basereward(prompt: Any, completion: Any, answer: Any, info: Any = None) -> float:
        [found] = await reward_all([(prompt, completion, answer, info)])
        try:
            return found.required()
        except RewardError as error:
            raise SystemExit(f"basereward: {error}") from error

    async def basereward_group(
        prompts: list[Any], completions: list[Any], answers: list[Any], infos: list[Any]
    ) -> list[float]:
        found = await reward_all(list(zip(prompts, completions, answers, infos, strict=True)))
        return neutral([one.reward for one in found])

    return basereward_group if is_group else basereward


def verifiers_task_reward(
    model: Any = None,
    scheme: Scheme = "model",
    options: RewardOptions | dict[str, Any] | None = None,
    *,
    prompts: str | Path | Iterable[Mapping[str, Any]] | None = None,
    expects_images: bool | None = None,
) -> Callable[..., Any]:
    """Return a method for a task: ``basereward = vf.reward(verifiers_task_reward("http://..."))``.

    The task's data hold ``prompt``, and ``answer`` where there is a right one.

    Args:
        model: a spec, as for ``RewardFunction``.
        scheme: ``model``, ``rule`` or ``hybrid``.
        options: of ``RewardOptions``.
        prompts: a file with prompts and images by the ``id`` of the task; otherwise the prompt's own image parts count.
        expects_images: whether every prompt shows an image.

    Raises:
        BaseRewardError: as ``RewardFunction``.
        RewardError: responses are compared, such as by a tournament, for which a task has too few rollouts.
    """
    function = open_single_reward(model, scheme, options, "A task of one rollout asks")
    table = PromptTable(prompts)

    async def basereward(self: Any, task: Any, trace: Any) -> float:
        prompt = task.prompt if isinstance(task.prompt, str) else list(map(_plain_message, task.prompt or ()))
        known = {} if prompts is None else {"id": task.id}
        rollout = _read(table, prompt, trace.last_reply, getattr(task, "answer", None), known)
        rollout = replace(rollout, is_truncated=trace.is_truncated)
        check_sight([rollout], {}, expects_images)
        [found] = await reward_rollouts_async(function, [rollout])
        return found.required()

    return basereward


def neutral(rewards: Sequence[float | None]) -> list[float]:
    """Return rewards with the mean of the others for those that are missing; 0 for all where all are missing.

    What a policy is trained on, the difference to the mean of its group, is 0 for such a response and no other for the
    others.
    """
    known = [reward for reward in rewards if reward is not None]
    mean = sum(known) / len(known) if known else 0.0
    return [mean if reward is None else reward for reward in rewards]


def _read(table: PromptTable, prompt: Any, completion: Any, answer: Any, info: Any) -> Rollout:
    known = dict(info) if isinstance(info, Mapping) else {}
    label = {key: known[key] for key in ("id", "images", "image", "options", "task") if known.get(key) is not None}
    # A rubric gives "" where a prompt has no answer.
    found = table.rollout(
        {**label, "answer": answer or None} if label else {"prompt": prompt, "answer": answer or None}, ""
    )
    response = completion if isinstance(completion, str) else [dict(message) for message in completion]
    shown = (found.prompt or prompt, response, found.images or None)
    return Rollout(*shown, found.answer, found.options, task=found.task)


def _plain_message(message: Any) -> dict[str, Any]:
    """Return a message of verifiers as a mapping of what it says."""
    return {key: value for key, value in message.model_dump().items() if value is not None}
