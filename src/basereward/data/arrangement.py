"""Columns under the names that formats expect: renamed, chosen between by a label, or parsed from JSON."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from basereward.configuration import Section
from basereward.data.files import Raw
from basereward.data.formats.choice import LabelledColumns, choose, read_labels
from basereward.data.messages import is_message
from basereward.data.rows import read_extra
from basereward.errors import DataError, RowError

# Fields whose texts may be conversations in JSON.
SPOKEN = ("prompt", "chosen", "rejected", "messages", "conversations", "rejected_messages", "rejected_response")


class ReadOptions(Section):
    """How records are read that do not say it by themselves."""

    format: str | None = None
    """A format by name; told by the records by default."""
    map: dict[str, str] = Field(default_factory=dict)
    """Names that a format expects, each with the column that holds it: ``{prompt: question}``."""
    choice: LabelledColumns | None = None
    """Two responses and a label, instead of chosen and rejected."""

    def reading(self) -> "ReadOptions":
        """Return these options alone, of a section that has more."""
        return ReadOptions(format=self.format, map=self.map, choice=self.choice)


class Arrangement:
    """What is done with the columns of a place's records before a format reads them; decided by the first records.

    Raises:
        DataError: a column that the options name is not there, or a label that cannot be understood.
    """

    def __init__(self, options: ReadOptions, sample: Sequence[Raw], place: str) -> None:
        self._options = options
        choice = options.choice
        named = [*options.map.values(), *((choice.label, choice.a, choice.b) if choice else ())]
        if missing := [name for name in named if not any(name in record for record in sample)]:
            raise DataError(f"{place} has no column {', '.join(missing)}; found {', '.join(sample[0])}.")
        labels = [record.get(choice.label) for record in sample] if choice else []
        self._labels = read_labels(choice, labels, place) if choice else {}
        self.json_columns = _find_json([rename(record, options.map) for record in sample])

    @property
    def changes_nothing(self) -> bool:
        """Whether columns stay where and what they are."""
        return not (self._options.map or self._options.choice or self.json_columns)

    def prepare(self, record: Raw) -> dict[str, Any]:
        """Return a record with its columns under the names that formats expect.

        Raises:
            RowError: as ``choose``; ``malformed`` for JSON that is no conversation or no extra columns.
        """
        prepared = choose(record, self._options.choice, self._labels) if self._options.choice else dict(record)
        stored = prepared.pop("extra_json", None)
        prepared = rename({**read_extra(stored), **prepared} if stored else prepared, self._options.map)
        for column in self.json_columns:
            if isinstance(text := prepared.get(column), str):
                prepared[column] = parse_conversation(text, column)
        return prepared

    def notes(self) -> list[str]:
        """Return what is done, in words."""
        choice, json_columns = self._options.choice, ", ".join(sorted(self.json_columns))
        return [
            *([f"{choice.label} chooses between {choice.a} and {choice.b}"] if choice else []),
            *(f"{new} is the column {old}" for new, old in self._options.map.items()),
            *([f"messages are JSON in {json_columns}"] if json_columns else []),
        ]


def rename(record: Raw, names: Mapping[str, str]) -> dict[str, Any]:
    """Return a record with the mapped columns under their new names; what stood there becomes ``original_<name>``."""
    if not names:
        return dict(record)
    moved = {new: record.get(old) for new, old in names.items()}
    rest = {name: value for name, value in record.items() if name not in names.values()}
    return {**{f"original_{name}" if name in moved else name: value for name, value in rest.items()}, **moved}


def parse_conversation(text: str, column: str) -> Any:
    """Return the messages that a text is in JSON.

    Raises:
        RowError: ``malformed`` for any other text.
    """
    try:
        value = json.loads(text) if text.lstrip()[:1] in ("[", "{") else None
    except ValueError:
        value = None
    if is_message(value) or (isinstance(value, list) and bool(value) and all(map(is_message, value))):
        return value
    raise RowError("malformed", f"Expected messages as JSON in {column!r}, as in other records; found {text!r:.100}.")


def _find_json(sample: Sequence[Raw]) -> frozenset[str]:
    """Return the columns whose texts are conversations in JSON, in more than half of the records that have a text.

    One such text alone may be what a user wrote: it stays a text.
    """
    texts = {name: [record[name] for record in sample if isinstance(record.get(name), str)] for name in SPOKEN}
    return frozenset(name for name, own in texts.items() if sum(_is_conversation(text) for text in own) > len(own) / 2)


def _is_conversation(text: str) -> bool:
    try:
        parse_conversation(text, "")
    except RowError:
        return False
    return True
