"""Plots as SVG or PNG bytes, ready to be put into a page; the only module that imports matplotlib."""

import io
from collections.abc import Mapping, Sequence
from math import ceil
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from basereward.benchmarks.formulas import Metric
from basereward.errors import DataError, MissingExtraError
from basereward.statistics import usual_range

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

ImageFormat = Literal["svg", "png"]
NAME_CHARACTERS = 48
# So many panels beside each other have room for titles of the usual size.
_WIDE_PANELS = 5
BLUE, ORANGE, GREY = "#3f7fbf", "#d0743c", "#8a8f98"
# Drawn in this colour, then renamed, so that the text of an inline SVG follows the page in light and dark.
INK, PAGE_INK = "#010203", "currentColor"


class Line(NamedTuple):
    """A line of a panel: its points, and its band if it has one; ``is_faint`` puts it behind the others."""

    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    is_faint: bool = False


class Panel(NamedTuple):
    """A small plot: lines by name, and places on the x axis that are marked."""

    title: str
    below: str
    lines: Mapping[str, Line]
    marks: Sequence[float] = ()
    is_log: bool = False


def require_matplotlib() -> None:
    """Fail before long work whose report would need it, rather than after.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("Plots need matplotlib: pip install 'basereward[report]'") from error


def training_curve(metrics: Sequence[Mapping[str, Any]], format: ImageFormat = "svg") -> bytes:
    """Draw the loss and the accuracies over the steps; lines may each hold a part of the keys.

    Raises:
        DataError: no line has ``step`` and ``loss``, ``accuracy`` or ``eval_accuracy``.
    """
    loss, seen, held_out = (_series(metrics, key) for key in ("loss", "accuracy", "eval_accuracy"))
    panels = [bool(loss[0]), bool(seen[0] or held_out[0])]
    if not any(panels):
        raise DataError("No line of the metrics has a step with loss, accuracy or eval_accuracy.")
    figure, axes = make_figure(sum(panels), 8.6, 2.9)
    if panels[0]:
        axes[0].plot(*loss, color=BLUE, linewidth=1.6)
        label_axis(axes[0], "Loss", "step")
        axes[0].set_ylim(bottom=min(0, *loss[1]))
    if panels[1]:
        if seen[0]:
            axes[-1].plot(*seen, color=GREY, alpha=0.55, linewidth=0.8, label="training batches")
        if held_out[0]:
            axes[-1].plot(*held_out, color=BLUE, linewidth=1.8, marker="o", markersize=3.5, label="held out")
        axes[-1].axhline(0.5, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
        label_axis(axes[-1], "Pair accuracy", "step")
        axes[-1].set_ylim(top=1.02)
        add_legend(axes[-1])
    return render_figure(figure, format)


def line_panels(panels: Sequence[Panel], format: ImageFormat = "svg", columns: int = 3) -> bytes:
    """Draw panels of lines beside and below each other.

    Raises:
        DataError: no panels.
    """
    if not panels:
        raise DataError("There is nothing to draw.")
    columns = min(columns, len(panels))
    rows = ceil(len(panels) / columns)
    figure, axes = make_figure(columns, 8.6, 2.3 * rows + 0.3, rows)
    for axis, panel in zip(axes, panels, strict=False):
        _draw_panel(axis, panel)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    return render_figure(figure, format)


def _draw_panel(axis: "Axes", panel: Panel) -> None:
    colors = iter((BLUE, ORANGE, GREY))
    for name, line in panel.lines.items():
        color = GREY if line.is_faint else next(colors)
        width, alpha = (0.7, 0.6) if line.is_faint else (1.7, 1.0)
        label = None if line.is_faint else name
        axis.plot(line.x, line.y, color=color, linewidth=width, alpha=alpha, label=label)
        if line.low:
            axis.fill_between(line.x, line.low, line.high, color=color, alpha=0.15, linewidth=0)
    for mark in panel.marks:
        axis.axvline(mark, color=ORANGE, linewidth=1.2, linestyle=(0, (4, 3)))
    if panel.is_log:
        axis.set_xscale("log", base=2)
        plain_ticks(axis.xaxis)
    label_axis(axis, panel.title, panel.below)
    if sum(not line.is_faint for line in panel.lines.values()) > 1:
        axis.legend(frameon=False, fontsize=8, labelcolor=INK, handlelength=1.4)


def accuracy_bars(accuracies: Mapping[str, Metric], format: ImageFormat = "svg", has_chance: bool = True) -> bytes:
    """Draw each scorer's accuracy with its interval, the first one highlighted, beside the line of chance.

    Args:
        has_chance: draw it, at one half; leave it out where a row has more than two responses.

    Raises:
        DataError: no evaluation has an accuracy.
    """
    figure, axis = _bars(accuracies, [BLUE, *[GREY] * (len(accuracies) - 1)])
    chance = "; the broken line is chance" if has_chance else ""
    if has_chance:
        axis.axvline(0.5, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    label_axis(axis, "", f"accuracy with 95 % interval{chance}")
    return render_figure(figure, format)


def group_bars(groups: Mapping[str, Metric], format: ImageFormat = "svg") -> bytes:
    """Draw the accuracy of each group with its interval and n.

    Raises:
        DataError: no group has an accuracy.
    """
    figure, axis = _bars({f"{name} ({own.n})": own for name, own in groups.items()}, [BLUE] * len(groups))
    label_axis(axis, "", "accuracy with 95 % interval; in brackets the rows")
    return render_figure(figure, format)


def difference_bars(differences: Mapping[str, Mapping[str, Any]], format: ImageFormat = "svg") -> bytes:
    """Draw differences with their intervals around zero: ``difference``, ``low`` and ``high`` of each name.

    Raises:
        DataError: no differences.
    """
    if not differences:
        raise DataError("There are no differences to draw.")
    names = list(differences)[::-1]
    own = [differences[name] for name in names]
    values = [100 * one["difference"] for one in own]
    lows, highs = ([100 * one[end] for one in own] for end in ("low", "high"))
    errors = np.maximum(0, [np.subtract(values, lows), np.subtract(highs, values)])
    figure, axis = make_rows(names)
    places = range(len(names))
    axis.errorbar(values, places, xerr=errors, fmt="o", color=BLUE, ecolor=INK, elinewidth=1.1, capsize=3)
    axis.axvline(0, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    label_axis(axis, "", "first - second, in points, with 95 % interval")
    return render_figure(figure, format)


def seed_dots(
    rows: Sequence[str], columns: Mapping[str, Sequence[Sequence[float]]], format: ImageFormat = "svg"
) -> bytes:
    """Draw a panel for each column of shares: of each row a dot for each seed, and their mean as a line across.

    Args:
        rows: names, the first one on top.
        columns: for each title the shares of each row, of which there may be none.

    Raises:
        DataError: no rows or no columns.
    """
    if not rows or not columns:
        raise DataError("There is nothing to draw.")
    # Of many panels each is narrow: its title takes several lines of smaller letters.
    size = 10 if len(columns) <= _WIDE_PANELS else 7
    titles = [wrap(title, 720 // (size * len(columns)), break_long_words=False) for title in columns]
    height = 0.9 + 0.36 * len(rows) + 0.16 * max(map(len, titles))
    figure, axes = make_figure(len(columns), 8.6, height)
    for number, (axis, lines, values) in enumerate(zip(axes, titles, columns.values(), strict=True)):
        for place, own in enumerate(values):
            axis.plot(own, [place] * len(own), "o", color=BLUE, alpha=0.6, markersize=5)
            if len(own):
                axis.plot([np.mean(own)] * 2, [place - 0.3, place + 0.3], color=ORANGE, linewidth=1.8)
        axis.set_yticks(range(len(rows)), [name.replace("$", r"\$") for name in rows] if number == 0 else [])
        axis.set_ylim(len(rows) - 0.4, -0.6)
        # Numbers below narrow panels would run into each other, and no share is above 1.
        axis.locator_params(axis="x", nbins=2 if size < 10 else 4)
        axis.tick_params(axis="x", labelsize=size)
        axis.set_xlim(right=min(axis.get_xlim()[1], 1.015))
        label_axis(axis, "\n".join(lines), "", size)
    return render_figure(figure, format)


def margin_histogram(
    margins: Sequence[float],
    format: ImageFormat = "svg",
    below: str = "margin: chosen score - rejected score",
    sides: tuple[str, str] = ("wrong", "correct"),
) -> bytes:
    """Draw how far chosen scores lie above rejected ones; what is left of zero is wrong, and ties are counted below.

    Args:
        below: what a margin is.
        sides: what margins below and above zero are.

    Raises:
        DataError: no margins.
    """
    if not len(margins):
        raise DataError("There are no margins to draw.")
    figure, [axis] = make_figure(1, 8.6, 2.6)
    low, high = usual_range(margins)
    beyond = sum(not low <= margin <= high for margin in margins)
    shown = np.clip(margins, low, high).tolist()
    # Both sides share the edges, with zero as one of them, so that no bar mixes right and wrong.
    width = (max(0.0, *shown) - min(0.0, *shown)) / 40 or 1.0
    first, last = int(min(0.0, *shown) // width), int(max(0.0, *shown) // width) + 1
    edges = [width * edge for edge in range(first, last + 1)]
    wrong, correct = [m for m in shown if m < 0], [m for m in shown if m > 0]
    axis.hist(wrong, bins=edges, color=ORANGE, label=f"{sides[0]} ({len(wrong)})")
    axis.hist(correct, bins=edges, color=BLUE, label=f"{sides[1]} ({len(correct)})")
    axis.axvline(0, color=INK, linewidth=0.8)
    ties = len(margins) - len(wrong) - len(correct)
    notes = [below, *([f"{ties:,} at zero"] if ties else [])]
    if beyond:
        ends = f"{min(margins):.4g} to {max(margins):.4g}"
        notes.append(f"{beyond:,} beyond the axis stand in its last bars (all: {ends})")
    label_axis(axis, "Pairs", "; ".join(notes))
    add_legend(axis)
    return render_figure(figure, format)


def reliability_diagram(
    points: Mapping[str, Sequence[tuple[float, float, float]]], format: ImageFormat = "svg"
) -> bytes:
    """Draw how often comparisons are right over how sure they are, beside the line on which both are equal.

    Args:
        points: by name, the mean confidence, the accuracy and the share of each bin; a dot's area grows with its share.

    Raises:
        DataError: no points.
    """
    if not any(points.values()):
        raise DataError("There are no comparisons to draw.")
    figure, [axis] = make_figure(1, 8.6, 3.2)
    axis.plot([0.5, 1], [0.5, 1], color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    colors = (BLUE,) if len(points) == 1 else (GREY, BLUE, ORANGE)
    for (name, own), color in zip(points.items(), colors, strict=False):
        confidence, accuracy, share = zip(*own, strict=True)
        axis.plot(confidence, accuracy, color=color, linewidth=1.2)
        axis.scatter(confidence, accuracy, s=300 * np.array(share), color=color, label=name)
    label_axis(axis, "Share that is right", "mean confidence of the comparisons in a bin")
    if len(points) > 1:
        add_legend(axis)
    return render_figure(figure, format)


def plain_ticks(axis: "Axis") -> None:
    """Write the ticks of a logarithmic axis as whole numbers."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axis.set_minor_formatter(NullFormatter())


