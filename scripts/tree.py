"""Print the annotated tree of src/basereward; with ``--write`` put it into docs/architecture.md.

python scripts/tree.py [--write]
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "basereward"
START, END = "<!-- tree -->", "<!-- /tree -->"
# The rooms in the order in which data flows; what is not named comes last.
ORDER = (
    *("errors.py", "registry.py", "configuration.py", "statistics.py"),
    *("data", "sources", "benchmarks", "curation", "encoding", "models", "training", "scoring"),
    *("evaluation", "rl", "serving", "sweep", "reporting", "speed", "lab", "cli"),
)


def first_line(path: Path) -> str:
    """Return the first line of a module's docstring."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) if path.is_file() else None
    return (docstring or "").split("\n")[0]


def walk_package(folder: Path, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yield the indented name and the annotation of a package, its modules, and then its packages."""
    yield "  " * depth + f"{folder.name}/", first_line(folder / "__init__.py")
    modules = [path for path in folder.glob("*.py") if path.name not in {"__init__.py", "__main__.py"}]
    packages = [path for path in folder.iterdir() if (path / "__init__.py").is_file()]
    for path in [*sorted(modules, key=_place), *sorted(packages, key=_place)]:
        if path.is_dir():
            yield from walk_package(path, depth + 1)
        else:
            yield "  " * (depth + 1) + path.name, first_line(path)


def draw_tree(package: Path) -> str:
    """Return the tree, one line for each package and module, annotations aligned."""
    rows = list(walk_package(package))
    width = max(len(name) for name, _ in rows) + 2
    width += -width % 4
    return "\n".join(f"{name:<{width}}{annotation}".rstrip() for name, annotation in rows)


def replace_block(text: str, tree: str) -> str:
    """Return the text with the tree between its markers."""
    if text.count(START) != 1 or text.count(END) != 1:
        raise SystemExit(f"docs/architecture.md needs the markers {START} and {END}, once each.")
    before, rest = text.split(START)
    return f"{before}{START}\n```text\n{tree}\n```\n{END}{rest.split(END)[1]}"


def _place(path: Path) -> tuple[int, str]:
    return ORDER.index(path.name) if path.name in ORDER else len(ORDER), path.name


def main() -> None:
    """Print the tree, or write it."""
    tree = draw_tree(PACKAGE)
    if "--write" not in sys.argv[1:]:
        print(tree)
        return
    page = ROOT / "docs" / "architecture.md"
    page.write_text(replace_block(page.read_text(encoding="utf-8"), tree), encoding="utf-8")


if __name__ == "__main__":
    main()
