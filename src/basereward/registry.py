"""A name -> object table whose entries may be lazy and whose errors name close matches."""

from difflib import get_close_matches
from importlib import import_module
from typing import Generic, TypeVar

from basereward.errors import UnknownNameError

T = TypeVar("T")


def close_names(name: str, known: list[str], cutoff: float = 0.6) -> str:
    """Return ``" Did you mean 'a' or 'b'?"``, or an empty string without a match of at least ``cutoff``."""
    close = get_close_matches(name, known, n=3, cutoff=cutoff)
    return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""


class Registry(Generic[T]):
    """Maps public names to objects; an entry may be a ``"module:attribute"`` path, imported on first use."""

    def __init__(self, kind: str, entries: dict[str, T | str]) -> None:
        self.kind = kind
        self._entries = dict(entries)

    def names(self) -> list[str]:
        """Return all names, sorted."""
        return sorted(self._entries)

    def get(self, name: str) -> T:
        """Return the entry called ``name``.

        Raises:
            UnknownNameError: no such entry; the message lists close matches and all names.
        """
        if name not in self._entries:
            hint = close_names(name, self.names())
            raise UnknownNameError(f"Unknown {self.kind} {name!r}.{hint} Known: {', '.join(self.names())}.")
        entry = self._entries[name]
        if isinstance(entry, str):
            module, _, attribute = entry.partition(":")
            entry = self._entries[name] = getattr(import_module(module), attribute)
        return entry  # type: ignore[return-value]
