"""Files as records, read one by one in bounded memory, and files that are written whole or not at all.

JSON lines, JSON lists and Parquet give the same dictionaries. Of Parquet no more is held than a page of each column,
of a JSON list no more than a record; a ``.json`` file with one object around its list is read at once. Arrow is
imported where a file needs it: what only writes JSON starts without it.
"""

import base64
import errno
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, NamedTuple

from basereward.errors import DataError, MissingFileError

RECORD_FORMS = (".jsonl", ".json", ".parquet")
COMPRESSED = (".gz", ".zst")
FILES = "a .jsonl, .json or .parquet file, JSON also as .gz or .zst"
# Keys of an object under which a file keeps its list of records.
LIST_KEYS = ("pairs", "data", "records", "rows", "examples", "items", "instances", "train")
_BUFFER_BYTES = 2**20
# A full disk, a quota, and a limit of the file system or the process to the size of a file.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MARK = b"\xef\xbb\xbf"
_SPACE = re.compile(r"[ \t\r\n]*")


class LineStart(NamedTuple):
    """Where a line of a file begins: its first byte, counted from 0, and its number, counted from 1."""

    byte: int = 0
    line: int = 1


_FIRST_LINE = LineStart()


def record_form(path: Path) -> str:
    """Return which of ``RECORD_FORMS`` a file has by its name, ``""`` for none; JSON may be compressed."""
    compressed = path.suffix in COMPRESSED
    form = path.with_suffix("").suffix if compressed else path.suffix
    return form if form in (RECORD_FORMS[:2] if compressed else RECORD_FORMS) else ""


def record_stem(path: Path) -> str:
    """Return the name of a file of records without what tells its form."""
    return path.with_suffix("").stem if path.suffix in COMPRESSED else path.stem


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a log of JSON lines; a last one that a crash cut off, or that is being written, is not there.

    Raises:
        DataError: another line is not JSON.
    """
    *lines, _ = path.read_text(encoding="utf-8", errors="replace").split("\n")
    try:
        return [json.loads(line) for line in lines if line.strip()]
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}.") from error


def read_records(path: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the records of a file in any of ``RECORD_FORMS``; what Parquet stores as JSON is parsed.

    Args:
        columns: of Parquet read only these.

    Raises:
        MissingFileError: no such file.
        DataError: another suffix, a broken file, or a record that is no object; names the line or the record.
    """
    form = _expect_form(path)
    if form == ".parquet":
        from basereward.data.parquet import batch_records, read_batches

        for batch in read_batches(path, columns):
            yield from batch_records(batch)
    elif form == ".json":
        yield from _json_values(path)
    else:
        yield from _json_lines(path)


def count_records(path: Path) -> int:
    """Count the records of a file, those of lines and Parquet without parsing them.

    Raises:
        MissingFileError: no such file.
        DataError: another suffix, or a broken file.
    """
    if (form := _expect_form(path)) == ".parquet":
        from basereward.data.parquet import open_parquet

        with open_parquet(path) as file:
            return file.metadata.num_rows
    if form == ".json":
        return sum(1 for _ in _json_values(path))
    return sum(1 for _ in line_starts(path))


def _expect_form(path: Path) -> str:
    if not path.is_file():
        raise MissingFileError(f"There is no file {path}; expected {FILES}.")
    if not (form := record_form(path)):
        raise DataError(f"Cannot read {path}: found the suffix {path.suffix!r}, expected {FILES}.")
    return form


def line_starts(path: Path) -> Iterator[LineStart]:
    """Yield where each record of a file of JSON lines begins, without parsing any.

    Raises:
        MissingFileError: no such file.
        DataError: another suffix.
    """
    _expect_form(path)
    with _open_bytes(path) as file:
        byte = 0
        for number, line in enumerate(file, 1):
            if (line.removeprefix(_MARK) if number == 1 else line).strip():
                yield LineStart(byte, number)
            byte += len(line)


def read_lines(path: Path, start: LineStart, skip: int = 0) -> Iterator[dict[str, Any]]:
    """Yield the records of a file of JSON lines that is not compressed, from a line on.

    Args:
        skip: records behind that line that are passed over without being parsed.

    Raises:
        DataError: as ``read_records``.
    """
    return _json_lines(path, start, skip)


def _json_lines(path: Path, start: LineStart = _FIRST_LINE, skip: int = 0) -> Iterator[dict[str, Any]]:
    with _open_bytes(path) as file:
        if start.byte:
            file.seek(start.byte)
        # Lines end at \n alone, whatever other line ends stand inside a JSON string.
        for number, line in enumerate(file, start.line):
            text = line.removeprefix(_MARK) if number == 1 else line
            if not text.strip():
                continue
            if skip:
                skip -= 1
                continue
            try:
                value = json.loads(text)
            except ValueError as error:
                raise DataError(f"{path}, line {number} is not JSON: {error}.") from error
            yield _expect_object(value, f"{path}, line {number}", " A list of records is a .json file.")


