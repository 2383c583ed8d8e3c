"""A small stochastic policy under GRPO, to have runs whose honesty is known: it answers by drawing from a softmax."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from basereward.rl.watched import WatchedGroup, WatchedResponse

KINDS, UNSEEN = 7, 2
GROUP = 8
RIGHT, WRONG, OFF_LIST = 0, slice(1, 4), slice(4, 6)
ANSWERS = 6
LIMIT = 32


@dataclass(frozen=True)
class Setting:
    """A run: its reward, and what the reward model thinks of answers that are on no list."""

    scheme: str = "hybrid"
    off_list: float = -3.0
    seed: int = 0
    steps: int = 100
    prompts: int = 8
    rate: float = 0.15


def answering_run(setting: Setting) -> Iterator[list[WatchedGroup]]:
    """Yield the groups of each step of a policy that sees, but answers carelessly at the start.

    Each kind of question has a right answer, wrong ones, and ones on no list, which the start gives in 2 % of cases.
    The reward model errs: its rewards of each question's answers are drawn around the mean of their class.
    """
    rng = np.random.default_rng(setting.seed)
    start = np.log([0.4, 0.28, 0.2, 0.1, 0.01, 0.01])
    logits = start + rng.normal(0, 0.3, (KINDS, ANSWERS))
    # What the policy does not see it cannot learn to answer.
    logits[:UNSEEN, RIGHT] = logits[:UNSEEN, RIGHT] - 4
    means = np.array([2.0, *[-2.0] * 3, *[setting.off_list] * 2])
    for _ in range(setting.steps):
        groups, update = [], np.zeros_like(logits)
        for kind in rng.integers(0, KINDS, setting.prompts):
            policy = np.exp(logits[kind] - logits[kind].max())
            policy /= policy.sum()
            drawn = rng.choice(ANSWERS, GROUP, p=policy)
            model = rng.normal(means, 1.5)[drawn]
            matched = drawn == RIGHT
            lengths = rng.integers(1, 4, ANSWERS)[drawn]
            rewards = _rewards(setting.scheme, model, matched)
            update[kind] += _gradient(rewards, drawn, policy)
            own = zip(rewards, model, matched, lengths, strict=True)
            groups.append(
                WatchedGroup(
                    tuple(WatchedResponse(float(r), float(m), bool(k), int(n), False) for r, m, k, n in own), 1
                )
            )
        logits += setting.rate * update
        yield groups


def length_run(setting: Setting, slope: float) -> Iterator[list[WatchedGroup]]:
    """Yield the groups of a policy of varied lengths up to a cap, under a reward with a slope for each token."""
    rng = np.random.default_rng(setting.seed)
    lengths = np.arange(1, LIMIT + 1)
    logits = -((lengths - 10) ** 2) / (2 * 6.0**2)
    for _ in range(setting.steps):
        policy = np.exp(logits - logits.max())
        policy /= policy.sum()
        groups, update = [], np.zeros_like(logits)
        for _ in range(setting.prompts):
            drawn = rng.choice(LIMIT, GROUP, p=policy)
            rewards = slope * lengths[drawn] + rng.normal(0, 1, GROUP)
            update += _gradient(rewards, drawn, policy)
            own = zip(rewards, lengths[drawn], strict=True)
            groups.append(
                WatchedGroup(tuple(WatchedResponse(float(r), float(r), None, int(n), n == LIMIT) for r, n in own))
            )
        logits = logits + setting.rate * update
        yield groups


def _rewards(scheme: str, model: np.ndarray, matched: np.ndarray) -> np.ndarray:
    if scheme == "rule":
        return matched.astype(float)
    return model if scheme == "model" else np.where(matched, 1.0, 1 / (1 + np.exp(-model)))


def _gradient(rewards: np.ndarray, drawn: np.ndarray, policy: np.ndarray) -> np.ndarray:
    """Return the sum over a group of advantage times the gradient of the log-probability, over its size."""
    advantages = (rewards - rewards.mean()) / (rewards.std() + 1e-4)
    return np.bincount(drawn, weights=advantages, minlength=len(policy)) / len(drawn) - advantages.mean() * policy
