"""Imports point downwards: the drawing of the rooms in the design is true, lazy imports included."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "src" / "basereward"
# Lowest first; rooms of one level never import each other.
LEVELS = (
    {"errors"},
    {"registry"},
    {"configuration"},
    {"statistics"},
    {"data"},
    {"encoding", "sources", "benchmarks"},
    {"curation"},
    {"models"},
    {"training", "scoring"},
    {"evaluation", "rl", "serving"},
    {"sweep"},
    {"speed", "reporting"},
    {"lab"},
    {"cli"},
)
# What a model is does not depend on any set of data; encoding and curation are rooms of one brace in the design.
NEVER_KNOWS = {"models": {"sources", "benchmarks", "curation"}, "curation": {"encoding"}}
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
# Third-party package -> the only place that may import it.
ONLY_IN = {
    "matplotlib": "reporting/plots.py",
    "trl": "rl/grpo.py",
    "ray": "scoring/bulk.py",
    "vllm": "models/vllm_plugin.py",
    "fastapi": "serving/",
    "uvicorn": "serving/",
    "starlette": "serving/",
}
# Place -> third-party packages that it may never import.
NEVER_IN = {
    "errors.py": {"torch", "numpy"},
    "registry.py": {"torch", "numpy"},
    "configuration.py": {"torch", "numpy"},
    "statistics.py": {"torch"},
    "data/": {"torch", "torchvision", "transformers"},
    "sources/": {"torch", "torchvision", "transformers"},
    "benchmarks/": {"torch", "torchvision", "transformers"},
    "curation/": {"torch", "torchvision", "transformers"},
    "reporting/": {"torch"},
}
LAZY_PATH = re.compile(r"basereward(\.\w+)+(:\w+)?")


def imported_modules(path: Path) -> set[str]:
    """Every absolute module name that a file imports: statements at any depth, and ``"module:name"`` strings."""
    return set(_imported_modules(ast.parse(path.read_text(encoding="utf-8"))))


def _imported_modules(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif _is_lazy_path(node):
            yield node.value.partition(":")[0]  # type: ignore[attr-defined]
        elif isinstance(node, ast.Call) and node.args and _is_text(node.args[0]):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in {"import_module", "__import__", "find_spec"}:
                yield node.args[0].value  # type: ignore[attr-defined]


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_lazy_path(node: ast.AST) -> bool:
    return _is_text(node) and ":" in node.value and bool(LAZY_PATH.fullmatch(node.value))  # type: ignore[attr-defined]


def room_of(place: str) -> str:
    """The room that a path under the package belongs to."""
    return place.split("/")[0].removesuffix(".py")


def upward_imports(place: str, modules: set[str]) -> set[str]:
    """The imported rooms that a file at ``place`` may not know."""
    room = room_of(place)
    if room in {"__init__", "__main__"}:
        return set()
    rooms = {name.split(".")[1] for name in modules if name.startswith("basereward.")} - {room, "__version__"}
    unknown = {other for other in rooms | {room} if other not in LEVEL}
    banned = NEVER_KNOWS.get(room, set())
    return unknown | {other for other in rooms - unknown if LEVEL[other] >= LEVEL[room] or other in banned}


def misplaced_packages(place: str, modules: set[str]) -> set[str]:
    """The third-party packages that a file at ``place`` may not import."""
    packages = {name.split(".")[0] for name in modules}
    wrong = {package for package in packages if not place.startswith(ONLY_IN.get(package, place))}
    return wrong.union(*(packages & banned for where, banned in NEVER_IN.items() if place.startswith(where)))


def import_graph(imported: dict[str, set[str]]) -> dict[str, set[str]]:
    """The modules that each module imports, itself or a name that stands in them."""
    return {
        name: {module for found in names for module in (found, found.rpartition(".")[0]) if module in imported} - {name}
        for name, names in imported.items()
    }


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The groups of modules that import each other, by whatever way round."""
    reached = {module: _reach(module, graph) for module in graph}
    groups = {tuple(sorted({other for other in reached[module] if module in reached[other]})) for module in graph}
    return sorted(list(group) for group in groups if group)


def _reach(start: str, graph: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    todo = [start]
    while todo:
        for other in graph.get(todo.pop(), set()) - found:
            found.add(other)
            todo.append(other)
    return found


def module_name(place: str) -> str:
    """The dotted name of a file of the package."""
    return "basereward." + place.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


FILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))


@pytest.mark.parametrize("place", FILES)
def test_imports_point_downwards(place: str) -> None:
    upward = upward_imports(place, imported_modules(ROOT / place))
    assert not upward, f"{place} imports {sorted(upward)}; it may import only rooms below {room_of(place)!r} in LEVELS"


def test_no_modules_import_each_other() -> None:
    assert circles(import_graph({module_name(place): imported_modules(ROOT / place) for place in FILES})) == []


def test_circles_are_seen() -> None:
    graph = import_graph({"a": {"b.f"}, "b": {"c"}, "c": {"b.g", "d", "os"}, "d": {"d.h"}})
    assert graph == {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}
    assert circles(graph) == [["b", "c"]]


@pytest.mark.parametrize("place", FILES)
def test_third_party_packages_stay_in_their_place(place: str) -> None:
    wrong = misplaced_packages(place, imported_modules(ROOT / place))
    assert not wrong, f"{place} imports {sorted(wrong)}; see ONLY_IN and NEVER_IN"


@pytest.mark.parametrize(
    ("place", "code", "expected"),
    [
        ("data/x.py", "from basereward.training import run", {"training"}),
        ("data/x.py", "def f():\n    import basereward.models.head", {"models"}),
        ("data/x.py", "from basereward import lab", {"lab"}),
        ("training/x.py", "from basereward.scoring.interface import Scorer", {"scoring"}),
        ("scoring/x.py", "from basereward.training.losses import f", {"training"}),
        ("models/x.py", "TABLE = {'a': 'basereward.training.losses:f'}", {"training"}),
        ("rl/x.py", "from basereward.evaluation import pairs", {"evaluation"}),
        ("models/x.py", "from basereward.curation import mix", {"curation"}),
        ("curation/x.py", "from basereward.encoding import packing", {"encoding"}),
        ("sources/x.py", "from basereward.benchmarks import items", {"benchmarks"}),
        ("registry.py", "from basereward.data import schema", {"data"}),
        ("novel/x.py", "import os", {"novel"}),
        ("cli/main.py", "from basereward.lab import world\nfrom basereward import __version__", set()),
        ("training/x.py", "from basereward.models import head\nfrom basereward.training import losses", set()),
    ],
)
def test_the_walk_sees(tmp_path: Path, place: str, code: str, expected: set[str]) -> None:
    path = tmp_path / "x.py"
    path.write_text(code)
    assert upward_imports(place, imported_modules(path)) == expected


@pytest.mark.parametrize(
    ("place", "code", "expected"),
    [
        ("data/images.py", "def f():\n    import torch", {"torch"}),
        ("data/images.py", "from torch.utils import data", {"torch"}),
        ("reporting/html.py", "import matplotlib.pyplot as plt", {"matplotlib"}),
        ("reporting/plots.py", "import matplotlib.pyplot as plt", set()),
        ("training/trainer.py", "import_module('trl')", {"trl"}),
        ("rl/grpo.py", "from trl import GRPOTrainer", set()),
        ("models/head.py", "import torch", set()),
    ],
)
def test_the_walk_sees_third_party_packages(tmp_path: Path, place: str, code: str, expected: set[str]) -> None:
    path = tmp_path / "x.py"
    path.write_text(code)
    assert misplaced_packages(place, imported_modules(path)) == expected
