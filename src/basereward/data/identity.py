"""The identity of long work: everything that decides its result, and how two identities differ."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import Field

from basereward import __version__
from basereward.configuration import Section

_SHOWN = 80


class WorkInput(Section):
    """One place that work reads: its name for people, and the SHA-256 of its content, None where nothing tells it."""

    name: str
    sha256: str | None


class Identity(Section):
    """What decides the result of work: two calls with equal identities may go on from each other.

    ``task`` is the command, ``weights`` says what computes, ``settings`` holds plain JSON values, also in sections.
    """

    task: str
    inputs: tuple[WorkInput, ...] = ()
    weights: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=lambda: {"basereward": __version__})

    def facts(self) -> dict[str, Any]:
        """Return all that is compared under dotted names; the names of inputs are not, as a file may move."""
        inputs = {f"inputs.{place}": one.sha256 or one.name for place, one in enumerate(self.inputs)}
        parts = {"weights": self.weights, "versions": self.versions}
        return {"task": self.task, **inputs, **flat_facts(self.settings), **flat_facts(parts)}


def differences(found: Mapping[str, Any], asked: Mapping[str, Any], may_change: Collection[str] = ()) -> list[str]:
    """Return ``name FOUND, not ASKED`` for each fact that differs; those within sections have dotted names.

    Args:
        may_change: names, or the first parts of dotted names, that do not count.
    """
    # As they read back: tuples are lists in JSON.
    before, after = (flat_facts(json.loads(json.dumps(facts))) for facts in (found, asked))
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return [
        f"{name} {_shown(before.get(name))}, not {_shown(after.get(name))}"
        for name in names
        if not any(name == free or name.startswith(f"{free}.") for free in may_change)
    ]


def flat_facts(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return what stands in sections under dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flat_facts(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
