"""Keeps rollouts of a run to look at: some groups of some steps, with small images."""

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from basereward.data.digests import image_key
from basereward.data.io import replacing
from basereward.data.thumbnails import shrink_image
from basereward.rl.rewards import GroupRewards, Rollouts
from basereward.rl.shown_rollouts import ROLLOUTS, ShownGroup, ShownRollout
from basereward.training.resume import cut_log

THUMBNAILS = "thumbnails"
_GROUPS = 2


class RolloutLog(TrainerCallback):
    """Keeps groups of the first step, of every so many steps, and of the last one.

    Args:
        folder: the run folder.
        every: steps between kept groups.
    """

    def __init__(self, folder: Path, every: int) -> None:
        self._folder = folder
        self._every = every
        self._lock = Lock()
        self._last: list[tuple[Rollouts, GroupRewards]] = []

    def observe(self, rollouts: Sequence[Rollouts], rewarded: Sequence[GroupRewards]) -> None:
        """Take what was rewarded last; an observer of a ``RewardFunction``."""
        with self._lock:
            self._last = list(zip(rollouts, rewarded, strict=True))[:_GROUPS]

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Forget what was kept behind the checkpoint that is gone on from."""
        if state.is_world_process_zero:
            cut_log(self._folder / ROLLOUTS, state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Write the groups of a step that is to be kept."""
        is_due = state.global_step in (1, state.max_steps) or state.global_step % self._every == 0
        if not (is_due and state.is_world_process_zero):
            return
        with self._lock, (self._folder / ROLLOUTS).open("a", encoding="utf-8") as file:
            for own, rewards in self._last:
                file.write(self._shown(state.global_step, own, rewards).model_dump_json() + "\n")

    def _shown(self, step: int, own: Rollouts, rewards: GroupRewards) -> ShownGroup:
        shown = [
            ShownRollout(
                response=response.text,
                reward=reward,
                model_reward=model,
                matched=match and match.matched,
                truncated=truncated,
            )
            for response, reward, model, match, truncated in zip(
                own.group.responses,
                rewards.rewards,
                rewards.model_rewards,
                rewards.matches,
                rewards.truncated,
                strict=True,
            )
        ]
        shown.sort(key=lambda one: (one.reward is None, -(one.reward or 0.0)))
        answers = (own.answer,) if isinstance(own.answer, str) else own.answer or ()
        return ShownGroup(
            step=step,
            prompt="\n\n".join(message.text for message in own.group.prompt),
            answer=" / ".join(answers) or None,
            images=[name for image in own.group.images if (name := self._thumbnail(image))],
            rollouts=shown,
        )

    def _thumbnail(self, image: Any) -> str | None:
        stem = image_key(image)[:32]
        known = sorted((self._folder / THUMBNAILS).glob(f"{stem}.*"))
        if known:
            return f"{THUMBNAILS}/{known[0].name}"
        if (small := shrink_image(image)) is None:
            return None
        name = f"{THUMBNAILS}/{stem}.{small.format}"
        (self._folder / THUMBNAILS).mkdir(exist_ok=True)
        with replacing(self._folder / name) as partial:
            partial.write_bytes(small.data)
        return name
