"""Plots as SVG or PNG bytes, ready to be put into a page; the only module that imports matplotlib."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from basereward.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Format = Literal["svg", "png"]
BLUE, ORANGE, GREY = "#3f7fbf", "#d0743c", "#8a8f98"
# Drawn in this colour, then renamed, so that the text of an inline SVG follows the page in light and dark.
INK, PAGE_INK = "#010203", "currentColor"


def require_matplotlib() -> None:
    """Fail before long work whose report would need it, rather than after.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("Plots need matplotlib: pip install basereward[report]") from error


def training_curve(metrics: Sequence[Mapping[str, Any]], format: Format = "svg") -> bytes:
    """Draw the loss and the accuracies over the steps; lines may each hold a part of the keys.

    Raises:
        DataError: no line has ``step`` and ``loss``, ``accuracy`` or ``eval_accuracy``.
    """
    loss, seen, held_out = (_series(metrics, key) for key in ("loss", "accuracy", "eval_accuracy"))
    panels = [bool(loss[0]), bool(seen[0] or held_out[0])]
    if not any(panels):
        raise DataError("No line of the metrics has a step with loss, accuracy or eval_accuracy.")
    figure, axes = _figure(sum(panels), 8.6, 2.9)
    if panels[0]:
        axes[0].plot(*loss, color=BLUE, linewidth=1.6)
        _label(axes[0], "Loss", "step")
        axes[0].set_ylim(bottom=min(0, *loss[1]))
    if panels[1]:
        if seen[0]:
            axes[-1].plot(*seen, color=GREY, alpha=0.55, linewidth=0.8, label="training batches")
        if held_out[0]:
            axes[-1].plot(*held_out, color=BLUE, linewidth=1.8, marker="o", markersize=3.5, label="held out")
        axes[-1].axhline(0.5, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
        _label(axes[-1], "Pair accuracy", "step")
        axes[-1].set_ylim(top=1.02)
        _legend(axes[-1])
    return _render(figure, format)


def accuracy_bars(evaluations: Mapping[str, Mapping[str, Any]], format: Format = "svg") -> bytes:
    """Draw each scorer's accuracy with its interval, the first one highlighted, beside the line of chance.

    Raises:
        DataError: no evaluation has an accuracy.
    """
    metrics = {name: summary.get("metrics", {}).get("accuracy", {}) for name, summary in evaluations.items()}
    scored = {name: metric for name, metric in metrics.items() if metric.get("value") is not None}
    if not scored:
        raise DataError("No evaluation has an accuracy.")
    names = list(scored)[::-1]
    values = [scored[name]["value"] for name in names]
    below = [scored[name]["value"] - scored[name]["low"] for name in names]
    above = [scored[name]["high"] - scored[name]["value"] for name in names]
    figure, [axis] = _figure(1, 8.6, 0.9 + 0.36 * len(names))
    axis.barh(names, values, height=0.62, color=[GREY] * (len(names) - 1) + [BLUE])
    axis.errorbar(values, names, xerr=[below, above], fmt="none", ecolor=INK, elinewidth=1.1, capsize=3)
    for row, value in enumerate(values):
        axis.text(1.02, row, f"{100 * value:.1f} %", va="center", color=INK)
    axis.axvline(0.5, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    axis.set_xlim(0, 1)
    _label(axis, "", "pair accuracy with 95 % interval; the broken line is chance")
    axis.grid(visible=False, axis="y")
    return _render(figure, format)


def margin_histogram(margins: Sequence[float], format: Format = "svg") -> bytes:
    """Draw how far chosen scores lie above rejected ones; what is left of zero is wrong.

    Raises:
        DataError: no margins.
    """
    if not len(margins):
        raise DataError("There are no margins to draw.")
    figure, [axis] = _figure(1, 8.6, 2.6)
    # Both sides share the edges, with zero as one of them, so that no bar mixes right and wrong.
    width = (max(0.0, *margins) - min(0.0, *margins)) / 40 or 1.0
    first, last = int(min(0.0, *margins) // width), int(max(0.0, *margins) // width) + 1
    edges = [width * edge for edge in range(first, last + 1)]
    wrong, correct = [m for m in margins if m < 0], [m for m in margins if m > 0]
    axis.hist(wrong, bins=edges, color=ORANGE, label=f"wrong ({len(wrong)})")
    axis.hist(correct, bins=edges, color=BLUE, label=f"correct ({len(correct)})")
    axis.axvline(0, color=INK, linewidth=0.8)
    _label(axis, "Pairs", "margin: chosen score - rejected score")
    _legend(axis)
    return _render(figure, format)


def _series(metrics: Sequence[Mapping[str, Any]], key: str) -> tuple[list[float], list[float]]:
    points = [(row["step"], row[key]) for row in metrics if row.get("step") is not None and row.get(key) is not None]
    return [step for step, _ in points], [value for _, value in points]


def _figure(columns: int, width: float, height: float) -> "tuple[Figure, list[Axes]]":
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(1, columns, column + 1) for column in range(columns)]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines[["left", "bottom"]].set_color(GREY)
        axis.tick_params(color=GREY, labelcolor=INK, labelsize=9)
        axis.grid(color=GREY, alpha=0.25, linewidth=0.6)
        axis.set_axisbelow(True)
        axis.patch.set_alpha(0)
    return figure, axes


def _label(axis: "Axes", title: str, below: str) -> None:
    axis.set_title(title, loc="left", fontsize=10, color=INK, fontweight="bold")
    axis.set_xlabel(below, fontsize=9, color=INK)


def _legend(axis: "Axes") -> None:
    """Put the legend beside the title, where it covers no line."""
    place: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1.0, 0.99), "ncols": 2}
    axis.legend(**place, frameon=False, fontsize=9, labelcolor=INK, handlelength=1.4, borderaxespad=0)


def _render(figure: "Figure", format: Format) -> bytes:
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
