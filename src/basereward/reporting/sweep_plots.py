"""Plots of a sweep: its metric over one axis, over two, or point by point."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from basereward.errors import DataError
from basereward.reporting.plots import BLUE, ImageFormat, draw_seeds, label_axis, make_figure, make_rows, render_figure
from basereward.sweep.result import MeasuredPlace, SweptPoint

# From this ratio of the largest to the smallest value an axis is logarithmic.
_WIDE = 8
# Inches of a figure whose letters can be read at the width of a phone, and of a column of a map.
_NARROW, _COLUMN = 4.6, 1.0
_INTERVAL = "mean with its 95 % interval over seeds; small dots are seeds"


def sweep_plot(axes: Mapping[str, Sequence[Any]], place: MeasuredPlace, format: ImageFormat = "svg") -> bytes:
    """Draw a metric of a sweep: over its axis with intervals, as a map of two axes, or a row for each point.

    Raises:
        DataError: no point has a number.
    """
    drawn = [own for own in place.points if own.spread]
    if not drawn:
        raise DataError("No point of the sweep has a number to draw.")
    [*varied] = [key for key, values in axes.items() if len(values) > 1]
    if len(varied) == 1 and all(_is_number(value) for value in axes[varied[0]]):
        return _line(varied[0], drawn, place.metric, format)
    if len(varied) == 2:
        return _map(varied, axes, drawn, place.metric, format)
    return _rows(drawn, place.metric, format)


def _line(key: str, points: Sequence[SweptPoint], metric: str, format: ImageFormat) -> bytes:
    ordered = sorted(points, key=lambda own: own.values[key])
    places = [own.values[key] for own in ordered]
    figure, [axis] = make_figure(1, _NARROW, 3.1)
    means = [100 * own.spread.mean for own in ordered if own.spread]
    axis.plot(places, means, color=BLUE, linewidth=1.4)
    for x, own in zip(places, ordered, strict=True):
        draw_seeds(axis, x, *_marks(own), is_upright=True)
    if min(places) > 0 and max(places) / min(places) >= _WIDE:
        axis.set_xscale("log")
    axis.set_xticks(places, [f"{value:g}" for value in places])
    axis.set_xticks([], minor=True)
    label_axis(axis, f"{metric}, %", f"{key.rpartition('.')[2]}\n{_INTERVAL}")
    return _for_phones(render_figure(figure, format), format)


def _rows(points: Sequence[SweptPoint], metric: str, format: ImageFormat) -> bytes:
    ordered = list(points)[::-1]
    figure, axis = make_rows([own.point for own in ordered])
    for row, own in enumerate(ordered):
        draw_seeds(axis, row, *_marks(own), is_upright=False)
    label_axis(axis, f"{metric}, %", _INTERVAL)
    return render_figure(figure, format)


def _marks(own: SweptPoint) -> tuple[list[float], tuple[float, float] | None]:
    """Return the values of the seeds, and the ends of the interval if there is one, all in percent."""
    if own.spread is None:
        return [], None
    low, high = own.spread.low, own.spread.high
    ends = None if low is None or high is None else (100 * low, 100 * high)
    return [100 * value for value in own.spread.values], ends


def _map(
    varied: Sequence[str],
    axes: Mapping[str, Sequence[Any]],
    points: Sequence[SweptPoint],
    metric: str,
    format: ImageFormat,
) -> bytes:
    """Draw a map of two axes: the mean of each point by colour and in figures, with half of its interval."""
    down, across = varied
    rows, columns = (_ordered(axes[key]) for key in varied)
    numbers = np.full((len(rows), len(columns)), np.nan)
    notes: dict[tuple[int, int], str] = {}
    for own in points:
        if own.spread is None:
            continue
        spot = rows.index(own.values[down]), columns.index(own.values[across])
        numbers[spot] = 100 * own.spread.mean
        half = None if own.spread.low is None else 100 * (own.spread.mean - own.spread.low)
        short = "" if len(own.spread.values) == own.asked else f"\n{len(own.spread.values)} of {own.asked} seeds"
        notes[spot] = f"{numbers[spot]:.1f}" + ("" if half is None else f" ± {half:.1f}") + short
    figure, [axis] = make_figure(1, max(_NARROW, 1 + _COLUMN * len(columns)), 1.3 + 0.5 * len(rows))
    shown = axis.imshow(numbers, cmap="Blues", aspect="auto", alpha=0.75)
    low, high = shown.get_clim()
    for (row, column), note in notes.items():
        is_dark = high > low and (numbers[row, column] - low) / (high - low) > 0.6
        axis.text(column, row, note, ha="center", va="center", fontsize=9, color="white" if is_dark else "#111111")
    axis.grid(visible=False)
    axis.set_xticks(range(len(columns)), [_word(value) for value in columns])
    axis.set_yticks(range(len(rows)), [_word(value) for value in rows])
    below = f"across: {across.rpartition('.')[2]}, down: {down.rpartition('.')[2]}"
    label_axis(axis, f"{metric}, %", f"{below}\nmean ± half its 95 % interval over seeds")
    drawn = render_figure(figure, format)
    return _for_phones(drawn, format) if 1 + _COLUMN * len(columns) <= _NARROW else drawn


def _for_phones(drawn: bytes, format: ImageFormat) -> bytes:
    """Return a narrow figure without the least width that a page gives to wide ones for their small print."""
    return drawn.replace(b"<svg ", b'<svg style="min-width: 0; max-width: 36rem" ', 1) if format == "svg" else drawn


def _ordered(values: Sequence[Any]) -> list[Any]:
    return sorted(values) if all(_is_number(value) for value in values) else list(values)


def _word(value: Any) -> str:
    text = f"{value:g}" if _is_number(value) else str(value)
    return (text if len(text) <= 24 else f"{text[:21]}...").replace("$", r"\$")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
