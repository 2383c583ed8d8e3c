"""The calls of frameworks that are not installed here, as their sources write them down; nothing of them is copied."""

import asyncio
import sys
from types import ModuleType


def install(patch, **modules):
    """Put modules under dotted names (``a__b`` for ``a.b``) where imports find them, and their parents."""
    for name, members in modules.items():
        path = name.split("__")
        for end in range(1, len(path) + 1):
            dotted = ".".join(path[:end])
            if dotted not in sys.modules:
                patch.setitem(sys.modules, dotted, ModuleType(dotted))
        for key, value in members.items():
            setattr(sys.modules[".".join(path)], key, value)


class RewardManagerBase:
    """verl/experimental/reward_loop/reward_manager/base.py: takes config, tokenizer, compute_score."""

    def __init__(self, config, tokenizer, compute_score):
        self.config, self.tokenizer, self.compute_score = config, tokenizer, compute_score


class Proto(list):
    """A verl DataProto of single items: a slice is one again, an item has ``batch`` and ``non_tensor_batch``."""

    def __getitem__(self, place):
        found = super().__getitem__(place)
        return Proto(found) if isinstance(place, slice) else found


class Rubric:
    """verifiers/legacy/rubrics/rubric.py: names arguments, and takes any exception for a reward of 0."""

    def score_group(self, function, prompts, completions, answers, infos):
        """Return the rewards of a group function."""
        passed = {"prompts": prompts, "completions": completions, "answers": answers, "infos": infos, "states": []}
        allowed = {key: passed[key] for key in function.__code__.co_varnames[: function.__code__.co_argcount]}
        try:
            return asyncio.run(function(**allowed))
        except Exception:
            return [0.0] * len(prompts)

    def score_rollout(self, function, **passed):
        """Return the reward of a function of one rollout."""
        allowed = {key: passed[key] for key in function.__code__.co_varnames[: function.__code__.co_argcount]}
        try:
            return float(asyncio.run(function(**allowed)))
        except Exception:
            return 0.0
