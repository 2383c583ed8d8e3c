"""Scenes of which much is asked: several questions about one image, and several wrong answers to each.

Source: sets such as MMPR, which hold 7.5 to 11 pairs of an image (its card).
"""

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from basereward.data.schema import PreferencePair, messages_from_text
from basereward.lab.descriptions import SIZES
from basereward.lab.drawing import CELL_CENTERS, COLORS, SHAPES, Thing, draw_things

WRONG_ANSWERS = 2
# Two of colors and of shapes, one of sizes and of sides.
PAIRS = 6


class Question(NamedTuple):
    """What is asked of a scene: its kind, its words, the right answer, and wrong ones."""

    kind: str
    text: str
    truth: str
    wrong: tuple[str, ...]


def draw_scene_pairs(scenes: int, seed: int) -> Iterator[PreferencePair]:
    """Draw all pairs of so many scenes: of each question, the right answer before every wrong one.

    A scene shows one object and is asked for its color, its shape, its size and its place: six pairs of four prompts.
    """
    for number in range(scenes):
        rng = Random(f"scene/{seed}/{number}")
        thing = Thing(rng.choice(list(COLORS)), rng.choice(SHAPES), rng.choice(SIZES), rng.choice(CELL_CENTERS))
        image = draw_things([thing], rng)
        for question in _questions(thing, rng):
            for place, wrong in enumerate(question.wrong):
                yield PreferencePair(
                    id=f"scene-{seed}-{number}-{question.kind}-{place}",
                    source=f"lab/scenes/{question.kind}",
                    prompt=messages_from_text(question.text, images=1),
                    chosen=messages_from_text(question.truth, role="assistant"),
                    rejected=messages_from_text(wrong, role="assistant"),
                    images=(image,),
                )


def _questions(thing: Thing, rng: Random) -> Iterator[Question]:
    asked = (
        ("color1", "What color is the object?", thing.color, tuple(COLORS)),
        ("shape1", "What shape is the object?", thing.shape, SHAPES),
        ("size1", "What size is the object?", thing.size, SIZES),
    )
    for kind, text, truth, answers in asked:
        others = [answer for answer in answers if answer != truth]
        yield Question(kind, text, truth, tuple(rng.sample(others, min(WRONG_ANSWERS, len(others)))))
    column = thing.center[0]
    truth, wrong = ("left", "right") if column == CELL_CENTERS[0][0] else ("right", "left")
    yield Question("pos1", "Is the object at the left or the right?", truth, (wrong,))
