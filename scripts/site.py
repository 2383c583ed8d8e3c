"""Hook of mkdocs: links out of docs/ lead to files of the repository, which the site does not hold."""

import re
from typing import Any


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return a page whose links out of docs/ are the names of the files."""
    return re.sub(r"\[([^\]]+)\]\(\.\./([^)]+)\)", r"\1 (`\2`)", markdown)
