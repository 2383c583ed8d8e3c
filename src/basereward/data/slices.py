"""Slices of files of records: some rows of a file, read without what stands before them where that can be."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from basereward.data.io import LineStart, count_records, line_starts, read_lines, read_records
from basereward.data.parquet import batch_records, read_rows
from basereward.errors import DataError


class FileSlice(NamedTuple):
    """Some rows of a file, as it was when it was cut.

    Args:
        file: where they stand.
        first: number of the first one in the file, counted from 0.
        rows: how many.
        state: size and times of change of the file.
        start: where the first one begins, in a file of lines that is not compressed.
    """

    file: Path
    first: int
    rows: int
    state: tuple[int, ...]
    start: LineStart = LineStart()


def cut_file(file: Path, most: int) -> list[FileSlice]:
    """Cut a file into slices of ``most`` rows, the last one shorter; a file without rows has none.

    Raises:
        MissingFileError: no such file.
        DataError: another suffix, or a broken file.
    """
    state = _state(file)
    if file.suffix == ".jsonl":
        rows, starts = 0, []
        for rows, start in enumerate(line_starts(file), 1):
            if rows % most == 1 or most == 1:
                starts.append(start)
    else:
        rows = count_records(file)
        starts = [LineStart()] * -(-rows // most)
    return [FileSlice(file, n * most, min(most, rows - n * most), state, start) for n, start in enumerate(starts)]


def read_slice(piece: FileSlice) -> Iterator[dict[str, Any]]:
    """Yield the rows of a slice.

    Of Parquet only the row groups with some of them are read, of lines nothing before them; a ``.json`` or compressed
    file is read from its beginning.

    Raises:
        DataError: the file has changed since it was cut, or is broken.
    """
    _expect_unchanged(piece)
    found = 0
    for record in islice(_records(piece), piece.rows):
        found += 1
        yield record
    _expect_unchanged(piece)
    if found != piece.rows:
        raise DataError(f"{piece.file} gave {found} rows from row {piece.first} on, expected {piece.rows}.")


def _records(piece: FileSlice) -> Iterator[dict[str, Any]]:
    if piece.file.suffix == ".parquet":
        for batch in read_rows(piece.file, piece.first, piece.rows):
            yield from batch_records(batch)
    elif piece.file.suffix == ".jsonl":
        yield from read_lines(piece.file, piece.start)
    else:
        yield from islice(read_records(piece.file), piece.first, None)


def _expect_unchanged(piece: FileSlice) -> None:
    if not piece.file.is_file() or _state(piece.file) != piece.state:
        raise DataError(f"{piece.file} changed since the work began; restore it, or start anew with another output.")


def _state(file: Path) -> tuple[int, ...]:
    if not file.is_file():
        # ``count_records`` says what is wrong.
        return ()
    stat = file.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
