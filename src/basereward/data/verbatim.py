"""Where the bytes of images stand in a Parquet file as they are, so that each can be read by itself.

Parquet writes a value of bytes as its length in four bytes and the bytes themselves. In a column that is not compressed
they can be found by looking for them, without a reader of pages of our own: the values come in order, with a header
between two of them where a page ends, or stand once in the dictionary at the column's beginning. What is found is
compared byte by byte, so nothing is taken for an image that is none.
"""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from basereward.data.held import INSIDE, NOWHERE, ImagePlace
from basereward.data.parquet import open_parquet

# A page's header with the levels of its values; they are short for values as long as images.
_HEADER_BYTES = 2**18
_SHOWN = 64


class Finder:
    """Finds the values of one column of one row group, asked for in order."""

    def __init__(self, data: mmap.mmap, start: int, end: int) -> None:
        self._data, self._start, self._end, self._next = data, start, end, start

    def find(self, value: bytes | None) -> ImagePlace:
        """Return where a value stands: ``INSIDE`` if it is not found as it is, ``NOWHERE`` if there is none."""
        if value is None:
            return NOWHERE
        known = len(value).to_bytes(4, "little") + value[:_SHOWN]
        near = min(self._end, self._next + _HEADER_BYTES)
        for first, last in ((self._next, near), (self._start, self._end)):
            at = self._data.find(known, first, last)
            while at >= 0:
                place = ImagePlace(at + 4, len(value))
                if self._data[place.start : place.start + place.size] == value:
                    self._next = max(self._next, place.start + place.size)
                    return place
                at = self._data.find(known, at + 1, last)
        return INSIDE


@contextmanager
def open_finders(path: Path, group: int, leaves: tuple[str, ...]) -> Iterator[dict[str, Finder]]:
    """Yield what finds the values of each of some columns of a row group; for a compressed one, what finds none.

    Raises:
        DataError: the file is broken.
    """
    with open_parquet(path) as file, path.open("rb") as raw, mmap.mmap(raw.fileno(), 0, prot=mmap.PROT_READ) as data:
        chunks = {
            chunk.path_in_schema: chunk
            for number in range(file.metadata.num_columns)
            if (chunk := file.metadata.row_group(group).column(number)).path_in_schema in leaves
        }
        finders = {}
        for leaf, chunk in chunks.items():
            start = min(filter(None, (chunk.dictionary_page_offset, chunk.data_page_offset)))
            size = chunk.total_compressed_size if chunk.compression == "UNCOMPRESSED" else 0
            finders[leaf] = Finder(data, start, start + size)
        yield finders
