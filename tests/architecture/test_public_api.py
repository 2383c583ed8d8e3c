"""Every public name is documented, every registered name exists, every import is absolute."""

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from basereward.registry import Registry

ROOT = Path(__file__).parents[2] / "src"
FILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))
Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def undocumented_names(tree: ast.Module) -> list[str]:
    """The module and its public classes, functions and methods that have no docstring."""
    module = [] if ast.get_docstring(tree) else ["the module itself"]
    return module + [name for name, node in _public_definitions(tree) if not ast.get_docstring(node)]


def _public_definitions(scope: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, Definition]]:
    for node in ast.walk(scope) if isinstance(scope, ast.Module) else scope.body:
        is_direct = node in scope.body or not isinstance(node, Definition)
        if not isinstance(node, Definition) or not is_direct or node.name.startswith("_") or _is_echo(node):
            continue
        yield prefix + node.name, node
        if isinstance(node, ast.ClassDef):
            yield from _public_definitions(node, f"{prefix}{node.name}.")


def _is_echo(node: Definition) -> bool:
    """Overloads and property setters repeat a name that is documented elsewhere."""
    names = {ast.unparse(decorator).split(".")[-1] for decorator in node.decorator_list}
    return bool(names & {"overload", "setter", "deleter"})


def relative_imports(tree: ast.Module) -> list[int]:
    """The lines of relative imports."""
    nodes = ast.walk(tree)
    return [node.lineno for node in nodes if isinstance(node, ast.ImportFrom) and node.level]


def registries(module: ModuleType) -> list[Registry]:
    """The registries that stand in a module."""
    return [value for value in vars(module).values() if isinstance(value, Registry)]


@pytest.mark.parametrize("place", FILES)
def test_public_names_have_docstrings(place: str) -> None:
    assert undocumented_names(ast.parse((ROOT / place).read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("place", FILES)
def test_imports_are_absolute(place: str) -> None:
    assert relative_imports(ast.parse((ROOT / place).read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("place", [place for place in FILES if not place.endswith("__main__.py")])
def test_modules_import_and_hold_what_they_promise(place: str) -> None:
    module = import_module(place.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    missing = [name for name in getattr(module, "__all__", []) if not hasattr(module, name)]
    assert missing == []
    for registry in registries(module):
        for name in registry.names():
            assert registry.get(name) is not None


def test_missing_docstrings_are_seen() -> None:
    code = "def f(): pass\nclass A:\n    def g(self): pass\n    def _h(self): pass\nclass _B:\n    def i(self): pass\n"
    assert undocumented_names(ast.parse(code)) == ["the module itself", "f", "A", "A.g"]
    nested = '"""M."""\ndef f():\n    """F."""\n    def inner(): pass\n'
    assert undocumented_names(ast.parse(nested)) == []


def test_relative_imports_are_seen() -> None:
    assert relative_imports(ast.parse("import os\ndef f():\n    from . import x\n")) == [3]


def test_a_registry_with_a_dead_entry_is_seen() -> None:
    module = ModuleType("m")
    module.TABLE = Registry("thing", {"dead": "basereward.errors:NoSuchError"})  # type: ignore[attr-defined]
    [registry] = registries(module)
    with pytest.raises(AttributeError):
        registry.get("dead")


def defined_twice(classes: dict[str, list[str]]) -> dict[str, list[str]]:
    """The class names that several places define, and these places."""
    places: dict[str, list[str]] = {}
    for place, names in classes.items():
        for name in names:
            places.setdefault(name, []).append(place)
    return {name: found for name, found in places.items() if len(found) > 1}


def class_names(tree: ast.Module) -> list[str]:
    """The names of all classes of a file, private and nested ones too."""
    return [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]


def test_a_class_name_stands_once_in_the_package() -> None:
    """One name, one thing."""
    trees = {place: ast.parse((ROOT / place).read_text(encoding="utf-8")) for place in FILES}
    assert defined_twice({place: class_names(tree) for place, tree in trees.items()}) == {}


def test_a_class_name_that_stands_twice_is_seen() -> None:
    code = "class A:\n    class B: pass\n"
    classes = {"a": class_names(ast.parse(code)), "b": class_names(ast.parse("class B: pass\n"))}
    assert defined_twice(classes) == {"B": ["a", "b"]}
