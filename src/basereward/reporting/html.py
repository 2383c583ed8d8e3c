"""A report as one self-contained HTML file."""

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from basereward.data.io import replacing
from basereward.reporting.documents import Document
from basereward.reporting.items import EmbeddedItems, embed_items

PAGE_BYTES = 30_000_000


def render(document: Document) -> str:
    """Return a report as HTML of at most 30 MB; items that do not fit are left out, and counted on the page."""
    if document.items is None or not document.items.items:
        return _fill(document, None)
    rest = _fill(document, EmbeddedItems("", 0))
    return _fill(document, embed_items(document.items, PAGE_BYTES - len(rest.encode("utf-8", "replace"))))


def write_page(path: Path, text: str) -> None:
    """Write a page under a temporary name and rename it, so that no reader sees half of it."""
    with replacing(path) as temporary:
        # A lone surrogate of a broken data set must not stop a report at its last line.
        temporary.write_text(text, encoding="utf-8", errors="replace")


def _fill(document: Document, embedded: EmbeddedItems | None) -> str:
    loader = PackageLoader("basereward.reporting")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report.html.jinja").render(document=document, embedded=embedded)
