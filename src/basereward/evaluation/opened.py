"""What an evaluation reads, once opened: the items of a benchmark or of a file of pairs, and where they came from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from basereward.benchmarks.benchmark import Benchmark
from basereward.benchmarks.items import BenchmarkItem, ItemFacts
from basereward.benchmarks.protocol import DEFAULT_PROTOCOLS, OFFICIAL, Protocol
from basereward.data.reader import Recognised
from basereward.evaluation.result import DataPart, UsedData


@dataclass(frozen=True, slots=True)
class Opened:
    """Items under a name, and the protocols that read them.

    Args:
        protocols: the main one first.
        parts: where the items of a benchmark came from.
        limit: only so many items, or pairs of the file, were read.
        part_of: how many rows there are, if the items hold only some of them.
        dropped: rows of the file that are no usable pair, by reason.
        read_as: what the file was recognised as.
        bring: how files that are missing are brought.
    """

    name: str
    items: Sequence[BenchmarkItem]
    protocols: tuple[Protocol, ...] = (DEFAULT_PROTOCOLS.get(OFFICIAL),)
    parts: Mapping[str, DataPart] = field(default_factory=dict)
    limit: int | None = None
    part_of: int | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)
    read_as: Recognised | None = None
    bring: str = ""


def used_data(opened: Opened, facts: ItemFacts) -> UsedData:
    """Return what results say of the items."""
    return UsedData(
        sha256=facts.sha256,
        parts=dict(opened.parts),
        limit=opened.limit,
        part_of=opened.part_of,
        dropped=dict(opened.dropped),
        read_as=opened.read_as,
    )


def read_benchmark(
    benchmark: Benchmark, data_root: Path | None = None, protocol: str | None = None, limit: int | None = None
) -> Opened:
    """Return the items of a benchmark, and the protocols that read the same parts of it as the main one.

    Args:
        data_root: folder of local copies; without it the files come from the hub.
        protocol: name of the main protocol, the official one by default.
        limit: only the first items.

    Raises:
        MissingFileError: a file of the benchmark is not there.
        UnknownNameError: no such protocol.
        DataError: a bad record.
    """
    main = benchmark.protocol(protocol)
    others = [own for own in map(benchmark.protocol, benchmark.protocols.names()) if own != main]
    opened = benchmark.open(data_root, main.parts)
    part = benchmark.parts[next(iter(opened))]
    place = part.folder if data_root is None else data_root / part.folder
    return Opened(
        benchmark.name,
        benchmark.read_items(opened, limit),
        (main, *(own for own in others if own.parts == main.parts)),
        {name: DataPart(hub_id=files.repository.id, revision=files.revision) for name, files in opened.items()},
        limit,
        bring=f"They are in the hub data set {part.repository.id}: {part.repository.command(place)}",
    )
