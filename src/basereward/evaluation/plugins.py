"""Benchmarks by name, from a file of the user, or from an installed package: loader and protocols together.

A third party adds a benchmark without a fork: ``--bench file.py:NAME``, or an entry point of the group
``basereward.benchmarks``. The object is a ``Benchmark`` (then the protocol is accuracy by subset) or an
``EvaluationSet``.
"""

import importlib.util
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from basereward.data.benchmarks.registry import BENCHMARKS, Benchmark
from basereward.errors import DataError, MissingFileError, UnknownNameError
from basereward.evaluation.protocols.registry import DEFAULT_PROTOCOLS, OFFICIAL, PROTOCOLS, Protocol, Protocols
from basereward.registry import close_names

GROUP = "basereward.benchmarks"


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """A benchmark and its protocols."""

    benchmark: Benchmark
    protocols: Protocols = DEFAULT_PROTOCOLS

    def protocol(self, name: str | None = None) -> Protocol:
        """Return a protocol by name, the official one by default.

        Raises:
            UnknownNameError: the benchmark has no such protocol.
        """
        return self.protocols.get(name or OFFICIAL)


def benchmark_names() -> list[str]:
    """Return the names of all benchmarks, those of installed packages included."""
    return sorted({*BENCHMARKS.names(), *_entry_points()})


def open_benchmark(spec: str) -> EvaluationSet:
    """Return the benchmark that a name or ``file.py:NAME`` means.

    Raises:
        UnknownNameError: no such benchmark; lists close matches.
        MissingFileError: no such file.
        DataError: the file cannot be run, or holds something else under the name.
    """
    path, colon, attribute = spec.rpartition(":")
    if colon and path.endswith(".py"):
        return _evaluation_set(_attribute(_load(Path(path)), attribute, path), spec)
    if spec in BENCHMARKS.names():
        return EvaluationSet(BENCHMARKS.get(spec), PROTOCOLS.get(spec))
    if (entry := _entry_points().get(spec)) is not None:
        return _evaluation_set(entry.load(), spec)
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
        known = [key for key, value in vars(module).items() if isinstance(value, (Benchmark, EvaluationSet))]
        raise UnknownNameError(f"{path} has no {name!r}. Benchmarks in it: {', '.join(known) or 'none'}.")
    return getattr(module, name)


def _evaluation_set(value: Any, spec: str) -> EvaluationSet:
    if isinstance(value, EvaluationSet):
        return value
    if isinstance(value, Benchmark):
        return EvaluationSet(value)
    raise DataError(f"{spec} is a {type(value).__name__}; expected a Benchmark or an EvaluationSet.")
