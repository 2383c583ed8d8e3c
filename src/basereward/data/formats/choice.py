"""Pairs of two responses and a label that says which of them is better: ``response_0``, ``better_response_id``, ...

What a label means is read from what it says: the name of a response's column, what that name ends with, or a spelling
that is known (``A``, ``model_a``, ``A>B``, ``tie``). A number that no column ends with is not guessed: whether 0 is the
first response or says "not the first" differs from set to set.
"""

import re
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field

from basereward.configuration import Section
from basereward.data.files import Raw
from basereward.errors import DataError, RowError

Side = Literal["a", "b", "tie"]
_ENDING = re.compile(r"(?:.*?[^a-zA-Z0-9])?([a-zA-Z]+|[0-9]+)|.*?([0-9]+|(?<=[a-z])[A-Z])")
_WORDS: dict[Side, tuple[str, ...]] = {
    "a": ("a", "left", "first", "a>b", "a>>b", "b<a", "b<<a", "[[a]]", "model_a", "response_a", "answer_a"),
    "b": ("b", "right", "second", "b>a", "b>>a", "a<b", "a<<b", "[[b]]", "model_b", "response_b", "answer_b"),
    "tie": ("tie", "[[c]]", "a=b", "b=a", "a~b", "equal", "same", "both", "neither", "draw", "tie (bothbad)"),
}


class LabelledColumns(Section):
    """Which columns hold two responses, and the one that says which of them is better."""

    label: str
    """Column of the label."""
    a: str
    """Column of one response."""
    b: str
    """Column of the other one."""
    values: tuple[str, str] | None = Field(default=None)
    """Labels that prefer the one and the other, where they are none that is known."""


def read_labels(columns: LabelledColumns, labels: Iterable[Any], place: str) -> dict[str, Side]:
    """Return what each spelling of a label means.

    Args:
        labels: some labels of the file.

    Raises:
        DataError: a number that neither response's column ends with, so that its meaning would be a guess.
    """
    if columns.values:
        return {_spelling(columns.values[0]): "a", _spelling(columns.values[1]): "b"}
    known = {word: side for side, words in _WORDS.items() for word in words}
    endings = [_ending(columns.a), _ending(columns.b)]
    if endings[0] != endings[1]:
        known |= {endings[0]: "a", endings[1]: "b"}
    known |= {_spelling(columns.a): "a", _spelling(columns.b): "b"}
    numbers = {spelling for label in labels if (spelling := _spelling(label)).lstrip("-").isdigit()}
    if unknown := sorted(numbers - known.keys()):
        raise DataError(
            f"{place}: the column {columns.label!r} holds {', '.join(sorted(numbers))}, and neither {columns.a!r} nor "
            f"{columns.b!r} ends with {unknown[0]}. Say which value prefers which: --choice {columns.label}=A,B with "
            f"the values for --a and --b."
        )
    return known


def choose(record: Raw, columns: LabelledColumns, known: dict[str, Side]) -> dict[str, Any]:
    """Return the record with the better response as ``chosen`` and the other one as ``rejected``.

    Raises:
        RowError: ``tie``; ``unknown_label`` for a label that says neither; ``malformed`` without a response.
    """
    label = record.get(columns.label)
    side = known.get(_spelling(label))
    if side == "tie":
        raise RowError("tie", f"The label {columns.label!r} is {label!r}.")
    if side is None:
        raise RowError("unknown_label", f"The label {columns.label!r} is {label!r}, which prefers neither response.")
    if missing := [name for name in (columns.a, columns.b) if record.get(name) is None]:
        raise RowError("malformed", f"The record has no {', '.join(missing)}; found the fields {', '.join(record)}.")
    order = (columns.a, columns.b) if side == "a" else (columns.b, columns.a)
    rest = {name: value for name, value in record.items() if name not in order}
    return {**rest, "chosen": record[order[0]], "rejected": record[order[1]]}


def _spelling(label: Any) -> str:
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    return str(label).strip().lower()


def _ending(column: str) -> str:
    """Return what tells a column from its twin: 0 of ``response_0``, a of ``answer_a``, b of ``completionB``."""
    found = _ENDING.fullmatch(column)
    return _spelling(found[1] or found[2]) if found else ""
