"""Planted worlds: pairs whose prompts tell their task in words, or do not, and experts of known strengths.

The worlds, their seeds and their pass marks stand in docs/routing.md.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from basereward.data.outcomes import About, Score
from basereward.data.schema import PreferencePair, messages_from_text
from basereward.scoring.compose.members import Members
from basereward.scoring.model_spec import ModelSpec

OWN_WORDS, COMMON_WORDS = 20, 200


class World(NamedTuple):
    """Shares of the tasks, and of each expert the probability to be right about each, and its cost."""

    tasks: dict[str, float]
    strengths: dict[str, tuple[float, ...]]
    costs: dict[str, float]
    is_told: bool = True


TOLD = World(
    {"chart": 0.45, "code": 0.45, "proof": 0.10},
    {"chart": (0.97, 0.6, 0.6), "code": (0.6, 0.97, 0.6), "large": (0.6, 0.6, 0.97)},
    {"chart": 1.0, "code": 1.0, "large": 3.0},
)
GENERALIST = World(
    {"easy": 0.9, "hard": 0.1}, {"small": (0.97, 0.55), "large": (0.97, 0.97)}, {"small": 1.0, "large": 3.0}
)
UNTOLD = TOLD._replace(is_told=False)


class Planted(NamedTuple):
    """Pairs, the experts, alone and as members, and who is right about which pair."""

    pairs: list[PreferencePair]
    experts: dict[str, "Expert"]
    members: Members
    right: np.ndarray


@dataclass
class Expert:
    """Gives the chosen response 1 and the rejected one -1 where it is right, and the other way round elsewhere."""

    name: str
    right: dict[str, bool]

    @property
    def about(self):
        """Without an identity, so that no score is remembered."""
        return About(self.name, sees_images=False)

    def score(self, groups):
        """Score by the pair's id."""
        return [
            [Score(1.0 if (own.text == "good") == self.right[group.id] else -1.0) for own in group.responses]
            for group in groups
        ]


def plant(world, pairs, seed):
    """Return a world's pairs and experts."""
    rng = np.random.default_rng(seed)
    tasks = rng.choice(len(world.tasks), pairs, p=list(world.tasks.values()))
    names = list(world.tasks)
    spoken = tasks if world.is_told else rng.choice(len(world.tasks), pairs, p=list(world.tasks.values()))
    made = []
    for number, (task, word) in enumerate(zip(tasks, spoken, strict=True)):
        words = [f"{names[word]}{rng.integers(OWN_WORDS)}" for _ in range(2)]
        words += [f"common{rng.integers(COMMON_WORDS)}" for _ in range(6)]
        prompt = messages_from_text(" ".join(rng.permutation(words)))
        answers = [messages_from_text(text, "assistant") for text in ("good", "bad")]
        made.append(PreferencePair(str(number), "planted", prompt, *answers, extra={"task": names[task]}))
    chance = np.array(list(world.strengths.values())).T[tasks]
    right = rng.random(chance.shape) < chance
    experts = {
        name: Expert(name, {pair.id: bool(right[n, k]) for n, pair in enumerate(made)})
        for k, name in enumerate(world.strengths)
    }
    specs = [ModelSpec(model=name) for name in experts]
    return Planted(made, experts, Members(specs, lambda spec: experts[spec.model]), right.astype(float))
