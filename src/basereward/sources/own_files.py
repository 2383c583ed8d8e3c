"""A file of one's own as a source that can be converted: whatever the reader recognises."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from basereward.data.arrangement import ReadOptions
from basereward.data.files import DataFiles, HubRepository, Raw
from basereward.data.formats.records import PLACE, find_media, located_records
from basereward.data.images import decode_text
from basereward.data.io import read_records, record_stem
from basereward.data.reader import Reader, open_reader
from basereward.data.source import Source


def file_source(path: Path, options: ReadOptions | None = None) -> tuple[Source, DataFiles]:
    """Return a file as a source, named after it, and where the file and its images are.

    Args:
        path: a file of records; image paths are relative to its folder.
        options: what its records do not say by themselves.

    Raises:
        MissingFileError: there is no such file.
        DataError: another suffix, no records, or none that any format fits.
        UnknownNameError: no such format.
    """
    reader = open_reader(read_records(path), str(path), options)
    repository = HubRepository(f"{path.name} ({reader.recognised.format})", "not stated")
    source = Source(
        name=record_stem(path),
        title=f"{path.name}, {reader.recognised.title}",
        repository=repository,
        modality="image",
        verdict="not in the paper",
        remark="A file of one's own.",
        records=lambda files: located_records([path]),
        parse=_parser(reader),
        read_as=reader.recognised,
    )
    return source, DataFiles(path.absolute().parent, repository)


def _parser(reader: Reader) -> Callable[[Raw, DataFiles], Iterable[dict[str, Any]]]:
    def parse(record: Raw, files: DataFiles) -> Iterable[dict[str, Any]]:
        place = record[PLACE]
        for pair in reader.read({name: value for name, value in record.items() if name != PLACE}, place):
            images = [_find(image, files) for image in pair["images"]]
            yield {**pair, "source": pair["source"] or place.rpartition("-")[0], "images": images}

    return parse


def _find(image: Any, files: DataFiles) -> Any:
    """Return an image that is there: absolute paths and encoded images as they are, others found among the files."""
    found = decode_text(image) if isinstance(image, str) else image
    return find_media(found, files) if isinstance(found, str) and not Path(found).is_absolute() else found
