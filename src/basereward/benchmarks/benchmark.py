"""What a benchmark is: the parts that are downloaded, how their rows are read, and the protocols that read scores."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from basereward.benchmarks.embedded import put_images_on_disk
from basereward.benchmarks.items import BenchmarkItem, BenchmarkRow, build_items
from basereward.benchmarks.protocol import DEFAULT_PROTOCOLS, OFFICIAL, Protocol, Protocols
from basereward.data.files import DataFiles, HubRepository, open_files
from basereward.errors import DataError

# Gets the opened files of each part that is asked for, by the part's name.
Read = Callable[[dict[str, DataFiles]], Iterable[BenchmarkRow]]


@dataclass(frozen=True, slots=True)
class BenchmarkPart:
    """A separately downloaded part of a benchmark: its folder under the data root and its hub repository."""

    folder: str
    repository: HubRepository


@dataclass(frozen=True, slots=True)
class Benchmark:
    """An evaluation set: its name, what it is, its parts, how its rows are read, and what is made of scores.

    Args:
        parts: what can be loaded; protocols may ask for some of them. The first is the default.
        read: the rows of the opened parts, in an order that does not depend on the machine.
        protocols: by name, ``official`` among them; accuracy by subset for a benchmark that brings none.
    """

    name: str
    title: str
    parts: dict[str, BenchmarkPart]
    read: Read
    protocols: Protocols = DEFAULT_PROTOCOLS

    def protocol(self, name: str | None = None) -> Protocol:
        """Return a protocol by name, the official one by default.

        Raises:
            UnknownNameError: the benchmark has no such protocol.
        """
        return self.protocols.get(name or OFFICIAL)

    def open(self, data_root: Path | None = None, parts: Iterable[str] = ()) -> dict[str, DataFiles]:
        """Return the files of some parts by name, those of the default part if none is named.

        Args:
            data_root: folder whose subfolders hold the files; without it they come from the hub.

        Raises:
            MissingFileError: they are not there; names the hub id and the command that brings them.
        """
        wanted = tuple(parts) or (next(iter(self.parts)),)
        return {part: open_files(self.parts[part].folder, self.parts[part].repository, data_root) for part in wanted}

    def read_items(self, opened: dict[str, DataFiles], limit: int | None = None) -> list[BenchmarkItem]:
        """Return the items of opened parts; images that the files embed are put on disk.

        Args:
            limit: only the first items.

        Raises:
            MissingFileError: a file is not there.
            DataError: an unreadable record, or none at all.
        """
        items = build_items(self.name, map(put_images_on_disk, self.read(opened)))
        if not items:
            folders = ", ".join(str(files.folder) for files in opened.values())
            raise DataError(f"Benchmark {self.name} has no row in {folders}.")
        return items[:limit]

    def load(
        self, data_root: Path | None = None, parts: Iterable[str] = (), limit: int | None = None
    ) -> list[BenchmarkItem]:
        """Return the items of some parts: ``open``, then ``read_items``.

        Raises:
            MissingFileError: a file is not there; names the hub id and the command that brings it.
            DataError: an unreadable record, or none at all.
        """
        return self.read_items(self.open(data_root, parts), limit)