def double_ticks(axis: "Axis") -> None:
    """Put plain ticks at the powers of two."""
    from matplotlib.ticker import LogLocator

    axis.set_major_locator(LogLocator(base=2))
    plain_ticks(axis)


def _bars(metrics: Mapping[str, Metric], colors: Sequence[str]) -> "tuple[Figure, Axes]":
    """Draw shares with their intervals, the first one on top, and write each beside its bar."""
    scored = [
        (name, own.value, own.low, own.high, color)
        for (name, own), color in zip(metrics.items(), colors, strict=True)
        if own.value is not None and own.low is not None and own.high is not None
    ][::-1]
    if not scored:
        raise DataError("There is no accuracy to draw.")
    names, values, lows, highs, shown = map(list, zip(*scored, strict=True))
    figure, axis = make_rows(names)
    places = range(len(names))
    errors = np.maximum(0, [np.subtract(values, lows), np.subtract(highs, values)])
    axis.barh(places, values, height=0.62, color=shown)
    axis.errorbar(values, places, xerr=errors, fmt="none", ecolor=INK, elinewidth=1.1, capsize=3)
    for row, value in enumerate(values):
        axis.text(1.02, row, f"{100 * value:.1f} %", va="center", color=INK)
    axis.set_xlim(0, 1)
    return figure, axis


