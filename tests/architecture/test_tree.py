"""The annotated tree in docs/architecture.md is the tree of the package."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tree() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tree", ROOT / "scripts" / "tree.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_docs_have_the_tree_of_the_package(tree: ModuleType) -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert tree.replace_block(text, tree.draw_tree(tree.PACKAGE)) == text, "run `make tree`"


def test_the_tree_follows_the_files(tree: ModuleType, tmp_path: Path) -> None:
    package = tmp_path / "thing"
    (package / "scoring").mkdir(parents=True)
    (package / "data" / "sources").mkdir(parents=True)
    (package / "__init__.py").write_text('"""A thing."""\n')
    (package / "errors.py").write_text('"""What goes wrong.\n\nMore.\n"""\n')
    (package / "scoring" / "__init__.py").write_text('"""Scores."""\n')
    (package / "data" / "__init__.py").write_text('"""Data."""\n')
    (package / "data" / "sources" / "__init__.py").write_text('"""Sources."""\n')
    (package / "data" / "a.py").write_text('"""The letter."""\n')
    assert tree.draw_tree(package).splitlines() == [
        "thing/          A thing.",
        "  errors.py     What goes wrong.",
        "  data/         Data.",
        "    a.py        The letter.",
        "    sources/    Sources.",
        "  scoring/      Scores.",
    ]


def test_a_page_without_markers_is_an_error(tree: ModuleType) -> None:
    with pytest.raises(SystemExit, match="markers"):
        tree.replace_block("no markers", "tree")


def test_the_readme_is_short() -> None:
    assert (ROOT / "README.md").stat().st_size <= 12_000
