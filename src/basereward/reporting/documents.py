"""What a report says, before it becomes a page, Markdown or LaTeX."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from basereward.reporting.items import CardList
from basereward.reporting.tables import Table, escape_latex, escape_markdown, to_latex, to_markdown


class Headline(NamedTuple):
    """One large number, what it is, and what stands below it."""

    label: str
    value: str
    note: str = ""


class Chapter(NamedTuple):
    """A part of a report: a title, and what there is of a note, an inline SVG, a table and lines under it.

    ``links`` maps names of the table's rows to addresses; the first ``leads`` rows are what it is about; those at
    the places ``ablations`` are hidden on a page until a reader asks for them.
    """

    title: str
    note: str = ""
    svg: str = ""
    table: Table | None = None
    lines: Sequence[str] = ()
    links: Mapping[str, str] = {}
    leads: int = 0
    ablations: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Document:
    """A report: ``kind`` stands above its name, ``details`` and ``recipe`` at its end."""

    kind: str
    name: str
    headlines: Sequence[Headline] = ()
    sections: Sequence[Chapter] = ()
    items: CardList | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    recipe: str = ""


def to_markdown_page(document: Document) -> str:
    """Return the headlines and tables of a report as Markdown; plots and items are on the page alone."""
    return "\n".join(_markdown_lines(document))


def to_latex_page(document: Document) -> str:
    r"""Return the tables of a report as LaTeX to ``\input``; it needs the package ``booktabs``."""
    return "\n".join(_latex_lines(document))


def _markdown_lines(document: Document) -> Iterator[str]:
    yield f"# {escape_markdown(document.name)}\n"
    for headline in document.headlines:
        note = f" ({headline.note})" if headline.note else ""
        yield f"- {escape_markdown(f'{headline.label}: {headline.value}{note}')}"
    for section in document.sections:
        if not section.table and not section.lines:
            continue
        yield f"\n## {escape_markdown(section.title)}\n"
        if section.note:
            yield f"{escape_markdown(section.note)}\n"
        if section.table:
            yield to_markdown(section.table)
        yield from (f"- {escape_markdown(line)}" for line in section.lines)
    yield ""


def _latex_lines(document: Document) -> Iterator[str]:
    yield f"% {' '.join(document.name.split())}: needs \\usepackage{{booktabs}}"
    for section in document.sections:
        if not section.table:
            continue
        yield "\n\\begin{table}\n\\centering\n\\small"
        yield f"\\caption{{{escape_latex(f'{document.name}: {section.title}')}}}"
        yield to_latex(section.table).rstrip()
        lines = [line for line in (section.note, *section.lines) if line]
        if lines:
            yield "\\par\\smallskip\n\\begin{minipage}{\\linewidth}\\footnotesize"
            yield "\\\\\n".join(map(escape_latex, lines))
            yield "\\end{minipage}"
        yield "\\end{table}"
    yield ""
