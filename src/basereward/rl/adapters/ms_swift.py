"""ms-swift's rewards: outcome rewards, sync or async, and a plugin of reward models; all are given the images.

A file for ``--external_plugins`` puts them into ms-swift's tables: ``orms["basereward"] = swift_orm("http://...")``.
ms-swift takes None for a reward that is not known.
Source: ``swift/rewards/orm.py``, ``swift/rewards/rm_plugin.py``, ``swift/rl_core/grpo_algorithm.py``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from basereward.errors import RewardError
from basereward.rl.adapters.rewarder import open_reward, reward_rollouts, reward_rollouts_async
from basereward.rl.adapters.rollout import Rollout
from basereward.rl.adapters.sight import check_sight
from basereward.rl.options import RewardOptions
from basereward.rl.reward_function import RULE_SCHEMES, RewardFunction
from basereward.rl.rewards import Reward, Scheme

# Names of the column with the right answer, the first that is there; ms-swift's own is ``solution``.
_ANSWERS = ("solution", "answer", "ground_truth")


def swift_orm(
    model: Any = None,
    scheme: Scheme = "model",
    options: RewardOptions | dict[str, Any] | None = None,
    *,
    answer: str | None = None,
    is_async: bool = False,
    expects_images: bool | None = None,
) -> type:
    """Return a class for ms-swift's table ``orms``.

    Args:
        model: a spec, as for ``RewardFunction``.
        scheme: ``model``, ``rule``, ``hybrid`` or ``tournament``.
        options: of ``RewardOptions``.
        answer: column of the right answer; by default ``solution``, ``answer`` or ``ground_truth``.
        is_async: whether other async rewards run at the same time.
        expects_images: whether every prompt shows an image.

    Raises:
        BaseRewardError: as ``RewardFunction``.
    """
    from swift.rewards import ORM, AsyncORM

    function = open_reward(model, scheme, options)

    def read(completions: Sequence[str], columns: Mapping[str, Any]) -> list[Rollout]:
        rows = [
            {name: values[place] for name, values in columns.items() if _is_column(values, len(completions))}
            for place in range(len(completions))
        ]
        return _read(function, rows, completions, answer, expects_images)

    class BaseRewardORM(ORM):  # type: ignore[misc, valid-type]
        """Rewards completions with their prompts and images."""

        def __call__(self, completions: Sequence[str], **columns: Any) -> list[Reward]:
            """Return a reward for each completion, None where something failed."""
            rows = read(completions, columns)
            return [one.reward for one in reward_rollouts(function, rows, _generations(self))]

    class BaseRewardAsyncORM(AsyncORM):  # type: ignore[misc, valid-type]
        """Rewards completions with their prompts and images, beside other async rewards."""

        async def __call__(self, completions: Sequence[str], **columns: Any) -> list[Reward]:
            """Return a reward for each completion, None where something failed."""
            rows = read(completions, columns)
            return [one.reward for one in await reward_rollouts_async(function, rows, _generations(self))]

    return BaseRewardAsyncORM if is_async else BaseRewardORM


def swift_rm_plugin(
    model: Any = None,
    scheme: Scheme = "model",
    options: RewardOptions | dict[str, Any] | None = None,
    *,
    answer: str | None = None,
    expects_images: bool | None = None,
) -> type:
    """Return a class for ms-swift's table ``rm_plugins``; the model that ms-swift loads for it is not used.

    Args:
        model: a spec, as for ``RewardFunction``.
        scheme: as for ``swift_orm``.
        options: of ``RewardOptions``.
        answer: column of the right answer.
        expects_images: whether every prompt shows an image.

    Raises:
        BaseRewardError: as ``RewardFunction``.
    """
    function = open_reward(model, scheme, options)

    class BaseRewardPlugin:
        """Rewards conversations with their images."""

        def __init__(self, model: Any = None, template: Any = None) -> None:
            self.model, self.template = model, template

        def __call__(self, inputs: Sequence[Mapping[str, Any]], **passed: Any) -> list[Reward]:
            """Return a reward for each of them, None where something failed."""
            completions = [row["messages"][-1]["content"] for row in inputs]
            return [
                one.reward
                for one in reward_rollouts(function, _read(function, inputs, completions, answer, expects_images))
            ]

    return BaseRewardPlugin


def _read(
    function: RewardFunction,
    given: Sequence[Mapping[str, Any]],
    completions: Sequence[str],
    answer: str | None,
    expects_images: bool | None,
) -> list[Rollout]:
    """Return the rollouts of ms-swift, whose last message is the response."""
    names = list(given[0]) if given else []
    column = answer or next((name for name in _ANSWERS if name in names), None)
    is_needed = column is None and function.scheme in RULE_SCHEMES
    if given and (is_needed or (column is not None and column not in names)):
        raise RewardError(f"There is no column {column or ' or '.join(_ANSWERS)}; found {', '.join(names)}.")
    rows = [
        Rollout(
            own["messages"][:-1],
            completion,
            own.get("images"),
            own.get(column) if column else None,
            None,
            own.get("is_truncated"),
            own.get("task"),
        )
        for own, completion in zip(given, completions, strict=True)
    ]
    columns = {name: [own.get(name) for own in given] for name in names if name not in ("messages", "images")}
    check_sight(rows, columns, expects_images)
    return rows


def _is_column(values: Any, count: int) -> bool:
    return isinstance(values, (list, tuple)) and len(values) == count


def _generations(orm: Any) -> int | None:
    return getattr(getattr(orm, "args", None), "num_generations", None)
