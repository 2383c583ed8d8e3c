"""Invented benchmark questions and pictures, and the ways in which a training set may hold them."""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from basereward.errors import DataError

Messages = list[dict[str, Any]]
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_ADJECTIVES = (
    *("yellow", "narrow", "wooden", "silver", "broken", "rusty", "quiet"),
    *("tall", "striped", "faded", "heavy", "round", "painted", "empty"),
)
_THINGS = (
    *("boats", "lanterns", "ladders", "kettles", "bicycles", "baskets"),
    *("windows", "wagons", "statues", "barrels", "mirrors", "drums"),
)
_PLACES = (
    "in the harbour at dawn",
    "behind the market hall",
    "on the upper terrace",
    "along the frozen canal",
    "under the iron bridge",
    "beside the flower stall",
    "in front of the bakery",
    "near the railway clock",
    "at the edge of the orchard",
    "on the second landing",
)
_ACTS = (
    "carry a red mark",
    "lean against something",
    "are tied with a rope",
    "throw a long shadow",
    "stand apart from the others",
    "are covered with snow",
    "face towards the viewer",
    "have lost their paint",
)
_QUESTIONS = (
    "How many of the {0} {1} {2} {3}, and which of them stands closest to the {4} {5}?",
    "Describe what the {0} {1} {2} have in common with the {4} {5} that {3}.",
    "If the {0} {1} {2} were taken away, which {4} {5} would still {3} there?",
    "Which side of the picture shows the {0} {1} that {3}, and what lies {2} next to the {4} {5}?",
    "Why would someone say that the {4} {5} {2} matter more than the {0} {1} that {3}?",
)
# What pairs ask that leak nothing: other forms of question about the same things.
_OTHERS = (
    "What would you call this style of photograph, given that the {0} {1} fill half of it?",
    "Please count the {4} {5} twice and tell me whether both counts agree.",
    "My daughter thinks the {0} {1} are toys. Is she right, and how can you tell?",
    "Write a caption of two lines for this scene {2}, without naming any colour.",
    "Are there people among the {4} {5}? If so, what are they doing?",
    "Which season is it, judging by the {0} {1} and by the light {2}?",
    "Compare the sizes of the {1} and the {5}; a rough estimate in metres is enough.",
)
_SHORT = ("Where do the {0} {1} stand?", "What lies under the {0} {1}?", "Who painted the {0} {1}?")
_ANSWERS = (
    "Looking closely, the {0} {1} {2} {3}, while the {4} {5} do not; so one should count them from left to right "
    "and leave out those that the frame cuts off.",
    "It seems that somebody placed the {4} {5} {2} on purpose, since the {0} {1} {3} and nothing else around them "
    "does so in this light.",
)


