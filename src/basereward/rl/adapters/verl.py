"""verl's rewards: a function that is given a text, and a reward manager that reads the images of the prompt.

verl calls ``await compute_score(data_source=, solution_str=, ground_truth=, extra_info=)`` for each response, or
``await manager.run_single(data)``. Neither has a place for a reward that is missing, so a failure is raised.
Source: ``verl/experimental/reward_loop/reward_manager/naive.py`` and ``base.py``; ``verl/trainer/ppo/reward.py``.
"""

import asyncio
import json
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from basereward.errors import RewardError
from basereward.rl.adapters.labels import PromptTable, require_prompt
from basereward.rl.adapters.rewarder import RolloutReward, open_single_reward, reward_rollouts_async
from basereward.rl.adapters.rollout import Rollout
from basereward.rl.adapters.sight import check_sight
from basereward.rl.reward_function import RewardFunction
from basereward.rl.rewards import Scheme

MANAGER = "ImageRewardManager"


async def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    *,
    model: str | None = None,
    scheme: Scheme = "model",
    options: Mapping[str, Any] | None = None,
    prompts: str | None = None,
    expects_images: bool | None = None,
    **passed: Any,
) -> dict[str, float]:
    """Return the reward of one response; ``model``, ``scheme``, ... come from ``custom_reward_function.reward_kwargs``.

    Args:
        data_source: not used.
        solution_str: the response.
        ground_truth: the right answer.
        extra_info: ``prompt`` or ``question``, and ``images`` or ``id``: verl hands nothing else on.
        model: a spec; best the address of a server, which shares prompts between responses.
        scheme: ``model``, ``rule`` or ``hybrid``.
        options: of ``RewardOptions``.
        prompts: a file with prompts and images by id.
        expects_images: False where prompts have no image.
        passed: what verl adds for its own reward models.

    Raises:
        RewardError: the response has no reward, or its prompt or image is not there.
    """
    function, table = _opened(model, scheme, json.dumps(_plain(options or {}), sort_keys=True), prompts)
    extra = {**(extra_info or {})}
    extra.pop("answer", None)
    row = table.rollout({**extra, "answer": ground_truth}, solution_str)
    if function.scorer is not None:
        require_prompt(row, function.scorer.about.sees_images, expects_images)
    [found] = await reward_rollouts_async(function, [row])
    return _numbers(found)


class ImageRewards:
    """The methods of verl's reward manager, which ``ImageRewardManager`` joins with its base class.

    Its settings stand under ``reward.reward_kwargs``: ``model``, ``scheme``, ``options``, ``expects_images``.
    """

    def __init__(
        self,
        config: Any,
        tokenizer: Any,
        compute_score: Any = None,
        reward_router_address: str | None = None,
        reward_model_tokenizer: Any = None,
    ) -> None:
        super().__init__(config, tokenizer, compute_score)  # type: ignore[call-arg]
        settings = _plain(config.reward.get("reward_kwargs") or {})
        if unknown := settings.keys() - {"model", "scheme", "options", "expects_images"}:
            raise RewardError(f"Unknown reward.reward_kwargs: {', '.join(sorted(unknown))}.")
        self._tokenizer = tokenizer
        self._expects_images = settings.get("expects_images")
        scheme = settings.get("scheme", "model")
        self._function = open_single_reward(settings.get("model"), scheme, settings.get("options"), "verl asks")

    async def run_single(self, data: Any) -> dict[str, Any]:
        """Return ``reward_score`` and ``reward_extra_info`` of the last sequence of ``data``.

        Raises:
            RewardError: it has no reward, or its images were lost.
        """
        row = await asyncio.to_thread(self._read, data[-1:][0])
        check_sight([row], {}, self._expects_images)
        [found] = await reward_rollouts_async(self._function, [row])
        numbers = _numbers(found)
        return {"reward_score": numbers["score"], "reward_extra_info": numbers}

    def _read(self, item: Any) -> Rollout:
        beside, ids = item.non_tensor_batch, item.batch["responses"]
        own = ids[: int(item.batch["attention_mask"][-len(ids) :].sum())]
        # The images stand in the prompt, or were taken out of it.
        media = beside.get("multi_modal_data") or {}
        prompt = list(beside["raw_prompt"])
        images = None if _carries_images(prompt) else media.get("images", media.get("image"))
        return Rollout(
            prompt,
            self._tokenizer.decode(own, skip_special_tokens=True),
            images,
            (beside.get("reward_model") or {}).get("ground_truth"),
            None,
            self._is_truncated(own),
            (beside.get("extra_info") or {}).get("task"),
        )

    def _is_truncated(self, ids: Any) -> bool | None:
        ends = {self._tokenizer.eos_token_id, getattr(self._tokenizer, "pad_token_id", None)} - {None}
        return (not len(ids) or int(ids[-1]) not in ends) if ends else None


def __getattr__(name: str) -> Any:
    """Make the manager when verl asks for it: only then its base class must be there."""
    if name == MANAGER:
        return _manager()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@lru_cache(maxsize=1)
def _manager() -> type:
    from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase

    return type(MANAGER, (ImageRewards, RewardManagerBase), {"__module__": __name__})


@lru_cache(maxsize=8)
def _opened(model: str | None, scheme: Scheme, options: str, prompts: str | None) -> tuple[RewardFunction, PromptTable]:
    return open_single_reward(model, scheme, json.loads(options), "verl asks"), PromptTable(prompts)


def _numbers(found: RolloutReward) -> dict[str, float]:
    """Return what verl logs; every response has the same names, NaN where there is no number."""
    return {
        "score": found.required(),
        "acc": math.nan if found.matched is None else float(found.matched),
        "model_reward": math.nan if found.model is None else found.model,
    }


def _carries_images(prompt: list[Any]) -> bool:
    parts = [part for message in prompt if not isinstance(message["content"], str) for part in message["content"]]
    return any(part.get("type") == "image" and len(part) > 1 for part in parts)


def _plain(settings: Any) -> Any:
    """Return settings as dictionaries, whatever kind of mapping a configuration holds."""
    return {str(key): _plain(value) for key, value in settings.items()} if isinstance(settings, Mapping) else settings
