"""TRL's reward function: sync or async, with the images that the policy saw, groups put together over ranks.

TRL calls ``f(prompts=, completions=, completion_ids=, <columns>, trainer_state=, log_extra=, log_metric=)`` on each
rank and takes None for a reward that is not known. Source: ``trl/trainer/grpo_trainer.py``, ``_calculate_rewards``.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from basereward.errors import RewardError
from basereward.registry import close_names
from basereward.rl.adapters.ranks import Ranks, current_ranks, gathered_rewards
from basereward.rl.adapters.rewarder import RolloutReward, open_reward, reward_rollouts, reward_rollouts_async
from basereward.rl.adapters.rollout import Rollout
from basereward.rl.adapters.sight import check_sight
from basereward.rl.options import RewardOptions
from basereward.rl.reward_function import RULE_SCHEMES, RewardFunction
from basereward.rl.rewards import Reward, Scheme
from basereward.scoring.compose.files import read_spec
from basereward.scoring.judges.opening import JUDGE, TOURNAMENT, kind_of
from basereward.scoring.model_spec import ModelSpec

# What TRL passes beside the columns of the data.
_PASSED = ("trainer_state", "log_extra", "log_metric", "environments")
_IMAGE_COLUMNS = ("images", "image")
# Names of the column with the right answer, the first that is there.
ANSWER_COLUMNS = ("answer", "solution", "ground_truth")
_log = logging.getLogger(__name__)


class _Call(NamedTuple):
    """One call: its rollouts, how many of them are a group, and what else was passed."""

    rows: list[Rollout]
    size: int | None
    passed: Mapping[str, Any]


class _TrlBase:
    """What both kinds of function share.

    Args:
        function: what rewards groups.
        name: what TRL's logs call it.
        answer: column of the right answer; by default one of ``ANSWER_COLUMNS``.
        choices: column with the texts of the options A, B, ... of a question.
        group_size: responses of a prompt; by default the trainer's ``num_generations``.
        end_ids: tokens that end an answer; by default the trainer's. A response that ends otherwise was cut off.
        expects_images: whether every prompt shows an image; by default it is refused that none does where a column
            holds images.
    """

    def __init__(
        self,
        function: RewardFunction,
        name: str,
        answer: str | None = None,
        choices: str | None = None,
        group_size: int | None = None,
        end_ids: Sequence[int] | None = None,
        expects_images: bool | None = None,
    ) -> None:
        self.function = function
        self.__name__ = name
        self.ranks: Ranks | None = None
        self._answer = answer
        self._choices = choices
        self._group_size = group_size
        self._end_ids = None if end_ids is None else frozenset(end_ids)
        self._expects_images = expects_images
        self._has_warned = False

    def _read(self, prompts: Sequence[Any], completions: Sequence[Any], ids: Any, passed: Mapping[str, Any]) -> _Call:
        columns = {name: values for name, values in passed.items() if name not in _PASSED}
        trainer = _trainer_of(passed)
        truncated = self._truncated(ids, trainer, len(prompts))
        images = self._column(columns, next((name for name in _IMAGE_COLUMNS if name in columns), None), len(prompts))
        answers = self._column(columns, self._answer_column(columns), len(prompts))
        choices = self._column(columns, self._choices, len(prompts))
        tasks = self._column(columns, "task" if "task" in columns else None, len(prompts))
        fields = zip(prompts, completions, images, answers, choices, truncated, tasks, strict=True)
        rows = [Rollout(*own) for own in fields]
        check_sight(rows, columns, self._expects_images)
        return _Call(rows, self._group_size or _generations(trainer), passed)

    def _column(self, columns: Mapping[str, Any], name: str | None, count: int) -> Sequence[Any]:
        if name is None:
            return [None] * count
        if name not in columns:
            hint = close_names(name, list(columns))
            raise RewardError(f"There is no column {name!r}.{hint} Columns: {', '.join(columns) or 'none'}.")
        return columns[name]

    def _answer_column(self, columns: Mapping[str, Any]) -> str | None:
        name = self._answer or next((name for name in ANSWER_COLUMNS if name in columns), None)
        if name is None and self.function.scheme in RULE_SCHEMES:
            raise RewardError(
                f"The scheme {self.function.scheme} needs a column with the right answer, called "
                f"{' or '.join(ANSWER_COLUMNS)}; found {', '.join(columns) or 'none'}. Name it with answer=."
            )
        return name

    def _truncated(self, ids: Any, trainer: Any, count: int) -> list[bool | None]:
        """Return which responses do not end with an end; None where nobody knows what an end is."""
        ends = self._end_ids or _end_ids(trainer)
        if ids is None or not ends:
            if not self._has_warned:
                _log.warning("Which answers are cut off by the limit of tokens is not known; pass end_ids.")
            self._has_warned = True
            return [None] * count
        return [not len(own) or int(own[-1]) not in ends for own in ids]

    def _finish(self, call: _Call, rewarded: Sequence[RolloutReward]) -> list[Reward]:
        self._log_metrics(call.passed)
        if log_extra := call.passed.get("log_extra"):
            log_extra("model_reward", [one.model for one in rewarded])
            log_extra("matched", [one.matched for one in rewarded])
        return [one.reward for one in rewarded]

    def _log_metrics(self, passed: Mapping[str, Any]) -> None:
        log_metric, summary = passed.get("log_metric"), self.function.summary
        if log_metric is not None and summary is not None:
            for name, value in summary.metrics().items():
                log_metric(f"{self.__name__}/{name}", value)

    def _open_ranks(self) -> Ranks:
        if self.ranks is None:
            self.ranks = current_ranks()
        return self.ranks


class TrlReward(_TrlBase):
    """A reward function for ``GRPOTrainer(reward_funcs=...)``; see ``trl_reward``."""

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], completion_ids: Any = None, **passed: Any
    ) -> list[Reward]:
        """Return a reward for each completion, None where something failed.

        Raises:
            RewardError: the rollouts cannot be rewarded as they are.
            ScoringError: the model cannot be asked at all.
        """
        if self.function.compares and (ranks := self._open_ranks()).count > 1:
            rewards = gathered_rewards(
                self.function,
                lambda: self._read(prompts, completions, completion_ids, passed).rows,
                ranks,
                self._group_size or _generations(_trainer_of(passed)),
            )
            self._log_metrics(passed)
            return rewards
        call = self._read(prompts, completions, completion_ids, passed)
        return self._finish(call, reward_rollouts(self.function, call.rows, call.size))


class AsyncTrlReward(_TrlBase):
    """A reward function that other ones run beside, for a model behind a server; see ``trl_reward``."""

    async def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], completion_ids: Any = None, **passed: Any
    ) -> list[Reward]:
        """Return a reward for each completion, None where something failed.

        Raises:
            RewardError: as ``TrlReward``, or responses that are compared over several ranks, such as by a tournament.
            ScoringError: the model cannot be asked at all.
        """
        if self.function.compares and self._open_ranks().count > 1:
            # Its exchanges would run beside those of the trainer, in any order.
            raise RewardError(
                f"{self.function.name} compares responses; over several ranks it needs a function that is not async: "
                "is_async=False."
            )
        call = self._read(prompts, completions, completion_ids, passed)
        return self._finish(call, await reward_rollouts_async(self.function, call.rows, call.size))


def trl_reward(
    model: Any = None,
    scheme: Scheme = "model",
    options: RewardOptions | dict[str, Any] | None = None,
    *,
    name: str | None = None,
    is_async: bool = False,
    answer: str | None = None,
    choices: str | None = None,
    group_size: int | None = None,
    end_ids: Sequence[int] | None = None,
    expects_images: bool | None = None,
) -> TrlReward | AsyncTrlReward:
    """Return a reward function for TRL: ``GRPOTrainer(reward_funcs=trl_reward("runs/demo/model"), ...)``.

    Args:
        model: a spec, as for ``RewardFunction``, or such a function.
        scheme: ``model``, ``rule``, ``hybrid`` or ``tournament``.
        options: settings beside the scheme.
        name: what TRL's logs call it.
        is_async: whether other async functions run at the same time.
        answer: column of the right answer.
        choices: column with the texts of the options of a question.
        group_size: responses of a prompt.
        end_ids: tokens that end an answer.
        expects_images: whether every prompt shows an image.

    Raises:
        BaseRewardError: as ``RewardFunction``.
    """
    function = open_reward(on_own_device(model), scheme, options)
    kind = AsyncTrlReward if is_async else TrlReward
    label = name or f"basereward_{function.scheme}"
    return kind(function, label, answer, choices, group_size, end_ids, expects_images)


def on_own_device(model: Any) -> Any:
    """Return the spec of a model in this process with the GPU of this rank.

    The function is made before the trainer, and so before anything has chosen a GPU: all ranks would take the first.
    """
    rank = os.environ.get("LOCAL_RANK")
    if rank is None or not isinstance(model, str) or not _takes_device(model):
        return model
    import torch

    is_there = torch.cuda.is_available() and int(rank) < torch.cuda.device_count()
    return ModelSpec(model=model, device=f"cuda:{rank}") if is_there else model


def _takes_device(model: str) -> bool:
    """Return whether a model, or a member of a YAML file that leaves its device open, runs in this process."""
    kind = kind_of(model)
    if kind != "file" or not Path(model).is_file():
        return "://" not in model and kind in ("folder", JUDGE, TOURNAMENT)
    described = read_spec(ModelSpec(model=model))
    return not isinstance(described, ModelSpec) or _takes_device(described.model)


def _trainer_of(passed: Mapping[str, Any]) -> Any:
    """Return the trainer that calls, by the method of it that is passed; None if that is no method of one."""
    return getattr(passed.get("log_metric"), "__self__", None)


def _generations(trainer: Any) -> int | None:
    """Return how many responses of a prompt the trainer asks for, in training or in evaluation."""
    is_training = getattr(getattr(trainer, "model", None), "training", True)
    return getattr(trainer, "num_generations" if is_training else "num_generations_eval", None)


def _end_ids(trainer: Any) -> frozenset[int]:
    """Return the tokens that the trainer takes for the end of an answer."""
    ends = getattr(trainer, "eos_token_ids", None) or [getattr(trainer, "eos_token_id", None)]
    tokenizer = getattr(trainer, "_tokenizer", None) or getattr(trainer, "processing_class", None)
    pad = getattr(tokenizer, "pad_token_id", None)
    known = [one for one in ends if one is not None]
    return frozenset([*known, pad] if known and pad is not None else known)
