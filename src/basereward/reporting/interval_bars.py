"""Intervals beside their marks as one inline SVG that is readable on a phone; its colours are those of the page."""

from collections.abc import Iterator, Sequence
from html import escape
from math import floor
from typing import NamedTuple

WIDTH, EDGE, ROW, FONT = 360, 6, 36, 12
# Lengths of a step of the axis, from which about five fit.
STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class IntervalBar(NamedTuple):
    """A value with its interval and its mark.

    Args:
        tone: name of the page's colour: correct, wrong or soft.
    """

    name: str
    note: str
    tone: str
    value: float
    low: float
    high: float
    mark: float


def draw_intervals(bars: Sequence[IntervalBar]) -> str:
    """Return bars from the low to the high ends of intervals over one axis, with values as dots and marks as lines."""
    low = min(0.0, *(bar.low for bar in bars))
    high = max(0.0, *(max(bar.high, bar.mark) for bar in bars)) * 1.03
    scale = (WIDTH - 2 * EDGE) / (high - low)

    def place(value: float) -> float:
        return round(EDGE + (value - low) * scale, 1)

    height = ROW * len(bars) + 20
    # The page gives figures a least width for their small print; this one has none.
    style = f"min-width: 0; max-width: {1.6 * WIDTH:.0f}px"
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" style="{style}">']
    for step in _ticks(low, high):
        x = place(step)
        parts.append(f'<path d="M{x} 4V{height - 16}" stroke="var(--line)"/>')
        parts.append(_text(x, height - 4, f"{step:g}", "middle", "var(--soft)"))
    for number, bar in enumerate(bars):
        parts += _row(bar, ROW * number, place(bar.low), place(bar.value), place(bar.high), place(bar.mark))
    return "".join([*parts, "</svg>"])


def _row(bar: IntervalBar, top: int, low: float, value: float, high: float, mark: float) -> Iterator[str]:
    colour, middle = f"var(--{bar.tone})", top + 25
    yield _text(EDGE, top + 15, bar.name, "start", "currentColor")
    yield _text(WIDTH - EDGE, top + 15, bar.note, "end", colour)
    yield f'<path d="M{low} {middle}H{max(high, low + 1)}" stroke="{colour}" stroke-width="5" opacity=".55"/>'
    yield f'<circle cx="{value}" cy="{middle}" r="4" fill="{colour}"/>'
    yield f'<path d="M{mark} {middle - 7}V{middle + 7}" stroke="currentColor" stroke-width="2"/>'


def _text(x: float, y: float, words: str, anchor: str, colour: str) -> str:
    return f'<text x="{x}" y="{y}" font-size="{FONT}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'


def _ticks(low: float, high: float) -> list[float]:
    step = next((size for size in STEPS if (high - low) / size <= 6), STEPS[-1])
    return [round(number * step, 2) for number in range(-floor(-low / step), floor(high / step) + 1)]
