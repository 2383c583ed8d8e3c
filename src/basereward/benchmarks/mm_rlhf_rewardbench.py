"""MM-RLHF-RewardBench: 170 pairs over 46 prompts; Acc over pairs, Acc+ over prompts of which every pair is right.

Hub: ``yifanzhang114/MM-RLHF-RewardBench`` (licence: see the repository; no revision is pinned). A prompt has an image
or a video. A video is a folder of frames; as the official script does, 32 of them are taken at equal distances, here in
the order of their names. The subset is the first of mcq, long, short, safety and video that occurs in the path. Rows of
one id share a prompt.

Source: MM-RLHF, ``mm_reward_bench.jsonl`` and its evaluation script.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from basereward.benchmarks.benchmark import Benchmark, BenchmarkPart
from basereward.benchmarks.formulas import Computed, accuracy_by_group, scored, win_value
from basereward.benchmarks.items import BenchmarkRow, text_row
from basereward.benchmarks.points import RowPoints
from basereward.benchmarks.protocol import OFFICIAL, Protocol, own_subset, protocols
from basereward.data.files import DataFiles, HubRepository, Raw, field
from basereward.data.io import read_records
from basereward.data.media import at_equal_distances
from basereward.data.schema import Video
from basereward.errors import DataError
from basereward.statistics import Stratum, Ties

REPOSITORY = HubRepository("yifanzhang114/MM-RLHF-RewardBench", "see the repository")
PARTS = {"test": BenchmarkPart("mm_rlhf_rewardbench", REPOSITORY)}
SUBSETS = ("mcq", "long", "short", "safety", "video")
FRAMES = 32


def read(opened: dict[str, DataFiles]) -> Iterator[BenchmarkRow]:
    """Yield the rows of ``mm_reward_bench.jsonl``.

    Raises:
        MissingFileError: the file is not there.
        DataError: a record without a prompt, a pair, and an image or video of a known subset.
    """
    [path] = opened["test"].find("mm_reward_bench.jsonl")
    for number, record in enumerate(read_records(path)):
        yield parse(record, f"{path}, record {number}", path.parent)


def parse(record: Raw, place: str, folder: Path) -> BenchmarkRow:
    """Return one row.

    Raises:
        DataError: a field is missing, or the path names no known subset.
    """
    kind = "video" if record.get("video") else "image"
    media = str(field(record, kind, place))
    subset = next((name for name in SUBSETS if name in media), None)
    if subset is None:
        raise DataError(f"{place} shows {media!r}; expected a path with one of {', '.join(SUBSETS)} in it.")
    file = locate_media(media, folder)
    return text_row(
        field(record, "id", place),
        subset,
        field(record, "prompt", place),
        [field(record, "chosen", place)],
        [field(record, "rejected", place)],
        images=[str(file)] if kind == "image" else [],
        videos=[sampled_video(file)] if kind == "video" else [],
    )


def locate_media(name: str, folder: Path) -> Path:
    """Return where a file or folder of frames is: beside the JSONL file, or in the hub's folder ``images``."""
    places = [folder / name, folder / "images" / name, folder / "images" / Path(name).name]
    return next((place for place in places if place.exists()), places[0])


def sampled_video(folder: Path, frames: int = FRAMES) -> Video:
    """Return ``frames`` files of a folder at equal distances; a folder that is not there stands as its only frame.

    So the video fails with the folder's name when a model opens it, and only then.
    """
    names = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    if not names:
        return Video((str(folder),))
    return Video(tuple(map(str, at_equal_distances(names, frames))))


def compute(rows: Sequence[RowPoints], ties: Ties) -> Computed:
    """Return ``accuracy`` (Acc) and ``acc_plus``: the share of ids whose rows are all right.

    An id with a failed row is in no ``acc_plus``: it is not known. With ties as half an id gets the lowest value of
    its rows.
    """
    by_id: dict[str, list[RowPoints]] = {}
    for row in rows:
        by_id.setdefault(row.id, []).append(row)
    # Whether every row of an id is right is not known where one failed: left out, not wrong.
    known = {name: own for name, own in by_id.items() if len(scored(own)) == len(own)}
    lowest = [min(win_value(row, ties) for row in own) for own in known.values()]
    computed = accuracy_by_group(rows, ties, own_subset, SUBSETS)
    # An id is a cluster of its own: its rows have become one value.
    computed.metrics["acc_plus"] = [Stratum(lowest, list(known))]
    computed.definitions["accuracy"] = "Acc: right pairs / scored pairs"
    computed.definitions["acc_plus"] = "Acc+: ids with every pair right / ids with every pair scored"
    return computed


PROTOCOLS = protocols(Protocol(OFFICIAL, "Acc over pairs, Acc+ over ids with all pairs right", compute))

BENCHMARK = Benchmark("mm_rlhf_rewardbench", "MM-RLHF-RewardBench", PARTS, read, PROTOCOLS)
