"""Tables for the terminal, for Markdown, for LaTeX and for pages, and the numbers in their cells."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rich.table import Table as RichTable

MISSING = "-"
# Of a percentage of a benchmark, as papers print them.
DECIMALS = 2
SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹"
_PLAIN_DIGITS = str.maketrans(SUPERSCRIPTS, "0123456789")
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


class Table(NamedTuple):
    """A header and rows of text; the first column is a name, most others are numbers."""

    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def percent(share: float | None, decimals: int = 1) -> str:
    """Return a share as a percentage."""
    return MISSING if share is None else f"{100 * share:.{decimals}f} %"


def interval(low: float | None, high: float | None) -> str:
    """Return an interval of shares in percent."""
    return MISSING if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f}"


def count(number: float | None) -> str:
    """Return a count with separated thousands."""
    return MISSING if number is None else f"{number:,}"


def duration(seconds: float | None) -> str:
    """Return a length of time in its two largest units."""
    if seconds is None:
        return MISSING
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def superscript(number: int) -> str:
    """Return a number as the mark of a footnote, which every format can show."""
    return "".join(SUPERSCRIPTS[int(digit)] for digit in str(number))


def to_markdown(table: Table) -> str:
    """Return a GitHub-flavoured Markdown table."""
    rules = ("---", *("---:" for _ in table.header[1:]))
    lines = [
        tuple(map(escape_markdown, table.header)),
        rules,
        *(tuple(map(escape_markdown, row)) for row in table.rows),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def to_latex(table: Table) -> str:
    """Return a LaTeX ``tabular`` with the rules of the ``booktabs`` package."""
    lines = [" & ".join(map(escape_latex, line)) + r" \\" for line in (table.header, *table.rows)]
    columns = "l" + "r" * (len(table.header) - 1)
    body = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", lines[0], r"\midrule", *lines[1:]]
    return "\n".join([*body, r"\bottomrule", r"\end{tabular}"]) + "\n"


def escape_markdown(text: str) -> str:
    """Return text that is no Markdown and no HTML, on one line."""
    return re.sub(r"[\\`*|<$~]|\](?=\()|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\\g<0>", " ".join(text.split()))


def escape_latex(text: str) -> str:
    """Return text that is no LaTeX, on one line; marks of footnotes stand as superscripts."""
    escaped = "".join(_LATEX.get(character, character) for character in " ".join(text.split()))
    # At the start of a row a bracket would be taken as the option of the line break before it.
    escaped = re.sub(r"^\[", "{[}", escaped)
    return re.sub(
        f"[{SUPERSCRIPTS}]+", lambda mark: rf"\textsuperscript{{{mark[0].translate(_PLAIN_DIGITS)}}}", escaped
    )


def to_rich(table: Table, title: str | None = None) -> "RichTable":
    """Return a table that ``rich`` prints on a terminal."""
    from rich.markup import escape
    from rich.table import Table as RichTable

    printed = RichTable(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(table.header):
        printed.add_column(escape(name), justify="right" if place else "left", no_wrap=place == 0)
    for row in table.rows:
        printed.add_row(*map(escape, row))
    return printed
