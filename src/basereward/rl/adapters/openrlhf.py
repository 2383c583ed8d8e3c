"""OpenRLHF's ``reward_func(queries, prompts, labels)``: prompts and images by the id that the label holds.

A file of three lines defines ``reward_func``, and ``--reward.remote_url`` names it. OpenRLHF never sends images, and an
exception becomes a missing reward, which ends its run. ``basereward serve`` answers its HTTP form without any adapter.
Source: ``openrlhf/utils/agent.py``, ``SingleTurnAgentExecutor``; ``examples/python/math_reward_func.py``.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from basereward.errors import RewardError
from basereward.rl.adapters.labels import PromptTable, require_prompt
from basereward.rl.adapters.rewarder import open_reward, reward_scattered
from basereward.rl.options import RewardOptions
from basereward.rl.rewards import Scheme

# The prompt has one mark for an image where the decoded query has as many as the image has tokens.
_PADS = re.compile(r"(<\|image_pad\|>|<\|video_pad\|>|<IMG_CONTEXT>|<image>)\1+")
_END = re.compile(r"\s*(?:<\|[^|<>]{1,40}\|>|</s>|<eos>|<end_of_turn>|<\uff5cend\u2581of\u2581sentence\uff5c>)\s*$")


def openrlhf_reward(
    model: Any = None,
    scheme: Scheme = "model",
    options: RewardOptions | Mapping[str, Any] | None = None,
    *,
    prompts: str | Path | Iterable[Mapping[str, Any]] | None = None,
    expects_images: bool | None = None,
) -> Callable[..., dict[str, Any]]:
    """Return a ``reward_func``.

    Args:
        model: a spec; best the address of a server, because every worker opens it.
        scheme: ``model``, ``rule``, ``hybrid`` or ``tournament``.
        options: of ``RewardOptions``.
        prompts: a file with ``id``, ``prompt``, ``images`` and ``answer``; labels are its ids.
        expects_images: False where prompts have no image.

    Raises:
        BaseRewardError: as ``RewardFunction`` and ``PromptTable``.
    """
    function = open_reward(model, scheme, dict(options) if isinstance(options, Mapping) else options)
    table = PromptTable(prompts)
    sees = function.scorer is not None and function.scorer.about.sees_images

    def reward_func(
        queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any], **passed: Any
    ) -> dict[str, Any]:
        import torch

        rows = []
        for query, prompt, label in zip(queries, prompts, labels, strict=True):
            response, is_truncated = cut_response(query, prompt)
            row = table.rollout(label, response, is_truncated)
            rows.append(row if function.scorer is None else require_prompt(row, sees, expects_images))
        rewards = torch.tensor([one.required() for one in reward_scattered(function, rows)], dtype=torch.float32)
        summary = function.summary.metrics() if function.summary else {}
        logs = {f"basereward_{name}": torch.tensor([value]) for name, value in summary.items()}
        return {"rewards": rewards, "scores": rewards, "extra_logs": logs}

    return reward_func


def cut_response(query: str, prompt: str) -> tuple[str, bool]:
    """Return the response of a decoded query without marks of its end, and whether there was none: it was cut off.

    Raises:
        RewardError: the query does not begin with the prompt.
    """
    whole, begin = (_PADS.sub(r"\1", text) for text in (query, prompt))
    if not whole.startswith(begin):
        raise RewardError(f"A query does not begin with its prompt: {whole[:100]!r} and {begin[:100]!r}.")
    response = whole[len(begin) :]
    ended = False
    while found := _END.search(response):
        response, ended = response[: found.start()], True
    return response, not ended