def make_rows(names: Sequence[str]) -> "tuple[Figure, Axes]":
    """Return axes with a line for each name, the first one at the bottom."""
    figure, [axis] = make_figure(1, 8.6, 0.9 + 0.36 * len(names))
    short = (name if len(name) <= NAME_CHARACTERS else f"{name[: NAME_CHARACTERS - 3]}..." for name in names)
    # Between dollars matplotlib would read mathematics.
    axis.set_yticks(range(len(names)), [name.replace("$", r"\$") for name in short])
    axis.set_ylim(-0.6, len(names) - 0.4)
    axis.grid(visible=False, axis="y")
    return figure, axis


def draw_seeds(
    axis: "Axes", at: float, values: Sequence[float], ends: tuple[float, float] | None, is_upright: bool
) -> None:
    """Draw the mean of some values at a place of an axis, with its interval, and a small dot for each value."""
    sides = ([at] * len(values), values) if is_upright else (values, [at] * len(values))
    axis.plot(*sides, "o", color=ORANGE, alpha=0.7, markersize=3.5, zorder=3)
    mean = float(np.mean(values))
    reach = None if ends is None else [[mean - ends[0]], [ends[1] - mean]]
    across, along = (None, reach) if is_upright else (reach, None)
    x, y = (at, mean) if is_upright else (mean, at)
    axis.errorbar(x, y, yerr=along, xerr=across, fmt="o", color=BLUE, ecolor=INK, elinewidth=1.1, capsize=3)


