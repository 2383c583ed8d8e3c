"""Sets that curation and mixing start from: folders of converted sources by name, or any place by its path."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import datasets

from basereward.data.digests import file_digest
from basereward.data.manifest import Manifest, read_manifest
from basereward.data.shards import partial_folder
from basereward.data.storage import read_rows
from basereward.errors import DataError, MissingFileError
from basereward.sources.registry import SOURCES


class InputSet(NamedTuple):
    """A set of pairs: what the recipe calls it, where it lies, and its manifest if it has one."""

    name: str
    place: str
    manifest: Manifest | None

    def content_hash(self) -> str | None:
        """Return the hash of the manifest, or of a single file; other places have none."""
        if self.manifest:
            return self.manifest.sha256
        return file_digest(Path(self.place)) if Path(self.place).is_file() else None


def find_source(name: str, root: Path) -> InputSet:
    """Return the converted folder of a source.

    Raises:
        MissingFileError: it is not there; names the command that makes it.
        DataError: a broken folder, or one that holds prompts or nothing.
    """
    place = root / name
    if manifest := read_manifest(place):
        return _checked(InputSet(name, str(place), manifest))
    unfinished = f" A conversion stopped in {partial_folder(place)}." if partial_folder(place).is_dir() else ""
    raise MissingFileError(
        f"There is no converted {name} in {place}.{unfinished} It is made by: "
        f"basereward data convert {name} --out {place}"
    )


def find_place(path: str) -> InputSet:
    """Return the set at a path or hub id, with or without a manifest.

    Raises:
        DataError: a broken folder, or one that holds prompts or nothing.
    """
    return _checked(InputSet(path, path, read_manifest(Path(path))))


def find_set(name: str, root: Path) -> InputSet:
    """Return the converted folder of a source, or the set at a path or hub id.

    Raises:
        MissingFileError: as ``find_source``.
        DataError: a broken folder, or one that holds prompts or nothing.
    """
    return find_source(name, root) if name in SOURCES.names() else find_place(name)


def check_distinct(found: Sequence[InputSet]) -> None:
    """Check that no set is named twice, whatever it is called.

    Raises:
        DataError: two inputs lie at the same place.
    """
    names: dict[Path, str] = {}
    for one in found:
        place = Path(one.place).resolve()
        if place in names:
            raise DataError(f"The inputs {names[place]} and {one.name} are one set, {place}; name it once.")
        names[place] = one.name


def read_input(found: InputSet) -> datasets.Dataset:
    """Return the rows of a set, as many as its manifest states.

    Raises:
        MissingFileError: there is nothing.
        DataError: another number of rows.
    """
    rows = read_rows(found.place)
    if found.manifest and found.manifest.rows != len(rows):
        raise DataError(f"{found.place} holds {len(rows)} rows, its manifest states {found.manifest.rows}.")
    return rows


def _checked(found: InputSet) -> InputSet:
    if found.manifest and found.manifest.holds != "pairs":
        raise DataError(f"{found.place} holds {found.manifest.holds}, expected pairs; they train no reward model.")
    if found.manifest and not found.manifest.rows:
        raise DataError(f"{found.place} holds no rows: all were dropped when it was made. Leave it out.")
    return found
