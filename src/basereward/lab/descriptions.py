"""Open-ended answers of the lab: descriptions of one object in many wordings, graded by the world's truth.

A description names a size, a colour and a shape. Many wordings say the same, so that no single text is the right
answer, and a wrong attribute is wrong whatever the wording.
"""

import re
from random import Random
from typing import NamedTuple

from basereward.lab.drawing import COLORS, SHAPES

SIZES = ("big", "small")
ATTRIBUTES = {"size": SIZES, "color": tuple(COLORS), "shape": SHAPES}
_WORDINGS = ("a {size} {color} {shape}", "{color} {shape}, {size}", "{size} {shape}, {color}")


class Facts(NamedTuple):
    """What one object is."""

    size: str
    color: str
    shape: str


def draw_facts(rng: Random) -> Facts:
    """Draw each attribute uniformly."""
    return Facts(*(rng.choice(words) for words in ATTRIBUTES.values()))


def describe(facts: Facts, rng: Random) -> str:
    """Return the facts in one of the wordings."""
    return rng.choice(_WORDINGS).format(**facts._asdict())


def change_one(facts: Facts, rng: Random) -> Facts:
    """Return the facts with one attribute replaced by another of its kind."""
    name = rng.choice(list(ATTRIBUTES))
    return facts._replace(**{name: rng.choice([word for word in ATTRIBUTES[name] if word != getattr(facts, name)])})


def read_facts(description: str) -> Facts:
    """Return what a description of the world says, whatever its wording.

    Raises:
        ValueError: it does not name exactly one word of each attribute.
    """
    said = _said(description)
    if not all(len(words) == 1 for words in said.values()):
        raise ValueError(f"{description!r} does not name one size, one colour and one shape.")
    return Facts(**{name: words.pop() for name, words in said.items()})


def grade(response: str, truth: str) -> float:
    """Return the share of the attributes of the truth that a response names, and names no other word of, in [0, 1]."""
    said, facts = _said(response), read_facts(truth)
    return sum(said[name] == {getattr(facts, name)} for name in ATTRIBUTES) / len(ATTRIBUTES)


def _said(text: str) -> dict[str, set[str]]:
    words = set(re.findall(r"[a-z]+", text.lower()))
    return {name: words & set(known) for name, known in ATTRIBUTES.items()}
