"""Benchmarks by name, from a file of the user, or from an installed package.

A third party adds a benchmark without a fork: ``--bench file.py:NAME``, or an entry point of the group
``basereward.benchmarks``.
"""

import importlib.util
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from basereward.benchmarks.benchmark import Benchmark
from basereward.benchmarks.registry import BENCHMARKS
from basereward.errors import DataError, MissingFileError, UnknownNameError
from basereward.registry import close_names

GROUP = "basereward.benchmarks"


def benchmark_names() -> list[str]:
    """Return the names of all benchmarks, those of installed packages included."""
    return sorted({*BENCHMARKS.names(), *_entry_points()})


def open_benchmark(spec: str) -> Benchmark:
    """Return the benchmark that a name or ``file.py:NAME`` means.

    Raises:
        UnknownNameError: no such benchmark; lists close matches.
        MissingFileError: no such file.
        DataError: the file cannot be run, or holds something else under the name.
    """
    path, colon, attribute = spec.rpartition(":")
    if colon and path.endswith(".py"):
        return _benchmark(_attribute(_load(Path(path)), attribute, path), spec)
    if spec in BENCHMARKS.names():
        return BENCHMARKS.get(spec)
    if (entry := _entry_points().get(spec)) is not None:
        return _benchmark(entry.load(), spec)
    names = benchmark_names()
    raise UnknownNameError(
        f"Unknown benchmark {spec!r}.{close_names(spec, names)} Known: {', '.join(names)}; or file.py:NAME."
    )


def _entry_points() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _load(path: Path) -> ModuleType:
    if not path.is_file():
        raise MissingFileError(f"There is no file {path}.")
    name = f"_basereward_benchmark_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise DataError(f"{path} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses of the file look their module up by name.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise DataError(f"{path} cannot be run: {type(error).__name__}: {error}.") from error
    return module


def _attribute(module: ModuleType, name: str, path: str) -> Any:
    if not hasattr(module, name):
        known = [key for key, value in vars(module).items() if isinstance(value, Benchmark)]
        raise UnknownNameError(f"{path} has no {name!r}. Benchmarks in it: {', '.join(known) or 'none'}.")
    return getattr(module, name)


def _benchmark(value: Any, spec: str) -> Benchmark:
    if not isinstance(value, Benchmark):
        raise DataError(f"{spec} is a {type(value).__name__}; expected a Benchmark.")
    return value
