"""Records of unfinished work in a file that grows and that a kill at any place leaves readable."""

import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from basereward.errors import WorkError


class PartialRecords:
    """Records of unfinished work in a file that grows: one JSON object a line, each under its own number.

    Records may come in any order; a later line replaces an earlier one of the same number. A last line that a kill
    cut off is not there. Only the places of lines are held in memory, eight bytes for each number.

    Args:
        path: the file; it appears with the first record.
        total: how many records there will be, numbered from 0; None where nobody knows yet.
        key: name of the number within a record.
        is_done: whether a stored record counts; others are missing, so that they are made again.

    Raises:
        WorkError: a line is no record, or its number is not below ``total``.
    """

    def __init__(
        self,
        path: Path,
        total: int | None = None,
        key: str = "row",
        is_done: Callable[[Mapping[str, Any]], bool] = lambda record: True,
    ) -> None:
        self.path = path
        self.total = total
        self._key = key
        self._is_done = is_done
        # Where the line of each number begins, -1 where there is none.
        self._places = array("q", [-1]) * (total or 0)
        self._known = 0
        self._end = 0
        if path.is_file():
            self._read()

    def __len__(self) -> int:
        return self._known

    def __contains__(self, number: int) -> bool:
        return 0 <= number < len(self._places) and self._places[number] >= 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the records that are there, by number."""
        if not self._known:
            return
        with self.path.open("rb") as file:
            at = 0
            for place in self._places:
                if place < 0:
                    continue
                if place != at:
                    file.seek(place)
                line = file.readline()
                at = place + len(line)
                yield json.loads(line)

    def missing(self) -> Iterator[int]:
        """Yield the numbers below ``total`` that have no record, in order, while records may be added."""
        return (number for number in range(self.total or 0) if number not in self)

    def add(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Append records, each with its number; they survive this process once the call returns.

        Raises:
            WorkError: a number is not below ``total``.
            ValueError: NaN or infinity, which JSON has no word for.
        """
        lines = [(self._number(record), record, _line(record)) for record in records]
        with self.path.open("ab") as file:
            # A write that failed before, for example on a full disk, may have left the beginning of a line.
            file.truncate(self._end)
            file.writelines(line for _, _, line in lines)
        for number, record, line in lines:
            self._note(number, record, len(line))

    def complete(self) -> Iterator[dict[str, Any]]:
        """Yield exactly ``total`` records by number.

        Raises:
            WorkError: some are missing; raised before the first is yielded.
        """
        if self._known != self.total:
            first = next(self.missing(), None)
            raise WorkError(f"{self.path} has {self._known} of {self.total} records; number {first} is missing.")
        return iter(self)

    def _read(self) -> None:
        with self.path.open("r+b") as file:
            for place, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    # What a kill cut off would otherwise stand in front of the next record.
                    file.truncate(self._end)
                    return
                try:
                    record = json.loads(line)
                    self._note(self._number(record), record, len(line))
                except (ValueError, KeyError, TypeError) as error:
                    raise WorkError(
                        f"{self.path}, line {place} is no record ({error!r}); delete {self.path} to start anew."
                    ) from error

    def _number(self, record: Mapping[str, Any]) -> int:
        number = record[self._key]
        if number < 0 or (self.total is not None and number >= self.total):
            raise WorkError(f"{self.path} has a record {number}, expected numbers from 0 to {self.total} (exclusive).")
        return number

    def _note(self, number: int, record: Mapping[str, Any], size: int) -> None:
        """Remember that the next ``size`` bytes of the file hold the record of a number."""
        if number >= len(self._places):
            self._places.extend([-1] * (number + 1 - len(self._places)))
        before, after = self._places[number], self._end if self._is_done(record) else -1
        self._places[number] = after
        self._known += (after >= 0) - (before >= 0)
        self._end += size


def _line(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, allow_nan=False) + "\n").encode()
