"""How figures beside their bars are printed."""

from typing import Any

from basereward.cli.output import console


def print_figures(title: str, figures: Any) -> None:
    """Print a table of figures, each with its spread, its bar and whether that is met."""
    from basereward.reporting.tables import Table, to_rich

    rows: list[tuple[str, ...]] = []
    for figure in figures:
        low_high = "" if figure.spread is None else f"{figure.spread[0]:,.4g} to {figure.spread[1]:,.4g}"
        bars = (("at most", figure.most), ("at least", figure.least))
        bar = " and ".join(f"{word} {value:g}" for word, value in bars if value is not None)
        met = {True: "met", False: "MISSED", None: ""}[figure.is_met]
        rows.append((figure.part, figure.what, f"{figure.value:,.4g}", low_high, bar, met))
    console().print(to_rich(Table(("part", "what", "found", "low to high", "bar", ""), rows), title=title))
