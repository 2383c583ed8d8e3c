"""Plots of a training set: its sources, lengths and images."""

from collections.abc import Mapping, Sequence

import numpy as np

from basereward.errors import DataError
from basereward.reporting.plots import (
    BLUE,
    GREY,
    ORANGE,
    ImageFormat,
    add_legend,
    double_ticks,
    label_axis,
    make_figure,
    make_rows,
    plain_ticks,
    render_figure,
)


def source_bars(sources: Mapping[str, tuple[int, int]], format: ImageFormat = "svg") -> bytes:
    """Draw the pairs of each source: those with images or videos, and those of text alone.

    Raises:
        DataError: no sources.
    """
    if not sources:
        raise DataError("There are no sources to draw.")
    names = list(sources)[::-1]
    seen, text = ([sources[name][side] for name in names] for side in (0, 1))
    figure, axis = make_rows(names)
    if any(seen):
        axis.barh(range(len(names)), seen, height=0.62, color=BLUE, label="with images or videos")
    if any(text):
        axis.barh(range(len(names)), text, left=seen, height=0.62, color=GREY, label="text alone")
    label_axis(axis, "", "pairs")
    add_legend(axis)
    return render_figure(figure, format)


def length_histogram(lengths: Mapping[str, np.ndarray], unit: str, format: ImageFormat = "svg") -> bytes:
    """Draw how long texts are, one line for each name, on a logarithmic axis; nothing at all stands with 1.

    Raises:
        DataError: no lengths.
    """
    longest = max((int(values.max()) for values in lengths.values() if len(values)), default=None)
    if longest is None:
        raise DataError("There are no lengths to draw.")
    edges = np.geomspace(0.9, max(longest, 2) * 1.1, 48).tolist()
    figure, [axis] = make_figure(1, 8.6, 2.7)
    # Broken where it lies on another line, which is seen through it.
    for (name, values), look in zip(lengths.items(), ((GREY, "-"), (BLUE, "-"), (ORANGE, (0, (3, 1)))), strict=False):
        values = np.maximum(values, 1)
        axis.hist(values, bins=edges, histtype="step", linewidth=1.6, color=look[0], linestyle=look[1], label=name)
    axis.set_xscale("log")
    plain_ticks(axis.xaxis)
    label_axis(axis, "Pairs", unit)
    add_legend(axis)
    return render_figure(figure, format)


def length_difference_histogram(differences: np.ndarray, unit: str, format: ImageFormat = "svg") -> bytes:
    """Draw how much longer chosen responses are than rejected ones, logarithmic to both sides of zero.

    Raises:
        DataError: no differences.
    """
    if not len(differences):
        raise DataError("There are no differences to draw.")
    figure, [axis] = make_figure(1, 8.6, 2.7)
    # Halves as edges, so that zero has a bar of its own and a number always stands on its side.
    side = np.geomspace(0.5, max(int(np.abs(differences).max()), 20) * 1.1, 30).tolist()
    kinds = (
        ("rejected longer", differences < 0, [-edge for edge in reversed(side)], ORANGE),
        ("equal", differences == 0, [-0.5, 0.5], GREY),
        ("chosen longer", differences > 0, side, BLUE),
    )
    for name, own, edges, color in kinds:
        axis.hist(differences[own], bins=edges, color=color, label=f"{name} ({int(own.sum()):,})")
    axis.set_xscale("symlog", linthresh=1, linscale=0.3)
    axis.set_xlim(-side[-1], side[-1])
    plain_ticks(axis.xaxis)
    label_axis(axis, "Pairs", f"{unit} of chosen - rejected")
    add_legend(axis)
    return render_figure(figure, format)


def image_sizes(sizes: Sequence[Sequence[int]], per_pair: Mapping[int, int], format: ImageFormat = "svg") -> bytes:
    """Draw widths against heights, the area of a dot as its count, and how many images a pair has.

    Args:
        sizes: width, height and count.
        per_pair: pairs by their number of images.

    Raises:
        DataError: no sizes.
    """
    if not sizes:
        raise DataError("There are no sizes of images to draw.")
    figure, axes = make_figure(2, 8.6, 2.9)
    widths, heights, counts = np.array(sizes).T
    axes[0].scatter(widths, heights, s=6 + 90 * counts / counts.max(), color=BLUE, alpha=0.45, linewidths=0)
    axes[0].set(xscale="log", yscale="log")
    ends = [min(widths.min(), heights.min()) / 2, max(widths.max(), heights.max()) * 2]
    for scale in (axes[0].xaxis, axes[0].yaxis):
        double_ticks(scale)
    axes[0].set(xlim=ends, ylim=ends)
    label_axis(axes[0], "Height in pixels", "width in pixels")
    axes[1].bar([str(number) for number in per_pair], list(per_pair.values()), width=0.62, color=BLUE)
    label_axis(axes[1], "Pairs", "images of a pair")
    axes[1].grid(visible=False, axis="x")
    return render_figure(figure, format)