def _json_values(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a list, of a list inside one object, or of a text that is one object after another."""
    with _open_bytes(path) as file:
        values = _JsonText(io.TextIOWrapper(file, encoding="utf-8-sig"))
        number = 0
        try:
            for number, value in enumerate(values.items(), 1):
                yield _expect_object(value, f"{path}, record {number}")
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise DataError(f"{path} is not JSON after {number} records: {error}.") from error


class _JsonText:
    """JSON values of a text one by one, with no more of the text in memory than one of them needs."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._text, self._place = "", 0
        self._decode = json.JSONDecoder().raw_decode

    def items(self) -> Iterator[Any]:
        """Yield the items of the list that the text is, or the values that stand one after another."""
        if self._peek() == "[":
            yield from self._list()
            return
        first = self._value() if self._peek() else None
        if first is not None and not self._peek():
            lists = [first[key] for key in LIST_KEYS if isinstance(first, dict) and isinstance(first.get(key), list)]
            yield from lists[0] if lists else [first]
            return
        if first is not None:
            yield first
        while self._peek():
            yield self._value()

    def _list(self) -> Iterator[Any]:
        sign = ","
        self._place += 1
        if self._peek() == "]":
            sign, self._place = "]", self._place + 1
        while sign == ",":
            yield self._value()
            sign = self._peek()
            self._place += 1
        if sign != "]" or self._peek():
            raise json.JSONDecodeError("Expecting ',' or one ']' at the end", self._text, self._place)

    def _peek(self) -> str:
        """Return the next character that is no white space, an empty string at the end."""
        while True:
            found = _SPACE.match(self._text, self._place)
            self._place = found.end() if found else self._place
            if self._place < len(self._text):
                return self._text[self._place]
            if not self._fill():
                return ""

    def _value(self) -> Any:
        self._peek()
        while True:
            try:
                value, end = self._decode(self._text, self._place)
            except json.JSONDecodeError:
                # It may only be cut.
                if not self._fill():
                    raise
                continue
            # At the end of what was read a number may go on.
            if end < len(self._text) or not self._fill():
                self._place = end
                return value

    def _fill(self) -> bool:
        # Twice as much each time, so that a long value is not decoded anew for each piece of it.
        rest = self._text[self._place :]
        more = self._file.read(max(_BUFFER_BYTES, len(rest)))
        self._text, self._place = rest + more, 0
        return bool(more)


@contextmanager
def _open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open a file whose name may end in one of ``COMPRESSED``."""
    if path.suffix not in COMPRESSED:
        with path.open("rb") as file:
            yield file
        return
    import pyarrow as pa

    try:
        with pa.input_stream(str(path)) as stream:
            yield io.BufferedReader(stream)
    except OSError as error:
        raise DataError(f"{path} cannot be decompressed: {error}.") from error


def _expect_object(value: Any, place: str, hint: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        found = f"{type(value).__name__} {str(value)[:60]}"
        raise DataError(f"{place}: expected an object, found {found}.{hint if isinstance(value, list) else ''}")
    return value


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its place when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        # Opening a file names it in an error, writing into it does not.
        if error.errno in _NO_ROOM and error.filename is None:
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """Read one JSON value.

    Raises:
        MissingFileError: no such file.
        DataError: not JSON.
    """
    if not path.is_file():
        raise MissingFileError(f"There is no file {path}.")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}.") from error


def write_json(path: Path, value: Any) -> None:
    """Write one JSON value, whole or not at all.

    Raises:
        ValueError: it holds NaN or infinity, which JSON has no word for.
    """
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def write_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> int:
    """Write one JSON object a line, and return how many; what JSON has no word for becomes a text."""
    count = 0
    with path.open("wb") as file:
        for record in records:
            file.write(json_line(record))
            count += 1
    return count


def json_line(record: Mapping[str, Any]) -> bytes:
    """Return a record as a line of JSON: bytes as base64, times in ISO 8601, exact numbers as texts."""
    try:
        return (json.dumps(record, ensure_ascii=False, default=plain_value) + "\n").encode()
    except UnicodeEncodeError:
        # Valid JSON may name half a surrogate pair, which only an escape can write again.
        return (json.dumps(record, default=plain_value) + "\n").encode()


def plain_value(value: Any) -> str:
    """Return a value of a Parquet column that JSON has no word for as a text.

    Raises:
        TypeError: no such value.
    """
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    if isinstance(value, (date, datetime, time)):
        return value.isoformat()
    if isinstance(value, (Decimal, timedelta)):
        return str(value)
    raise TypeError(f"found {type(value).__name__}")