def fill(templates: Sequence[str], number: int) -> str:
    """Return text ``number`` of a family: one of its templates with words that the number decides.

    The first adjective and thing count through all pairs of them, so that 168 texts differ.
    """
    generator = np.random.default_rng((len(templates), number))
    words = [generator.choice(own) for own in (_ADJECTIVES, _THINGS, _PLACES, _ACTS, _ADJECTIVES, _THINGS)]
    words[:2] = _ADJECTIVES[number % len(_ADJECTIVES)], _THINGS[number // len(_ADJECTIVES) % len(_THINGS)]
    return templates[number % len(templates)].format(*words)


def question(number: int) -> str:
    """Return a question of 14 words or more."""
    return fill(_QUESTIONS, number)


def other_question(number: int) -> str:
    """Return a question of another form than any ``question``."""
    return fill(_OTHERS, number)


def short_question(number: int) -> str:
    """Return a question of six words."""
    return fill(_SHORT, number)


def answer(number: int) -> str:
    """Return a response of 20 words or more."""
    return fill(_ANSWERS, number)


def said(role: str, text: str, images: int = 0) -> dict[str, Any]:
    """Return a message with image parts in front of its text."""
    return {"role": role, "content": [{"type": "image"}] * images + [{"type": "text", "text": text}]}


def _turn(asked: str) -> Messages:
    before = said("user", "I am sorting my notes on a small town. Could you help me with a few of them?")
    return [
        before,
        said("assistant", "Gladly. Send me the first one, and say how long it should be."),
        said("user", asked),
    ]


def _misspelt(asked: str) -> Messages:
    words = asked.split(" ")
    place = max(range(len(words)), key=lambda at: len(words[at].strip("?")))
    letters = words[place]
    words[place] = letters[:2] + letters[3] + letters[2] + letters[4:]
    return [said("user", " ".join(words))]


# How a prompt may ask a question; the first ones have a bar.
TEXT_MODES: Mapping[str, Callable[[str], Messages]] = {
    "as it is": lambda asked: [said("user", asked)],
    "behind a system prompt": lambda asked: [
        said("system", "You help patient readers. Keep to what is shown, be brief, and say when you are not sure."),
        said("user", asked),
    ],
    "after a turn": _turn,
    "in a template": lambda asked: [
        said("user", f"A task follows. Solve it as well as you can.\n\n## Task\n{asked}\n\n## Your solution\n")
    ],
    "inside a longer prompt": lambda asked: [
        said(
            "user",
            "My sister sent me a picture from her holidays, and we could not agree about it over dinner. She wrote: "
            f"{asked} I would have said that nobody can know. Please settle it, and explain each step to both of us.",
        )
    ],
    "with zero-width characters": lambda asked: [
        said("user", "\u200b".join(asked[at : at + 3] for at in range(0, len(asked), 3)))
    ],
}
SHORT_MODES: Mapping[str, Callable[[str], Messages]] = {
    "short, misspelt": _misspelt,
    "short, with a suffix": lambda asked: [said("user", f"{asked} Answer in one sentence.")],
}


def _crop(image: Image.Image, share: float, corner: bool = False) -> Image.Image:
    width, height = image.size
    cut = round(width * share), round(height * share)
    left, top = (0, 0) if corner else (cut[0] // 2, cut[1] // 2)
    return image.crop((left, top, left + width - cut[0], top + height - cut[1]))


def _pad(image: Image.Image) -> Image.Image:
    side = max(image.size)
    return ImageOps.pad(image, (side, side), color="black")


# How a picture may come again; ``REPORTED`` are looked for without a promise.
IMAGE_MODES: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "another encoding": lambda image: image,
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "centred crop of 5 %": lambda image: _crop(image, 0.05),
    "centred crop of 10 %": lambda image: _crop(image, 0.10),
    "border of 5 %": lambda image: ImageOps.expand(image, round(0.05 * image.width), "white"),
    "padded to a square": _pad,
    "mirrored": ImageOps.mirror,
    "corner crop of 10 %": lambda image: _crop(image, 0.10, corner=True),
    "rotated by 3 degrees": lambda image: image.rotate(3, Image.Resampling.BICUBIC),
}
REPORTED = ("corner crop of 10 %", "rotated by 3 degrees")


def drawn_picture(number: int) -> Image.Image:
    """Return a scene of shapes on a clouded ground, in one of several formats."""
    generator = np.random.default_rng((7, number))
    width, height = ((320, 240), (240, 320), (300, 300), (384, 216))[number % 4]
    ground = np.zeros((height, width, 3))
    for cells, weight in ((3, 0.6), (9, 0.3), (40, 0.1)):
        noise = Image.fromarray(generator.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        ground += weight * np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC), dtype=float)
    image = Image.fromarray(ground.astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for _ in range(int(generator.integers(6, 14))):
        left, top = generator.integers(0, width - 20), generator.integers(0, height - 20)
        size = generator.integers(15, width // 3, 2)
        box = [int(left), int(top), int(left + size[0]), int(top + size[1])]
        draw = (pen.ellipse, pen.rectangle)[int(generator.integers(2))]
        draw(box, fill=tuple(generator.integers(0, 256, 3).tolist()), outline="black")
    return image


def given_pictures(folder: Path, count: int) -> list[Image.Image]:
    """Return so many pictures of a folder, drawn at random.

    Raises:
        DataError: it has fewer.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if len(files) < count:
        raise DataError(f"{folder} has {len(files)} pictures, expected {count}; ask for fewer items and controls.")
    chosen = np.random.default_rng(0).permutation(len(files))[:count]
    return [Image.open(files[place]).convert("RGB") for place in chosen.tolist()]


def encode(image: Image.Image, quality: int = 90) -> bytes:
    """Return a picture as a JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
