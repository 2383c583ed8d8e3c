"""The budget of the code: short files, short functions."""

import ast
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[2]
FILE_LINES, FUNCTION_LINES, MEDIAN_FILE_LINES = 400, 60, 120
FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("src", "tests", "scripts", "examples")
    for path in (ROOT / folder).rglob("*.py")
)


def count_lines(path: Path) -> int:
    """The lines of a file."""
    return len(path.read_text(encoding="utf-8").splitlines())


def long_functions(path: Path) -> list[str]:
    """``name (lines)`` of each function over the budget, its docstring included."""
    functions = (
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    lengths = ((node.name, (node.end_lineno or 0) - node.lineno + 1) for node in functions)
    return [f"{name} ({lines})" for name, lines in lengths if lines > FUNCTION_LINES]


@pytest.mark.parametrize("place", FILES)
def test_files_and_functions_are_short(place: str) -> None:
    assert count_lines(ROOT / place) <= FILE_LINES
    assert long_functions(ROOT / place) == []


def test_the_median_file_is_small() -> None:
    lengths = {
        path.relative_to(ROOT).as_posix(): count_lines(path)
        for path in (ROOT / "src").rglob("*.py")
        if path.name not in {"__init__.py", "__main__.py"}
    }
    assert median(lengths.values()) <= MEDIAN_FILE_LINES, sorted(lengths.items(), key=lambda item: -item[1])


def test_a_long_function_is_seen(tmp_path: Path) -> None:
    body = "".join(f"        x = {line}\n" for line in range(FUNCTION_LINES))
    path = tmp_path / "x.py"
    path.write_text(f"class A:\n    async def f(self):\n{body}\n\ndef g():\n    pass\n")
    assert long_functions(path) == [f"f ({FUNCTION_LINES + 1})"]
