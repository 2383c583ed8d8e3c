"""Tables say what the summaries say; plots are valid, deterministic and refuse to be empty."""

import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from basereward.benchmarks.formulas import Metric
from basereward.errors import DataError
from basereward.reporting import plots, tables

ACCURACY = Metric(value=0.91764, n=1200, low=0.867, high=0.95)
NOTHING = Metric(value=None, n=0, low=None, high=None)
METRICS = [{"step": step, "loss": 1 / step} for step in range(1, 5)] + [{"step": 4, "eval_accuracy": 0.75}]


def test_markdown_and_terminal_show_the_same_cells() -> None:
    row = ("a|b", tables.percent(0.9), tables.interval(0.85, 0.94), tables.count(1700))
    table = tables.Table(("group", "[model]", "95 % interval", "n"), [row])
    markdown = tables.to_markdown(table)
    assert markdown.splitlines()[:3] == [
        "| group | [model] | 95 % interval | n |",
        "| --- | ---: | ---: | ---: |",
        "| a\\|b | 90.0 % | 85.0 to 94.0 | 1,700 |",
    ]
    console = Console(file=io.StringIO(), width=100)
    console.print(tables.to_rich(table, "Groups"))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[model]" in printed
    assert "85.0 to 94.0" in printed
    assert (tables.percent(None), tables.interval(None, None), tables.count(None)) == ("-",) * 3


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.26, "0.3 s"), (59.96, "1 min 0 s"), (75, "1 min 15 s"), (7260, "2 h 1 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert tables.duration(seconds) == text


@pytest.mark.parametrize("draw", ["training_curve", "accuracy_bars", "margin_histogram"])
def test_plots_are_valid_and_deterministic(draw: str) -> None:
    data = {
        "training_curve": METRICS,
        "accuracy_bars": {"model": ACCURACY, "other": NOTHING},
        "margin_histogram": [1.0, -1.0, 0.0, 2.0],
    }[draw]
    svg = getattr(plots, draw)(data)
    assert svg == getattr(plots, draw)(data)
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert plots.PAGE_INK in svg.decode()
    assert plots.INK not in svg.decode()
    assert Image.open(io.BytesIO(getattr(plots, draw)(data, "png"))).format == "PNG"


def test_no_bar_of_the_margins_mixes_right_and_wrong() -> None:
    svg = plots.margin_histogram([-0.3, 0.01, 5.0]).decode()
    assert "wrong (1)" in svg
    assert "correct (2)" in svg
    assert "at zero" not in svg
    assert "rejected score; 2 at zero" in plots.margin_histogram([0.0, 0.0]).decode()
    plots.margin_histogram([2.0])


@pytest.mark.parametrize("count", [20, 2000])
def test_a_far_margin_does_not_squeeze_the_others_and_is_told(count: int) -> None:
    margins = np.random.default_rng(0).normal(1.0, 1.0, count).tolist()
    plain, stretched = (plots.margin_histogram(own).decode() for own in (margins, [*margins, 5e4, -3e5]))
    assert "beyond the axis" not in plain
    assert "2 beyond the axis stand in its last bars (all: -3e+05 to 5e+04)" in stretched
    # The ticks of the axis are those of the usual margins, not of tens of thousands.
    assert not re.search(r">\D?[1-9]\d{3,}<", stretched)


def test_equal_margins_and_two_groups_are_not_far() -> None:
    for margins in ([1.0] * 50 + [3.0], [-5.0] * 30 + [5.0] * 30):
        assert "beyond the axis" not in plots.margin_histogram(margins).decode()


def test_nothing_to_draw_is_an_error() -> None:
    with pytest.raises(DataError):
        plots.training_curve([{"step": 1}, {"loss": 0.5}])
    with pytest.raises(DataError):
        plots.accuracy_bars({"model": NOTHING})
    with pytest.raises(DataError):
        plots.margin_histogram([])


@pytest.mark.parametrize("name", ["$\\frac$", "a$b", "x" * 300, "a < b & c"])
def test_bars_take_any_name(name: str) -> None:
    group = Metric(value=0.5, n=3, low=0.4, high=0.45)
    difference = {"difference": 0.1, "low": -0.1, "high": 0.3}
    drawn = [
        plots.group_bars({name: group, f"{name}2": group}),
        plots.difference_bars({name: difference, f"{name}2": difference}),
    ]
    for svg in drawn:
        assert ElementTree.fromstring(svg).tag.endswith("svg")
    with pytest.raises(DataError):
        plots.group_bars({name: NOTHING})
    with pytest.raises(DataError):
        plots.difference_bars({})


def test_latex_is_a_table_with_rules_and_nothing_of_the_text_is_latex() -> None:
    table = tables.Table(
        ("model", "50 %"), [("a_b & {c} #1 $x$ ~^\\ <>", f"1.5 %{tables.superscript(12)}"), ("[d]", "-")]
    )
    assert tables.to_latex(table).splitlines() == [
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"model & 50 \% \\",
        r"\midrule",
        r"a\_b \& \{c\} \#1 \$x\$ \textasciitilde{}\textasciicircum{}\textbackslash{} \textless{}\textgreater{} & "
        r"1.5 \%\textsuperscript{12} \\",
        r"{[}d] & - \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a|b\nc", r"a\|b c"),
        ("acc_plus", "acc_plus"),
        ("_x_ __y__", r"\_x\_ \_\_y\_\_"),
        ("<b> *c* `d` \\", r"\<b> \*c\* \`d\` \\"),
        ("[a](b) easy[c+d]", r"[a\](b) easy[c+d]"),
    ],
)
def test_nothing_of_a_text_is_markdown(text: str, escaped: str) -> None:
    assert tables.escape_markdown(text) == escaped
