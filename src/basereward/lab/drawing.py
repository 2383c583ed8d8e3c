"""Draws the scenes of the lab's world: dark 56 x 56 images with a few coloured things.

A cell has 28 pixels, which is one visual token of a Qwen2.5-VL backbone. Every drawing function takes the random
generator of its scene, so that an image is a function of that generator's seed alone.
"""

from dataclasses import dataclass
from random import Random

from PIL import Image, ImageDraw

CELL = 28
SIDE = 2 * CELL
CELL_CENTERS = ((14, 14), (42, 14), (14, 42), (42, 42))
COLORS = {
    "red": (220, 40, 40),
    "green": (40, 190, 60),
    "blue": (50, 80, 230),
    "yellow": (230, 220, 50),
    "purple": (160, 50, 200),
    "white": (235, 235, 235),
}
SHAPES = ("circle", "square", "triangle")
RADII = {"small": (5, 6), "normal": (9, 12), "big": (11, 13)}

_DARKEST, _LIGHTEST_GROUND = 0, 50
_COLOR_NOISE = 12
_JITTER = 2
# The segments of a seven-segment display, as boxes (left, top, right, bottom) of a 3 x 5 grid: no font is needed, so
# a digit has the same pixels with every build of Pillow.
_SEGMENTS = {
    "a": (0, 0, 2, 0),
    "b": (2, 0, 2, 2),
    "c": (2, 2, 2, 4),
    "d": (0, 4, 2, 4),
    "e": (0, 2, 0, 4),
    "f": (0, 0, 0, 2),
    "g": (0, 2, 2, 2),
}
_LIT = ("abcdef", "bc", "abged", "abgcd", "fgbc", "afgcd", "afgedc", "abc", "abcdefg", "abcdfg")


@dataclass(frozen=True, slots=True)
class Thing:
    """One object of a scene: its colour, its shape, its size and the centre of its cell in pixels."""

    color: str
    shape: str = "circle"
    size: str = "normal"
    center: tuple[int, int] = CELL_CENTERS[0]


def draw_things(things: list[Thing], rng: Random) -> Image.Image:
    """Draw each object near the centre of its cell."""
    image, pen = _ground(rng)
    for thing in things:
        x, y = (center + rng.randint(-_JITTER, _JITTER) for center in thing.center)
        radius = rng.randint(*RADII[thing.size])
        box = (x - radius, y - radius, x + radius, y + radius)
        fill = _noisy(thing.color, rng)
        if thing.shape == "circle":
            pen.ellipse(box, fill=fill)
        elif thing.shape == "square":
            pen.rectangle(box, fill=fill)
        else:
            pen.polygon([(x, y - radius), (x - radius, y + radius), (x + radius, y + radius)], fill=fill)
    return image


def draw_bars(heights: tuple[int, int], colors: tuple[str, str], rng: Random) -> Image.Image:
    """Draw a bar chart of two bars, left and right, whose heights are given in pixels."""
    image, pen = _ground(rng)
    floor = SIDE - 3 + rng.randint(-_JITTER, _JITTER)
    for middle, height, color in zip((CELL // 2, CELL + CELL // 2), heights, colors, strict=True):
        half = rng.randint(5, 8)
        pen.rectangle((middle - half, floor - height, middle + half, floor), fill=_noisy(color, rng))
    return image


def draw_digit(digit: int, color: str, rng: Random) -> Image.Image:
    """Draw one digit, as a seven-segment display shows it, over the whole image."""
    image, pen = _ground(rng)
    left, top = (8 + rng.randint(-_JITTER, _JITTER) for _ in range(2))
    fill = _noisy(color, rng)
    stroke, pitch_x, pitch_y = 7, 16, 8
    for name in _LIT[digit]:
        x0, y0, x1, y1 = _SEGMENTS[name]
        start = (left + x0 * pitch_x, top + y0 * pitch_y)
        end = (left + x1 * pitch_x + stroke, top + y1 * pitch_y + stroke)
        pen.rectangle((*start, *end), fill=fill)
    return image


def _ground(rng: Random) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    shade = tuple(rng.randint(_DARKEST, _LIGHTEST_GROUND) for _ in range(3))
    image = Image.new("RGB", (SIDE, SIDE), shade)
    return image, ImageDraw.Draw(image)


def _noisy(color: str, rng: Random) -> tuple[int, ...]:
    return tuple(min(255, max(0, c + rng.randint(-_COLOR_NOISE, _COLOR_NOISE))) for c in COLORS[color])
