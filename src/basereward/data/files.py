"""Where the files of a data set are: a local folder such as one under ``--data-root``, or a snapshot from the hub.

Both have the layout of the hub repository, so that a downloaded copy is a data root; some benchmarks are also read in
the form in which their text lies in a public git repository.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basereward.errors import DataError, MissingFileError

Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class HubRepository:
    """A dataset repository: what to download, which revision, and under which licence.

    ``revision`` is a commit, or None where none has been verified: then the newest is taken.
    ``patterns`` limit what is downloaded.
    """

    id: str
    licence: str
    revision: str | None = None
    patterns: tuple[str, ...] = ()

    def command(self, folder: str | Path) -> str:
        """Return the shell command that brings the files into ``folder``."""
        revision = f" --revision {self.revision}" if self.revision else ""
        include = "".join(f" --include '{pattern}'" for pattern in self.patterns)
        return f"hf download {self.id} --repo-type dataset{revision}{include} --local-dir {folder}"


@dataclass(frozen=True, slots=True)
class DataFiles:
    """The folder that holds a data set's files, and what to say when one is not there.

    ``revision`` is the commit that was downloaded, None where nothing in the folder tells it.
    """

    folder: Path
    repository: HubRepository
    revision: str | None = None

    def find(self, *patterns: str) -> list[Path]:
        """Return the sorted files of the first pattern (a glob) that has any.

        Raises:
            MissingFileError: no pattern has a file; names the file, the hub id and the command that brings it.
        """
        for pattern in patterns:
            if found := sorted(path for path in self.folder.glob(pattern) if path.is_file()):
                return found
        raise MissingFileError(
            f"There is no {' or '.join(patterns)} in {self.folder}. It is in the hub data set {self.repository.id}: "
            f"{self.repository.command(self.folder)}"
        )

    def has(self, pattern: str) -> bool:
        """Return whether a file matches the pattern."""
        return any(path.is_file() for path in self.folder.glob(pattern))


def open_files(folder: str, repository: HubRepository, data_root: Path | None) -> DataFiles:
    """Return the files under ``data_root / folder``, or a hub snapshot if no root is given.

    Raises:
        MissingFileError: no such folder, or the snapshot cannot be downloaded.
    """
    if data_root is None:
        snapshot = _download(folder, repository)
        return DataFiles(snapshot, repository, snapshot.name if snapshot.parent.name == "snapshots" else None)
    place = data_root / folder
    if not place.is_dir():
        raise MissingFileError(
            f"There is no folder {place}. Its files are in the hub data set {repository.id}: "
            f"{repository.command(place)}"
        )
    return DataFiles(place, repository, _recorded_revision(place))


def _recorded_revision(folder: Path) -> str | None:
    """Return the commit that ``hf download --local-dir`` noted beside the files, if it is one for all of them."""
    notes = (folder / ".cache" / "huggingface" / "download").rglob("*.metadata")
    commits = {note.read_text(encoding="utf-8").split("\n", 1)[0].strip() for note in notes}
    return commits.pop() if len(commits) == 1 else None


def _download(folder: str, repository: HubRepository) -> Path:
    from huggingface_hub import snapshot_download

    try:
        path = snapshot_download(
            repository.id,
            repo_type="dataset",
            revision=repository.revision,
            allow_patterns=list(repository.patterns) or None,
        )
    except Exception as error:  # the client raises its own, httpx's and the system's errors
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MissingFileError(
            f"The hub data set {repository.id} cannot be downloaded ({reason}). Bring it and give --data-root "
            f"DATA: {repository.command(Path('DATA') / folder)}"
        ) from error
    return Path(path)


def field(record: Raw, name: str, place: str) -> Any:
    """Return a field of a record.

    Raises:
        DataError: the record has no such field, or null under it.
    """
    if record.get(name) is None:
        raise DataError(f"{place} has no {name!r}; found the fields {', '.join(record)}.")
    return record[name]


def expect_columns(record: Raw, names: Sequence[str], place: str) -> None:
    """Check that a record has all these fields; their values may be null.

    Raises:
        DataError: one is not there; names those found and those expected.
    """
    missing = [name for name in names if name not in record]
    if missing:
        raise DataError(
            f"{place} has no {', '.join(map(repr, missing))}; found the fields {', '.join(record)}, "
            f"expected {', '.join(names)}. The files are not in the documented layout."
        )


def stored_image(image: Any, folder: Path) -> Any:
    """Return a path relative to ``folder`` as one that can be opened; embedded images stay as they are."""
    return str(folder / image) if isinstance(image, str) else image
