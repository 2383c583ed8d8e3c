"""Hook of mkdocs: recipes stand on the site, other links out of docs/ become names, and references get their look."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
# Pages whose tables become one block a row where the screen is narrow.
REFERENCES = ("commands.md", "recipe-reference.md")


def on_files(files: Any, config: Any, **_: Any) -> Any:
    """Add the recipes, which pages link to and a browser shows as text."""
    for file in sorted((ROOT / "recipes").rglob("*.yaml")):
        files.append(File.generated(config, file.relative_to(ROOT).as_posix(), abs_src_path=str(file)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return a page whose links out of docs/ lead to what the site holds, or are the names of the files."""
    markdown = markdown.replace("](../recipes/", "](recipes/")
    return re.sub(r"\[([^\]]+)\]\(\.\./([^)]+)\)", _named, markdown)


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Return a page whose look is that of its kind."""
    return f'<div class="reference">{html}</div>' if page.file.src_uri in REFERENCES else html


def _named(link: re.Match[str]) -> str:
    return f"`{link[2]}`" if link[1].strip("`") == link[2] else f"{link[1]} (`{link[2]}`)"