def _series(metrics: Sequence[Mapping[str, Any]], key: str) -> tuple[list[float], list[float]]:
    points = [(row["step"], row[key]) for row in metrics if row.get("step") is not None and row.get(key) is not None]
    return [step for step, _ in points], [value for _, value in points]


def make_figure(columns: int, width: float, height: float, rows: int = 1) -> "tuple[Figure, list[Axes]]":
    """Return a figure of so many inches and its axes, row by row.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(rows, columns, place + 1) for place in range(rows * columns)]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines[["left", "bottom"]].set_color(GREY)
        axis.tick_params(color=GREY, labelcolor=INK, labelsize=9)
        axis.grid(color=GREY, alpha=0.25, linewidth=0.6)
        axis.set_axisbelow(True)
        axis.patch.set_alpha(0)
    return figure, axes


def label_axis(axis: "Axes", title: str, below: str, size: int = 10) -> None:
    """Write a title above, in letters of so many points, and what is measured below."""
    axis.set_title(title, loc="left", fontsize=size, color=INK, fontweight="bold")
    axis.set_xlabel(below, fontsize=9, color=INK)


def add_legend(axis: "Axes") -> None:
    """Put the legend beside the title, where it covers no line."""
    place: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1.0, 0.99), "ncols": 3}
    axis.legend(**place, frameon=False, fontsize=9, labelcolor=INK, handlelength=1.4, borderaxespad=0)


def render_figure(figure: "Figure", format: ImageFormat) -> bytes:
    """Return a figure as bytes; of an SVG without what has no place inside a page."""
    from matplotlib import rc_context

    buffer = io.BytesIO()
    # A fixed salt and no date: equal numbers give equal bytes.
    style: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "basereward", "font.family": "sans-serif"}
    with rc_context(style):
        if format == "png":
            figure.savefig(buffer, format="png", dpi=160, facecolor="white")
            return buffer.getvalue()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue().decode("utf-8").replace(INK, PAGE_INK)
    # The XML head has no place inside an HTML page.
    return text[text.index("<svg") :].encode("utf-8")
