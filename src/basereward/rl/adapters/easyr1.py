"""EasyR1's batch reward: the ground truth carries the id of the prompt, as no prompt or image is handed on.

``worker.reward.reward_function=FILE:compute_score`` names a file that imports this function, or this one, and
``reward_function_kwargs`` holds the settings. EasyR1 has no place for a missing reward, so a failure is raised.
Source: ``verl/workers/reward/function.py`` of EasyR1.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from basereward.rl.adapters.labels import PromptTable, require_prompt
from basereward.rl.adapters.rewarder import RolloutReward, open_reward, reward_scattered
from basereward.rl.reward_function import RewardFunction
from basereward.rl.rewards import Scheme

REWARD_NAME = "basereward"
REWARD_TYPE = "batch"


def compute_score(
    reward_inputs: Sequence[Mapping[str, Any]],
    model: str | None = None,
    scheme: Scheme = "model",
    options: Mapping[str, Any] | None = None,
    prompts: str | None = None,
    max_response_length: int | None = None,
    expects_images: bool | None = None,
) -> list[dict[str, float]]:
    """Return ``overall`` and what it was made of for each of ``{"response", "response_length", "ground_truth"}``.

    Args:
        reward_inputs: the whole batch; responses to one prompt may stand anywhere.
        model: a spec; best the address of a server.
        scheme: ``model``, ``rule``, ``hybrid`` or ``tournament``.
        options: of ``RewardOptions``.
        prompts: a file with ``id``, ``prompt``, ``images`` and ``answer``; ground truths are its ids, or JSON objects
            with ``id``.
        max_response_length: the limit of tokens; a response that has so many was cut off.
        expects_images: False where prompts have no image.

    Raises:
        RewardError: a response has no reward, or its prompt or image is not there.
    """
    function, table = _opened(model, scheme, json.dumps(dict(options or {}), sort_keys=True), prompts)
    rows = [
        table.rollout(
            own["ground_truth"],
            own["response"],
            None if max_response_length is None else int(own["response_length"]) >= max_response_length,
        )
        for own in reward_inputs
    ]
    if function.scorer is not None:
        rows = [require_prompt(row, function.scorer.about.sees_images, expects_images) for row in rows]
    return [_named(one) for one in reward_scattered(function, rows)]


def _named(found: RolloutReward) -> dict[str, float]:
    named = {"overall": found.required()}
    if found.matched is not None:
        named["accuracy"] = float(found.matched)
    if found.model is not None:
        named["model_reward"] = found.model
    return named


@lru_cache(maxsize=8)
def _opened(model: str | None, scheme: Scheme, options: str, prompts: str | None) -> tuple[RewardFunction, PromptTable]:
    return open_reward(model, scheme, json.loads(options)), PromptTable(prompts)
