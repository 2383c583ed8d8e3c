"""NeMo-RL's environment: one step that rewards the last answer of each conversation, then ends the episode.

The messages that NeMo-RL hands on hold texts alone; prompt, images and right answer come from the metadata of the
datum, or by its ``id`` from a file. A failure is raised, because a reward is a number there.
Source: ``nemo_rl/environments/interfaces.py``, ``nemo_rl/experience/rollouts.py``.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from basereward.rl.adapters.labels import PromptTable, require_prompt
from basereward.rl.adapters.rewarder import open_reward, reward_scattered
from basereward.rl.adapters.rollout import Rollout
from basereward.rl.options import RewardOptions
from basereward.rl.rewards import Scheme


class NemoRewardEnvironment:
    """An environment in the shape of ``EnvironmentInterface``: ``ray.remote(NemoRewardEnvironment).remote(...)``.

    Args:
        model: a spec; best the address of a server.
        scheme: ``model``, ``rule``, ``hybrid`` or ``tournament``.
        options: of ``RewardOptions``.
        prompts: a file with ``id``, ``prompt``, ``images`` and ``answer``.
        expects_images: False where prompts have no image.

    Raises:
        BaseRewardError: as ``RewardFunction`` and ``PromptTable``.
    """

    def __init__(
        self,
        model: Any = None,
        scheme: Scheme = "model",
        options: RewardOptions | dict[str, Any] | None = None,
        prompts: str | Path | Iterable[Mapping[str, Any]] | None = None,
        expects_images: bool | None = None,
    ) -> None:
        self._function = open_reward(model, scheme, options)
        self._table = PromptTable(prompts)
        self._expects_images = expects_images

    def step(
        self, message_log_batch: Sequence[Sequence[Mapping[str, Any]]], metadata: Sequence[Any], *more: Any
    ) -> Any:
        """Return NeMo-RL's ``EnvironmentReturn``: a reward for each conversation, all of which end.

        Raises:
            RewardError: a response has no reward, or its prompt or image is not there.
        """
        import torch
        from nemo_rl.environments.interfaces import EnvironmentReturn

        rows = [self._read(log, known) for log, known in zip(message_log_batch, metadata, strict=True)]
        found = reward_scattered(self._function, rows)
        return EnvironmentReturn(
            observations=[{"role": "environment", "content": ""} for _ in found],
            metadata=list(metadata),
            next_stop_strings=[None] * len(found),
            rewards=torch.tensor([one.required() for one in found], dtype=torch.float32),
            terminateds=torch.ones(len(found), dtype=torch.bool),
            answers=[row.response for row in rows],
        )

    def global_post_process_and_metrics(self, batch: Any) -> tuple[Any, dict[str, float]]:
        """Return the batch as it is, and the shares of the last step."""
        summary = self._function.summary
        return batch, {} if summary is None else {f"basereward/{name}": one for name, one in summary.metrics().items()}

    def _read(self, log: Sequence[Mapping[str, Any]], known: Any) -> Rollout:
        label = {"answer": known.get("ground_truth"), **known} if isinstance(known, Mapping) else {}
        if not any(label.get(name) for name in ("id", "prompt", "question", "problem")):
            label = {**label, "prompt": [{"role": one["role"], "content": one["content"]} for one in log[:-1]]}
        row = self._table.rollout(label, str(log[-1]["content"]))
        scorer = self._function.scorer
        return row if scorer is None else require_prompt(row, scorer.about.sees_images, self._expects_images)
