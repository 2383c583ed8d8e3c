"""The one door for records: whatever a place or a caller holds comes out canonical, or as a typed refusal.

The first records of a place decide how all of it is read, and what was recognised is said once. Training, scoring,
evaluation, conversion, curation and mixing read through the same ``Reader``.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from basereward.configuration import Section
from basereward.data.arrangement import SPOKEN, Arrangement, ReadOptions
from basereward.data.files import Raw
from basereward.data.formats.format import RATINGS, UNREAD, RecordFormat
from basereward.data.formats.nearest import explain
from basereward.data.formats.registry import DETECTED, FORMATS
from basereward.data.formats.trl import is_whole
from basereward.data.messages import ROLES, is_message
from basereward.data.parsing import check_columns
from basereward.errors import DataError, RowError

SAMPLE = 64
GROUP_COLUMNS = ("prompt", "responses")
_log = logging.getLogger(__name__)


class Recognised(Section):
    """What a place was recognised as; ``notes`` are the peculiarities of its records."""

    place: str
    format: str
    title: str
    notes: tuple[str, ...] = ()

    def say(self) -> None:
        """Tell the user in one line."""
        _log.info("%s", "; ".join((f"{self.place} is read as {self.format}: {self.title}", *self.notes)))


class Reader:
    """Reads the records of one place; made by ``open_reader``."""

    def __init__(self, recognised: Recognised, found: RecordFormat | None, arrangement: Arrangement) -> None:
        self.recognised = recognised
        self._format = found
        self._arrangement = arrangement
        self._names: set[str] = set()
        self.several = False
        """Whether records give several pairs."""

    @property
    def keeps_canonical(self) -> bool:
        """Whether canonical records come out as they are."""
        return self.recognised.format == "trl" and self._arrangement.changes_nothing

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a record of a pair needs; nothing where records are prompts with responses alone."""
        return self._format.columns if self._format else ()

    def read(self, record: Raw, name: str) -> list[dict[str, Any]]:
        """Return the canonical pairs of a record: images as they are given, each pair with an id.

        Args:
            name: the id of a record without one.

        Raises:
            RowError: with a reason of ``DROP_REASONS``.
            DataError: the record has a column that looks like a misspelt one.
        """
        if record.get("read_error"):
            raise RowError(record["read_error"]["reason"], record["read_error"]["message"])
        prepared, found = self.prepare(record), self._format
        expected = found.columns if found else ("prompt", "chosen", "rejected")
        if found is None or not found.fits(prepared):
            missing = [column for column in expected if prepared.get(column) is None]
            told = f"has no {', '.join(missing)}" if missing else "has other types"
            fields = ", ".join(record)
            raise RowError("malformed", f"The record {told}; found {fields}, expected {', '.join(expected)}.")
        try:
            return list(found.parse(prepared, str(record.get("id") or name)))
        except RowError:
            raise
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            # What nobody thought of in one record does not end the file.
            what = f"{type(error).__name__}: {error}"
            raise RowError("malformed", f"The record cannot be read as {found.name} ({what:.200}).") from error

    def prepare(self, record: Raw) -> dict[str, Any]:
        """Return a record with its columns under the names that formats expect.

        Raises:
            RowError: as ``Arrangement.prepare``.
            DataError: a column that looks like a misspelt one.
        """
        prepared = self._arrangement.prepare(record)
        if not prepared.keys() <= self._names:
            self._names.update(prepared)
            known = self._format.known if self._format else GROUP_COLUMNS
            check_columns(self._names - {"read_error", *UNREAD}, known, self.recognised.place)
        return prepared


def open_reader(records: Iterable[Raw], place: str, options: ReadOptions | None = None, groups: bool = False) -> Reader:
    """Return the reader of a place from its records, of which no more are read than it takes to know the format.

    Args:
        records: all records of the place, in order.
        place: what messages call it.
        options: what the user says of them.
        groups: also accept prompts with ``responses`` alone, which are scored and tell no preference.

    Raises:
        DataError: no records, or none that any format fits; names the nearest format and the option that would do.
        UnknownNameError: no such format.
    """
    options = options or ReadOptions()
    wanted = FORMATS.get(options.format) if options.format else None
    remaining = iter(records)
    sample = list(islice(remaining, SAMPLE))
    if not sample:
        raise DataError(f"{place} holds no records; expected at least one.")
    arrangement = Arrangement(options, sample, place)
    has_groups = groups and any(record.get("responses") is not None for record in sample)
    found = _detect(arrangement, sample, iter(()) if has_groups else remaining, wanted)
    if found is None and not has_groups:
        fields = dict.fromkeys(name for record in sample for name in record)
        raise DataError(explain(list(fields), place, wanted))
    title = found.title if found else "prompt and responses to score"
    notes = (*arrangement.notes(), *_notes(found, arrangement, sample))
    recognised = Recognised(place=place, format=found.name if found else "responses", title=title, notes=notes)
    reader = Reader(recognised, found, arrangement)
    reader.several = any(_count_pairs(reader, record) > 1 for record in sample)
    return reader


def _count_pairs(reader: Reader, record: Raw) -> int:
    try:
        return len(reader.read(record, ""))
    except RowError:
        return 0


def _detect(
    arrangement: Arrangement, sample: Sequence[Raw], remaining: Iterator[Raw], wanted: RecordFormat | None
) -> RecordFormat | None:
    """Return the format that most of the first records fit, or, where none does, one that a later record fits."""
    formats = [wanted] if wanted else [FORMATS.get(name) for name in DETECTED]
    counts = Counter(one.name for record in sample for one in _fitting(formats, arrangement, record))
    if counts:
        return max(formats, key=lambda one: counts[one.name])
    return next((one for record in remaining for one in _fitting(formats, arrangement, record)), None)


def _fitting(formats: Sequence[RecordFormat], arrangement: Arrangement, record: Raw) -> list[RecordFormat]:
    try:
        prepared = arrangement.prepare(record)
        return [one for one in formats if one.fits(prepared)]
    except RowError:
        return []


def _notes(found: RecordFormat | None, arrangement: Arrangement, sample: Sequence[Raw]) -> list[str]:
    """Return what is peculiar in the first records."""
    prepared = []
    for record in sample:
        try:
            prepared.append(arrangement.prepare(record))
        except RowError:
            continue
    spoken = [one for record in prepared for name in SPOKEN for one in _messages(record.get(name))]
    roles = {str(one.get("role") or one.get("from")) for one in spoken} - set(ROLES.values())
    repeats = found is FORMATS.get("trl") and any(map(_repeats_prompt, prepared))
    rated = any(record.get(name) is not None for record in prepared for name in RATINGS)
    return [
        *([f"roles {', '.join(sorted(roles))}"] if roles else []),
        *(["chosen and rejected repeat the prompt"] if repeats else []),
        *([f"{' and '.join(RATINGS)} are the scores"] if rated else []),
        *(["system is a system message"] if any(record.get("system") for record in prepared) else []),
    ]


def _messages(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in (value if isinstance(value, list) else [value]) if is_message(one)]


def _repeats_prompt(record: Raw) -> bool:
    try:
        return record.get("prompt") is not None and is_whole(record.get("chosen"))
    except RowError:
        return False
