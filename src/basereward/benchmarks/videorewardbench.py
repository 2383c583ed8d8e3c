"""VideoRewardBench: 1,563 pairs about videos; accuracy, and the mean of the five dimensions.

Hub: ``Dragonriser/VideoRewardBench`` (licence and file names not verified, no revision is pinned). Its columns are
described nowhere in public, and nobody has checked this loader against the real file: it reads ``*.jsonl`` or
``*.json`` with the fields below, and says what it finds instead. Videos are folders of frames, as elsewhere: cut a
video file into frames beside it, in a folder of its name without suffix.

Source: arXiv 2509.00484, sections 3 and 4; the official script has not been compared.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from basereward.benchmarks.benchmark import Benchmark, BenchmarkPart
from basereward.benchmarks.formulas import Computed, accuracy_by_group, split, stratum, win_value
from basereward.benchmarks.items import BenchmarkRow, text_row
from basereward.benchmarks.mm_rlhf_rewardbench import sampled_video
from basereward.benchmarks.points import RowPoints
from basereward.benchmarks.protocol import OFFICIAL, Protocol, own_subset, protocols
from basereward.data.files import DataFiles, HubRepository, Raw, field
from basereward.data.io import read_records
from basereward.errors import DataError
from basereward.statistics import Ties

REPOSITORY = HubRepository("Dragonriser/VideoRewardBench", "not verified")
PARTS = {"test": BenchmarkPart("videorewardbench", REPOSITORY)}
# Field of ours -> names under which it is looked for.
FIELDS = {
    "prompt": ("question", "prompt", "query"),
    "chosen": ("chosen", "chosen_response"),
    "rejected": ("rejected", "rejected_response"),
    "video": ("video", "video_path"),
    "subset": ("category", "dimension", "type"),
}


def read(opened: dict[str, DataFiles]) -> Iterator[BenchmarkRow]:
    """Yield the rows of all files of records.

    Raises:
        MissingFileError: there is none.
        DataError: a record lacks one of ``FIELDS``.
    """
    for path in opened["test"].find("*.jsonl", "*.json", "data/*.jsonl", "data/*.json"):
        for number, record in enumerate(read_records(path)):
            yield parse(record, f"{path}, record {number}", path.parent, f"{path.stem}-{number}")


def parse(record: Raw, place: str, folder: Path, fallback_id: str) -> BenchmarkRow:
    """Return one row.

    Raises:
        DataError: as ``read``.
    """
    values = {name: _first(record, names, place) for name, names in FIELDS.items()}
    video = folder / str(values["video"])
    frames = video if video.is_dir() or not video.suffix else video.with_suffix("")
    return text_row(
        str(record.get("id", fallback_id)),
        str(values["subset"]),
        values["prompt"],
        [values["chosen"]],
        [values["rejected"]],
        videos=[sampled_video(frames)],
    )


def _first(record: Raw, names: tuple[str, ...], place: str) -> object:
    found = next((name for name in names if record.get(name) is not None), None)
    if found is None:
        raise DataError(f"{place} has none of {', '.join(names)}; found the fields {', '.join(record)}.")
    return field(record, found, place)


def compute(rows: Sequence[RowPoints], ties: Ties) -> Computed:
    """Return ``accuracy`` over all pairs and ``macro`` over the dimensions that the file has."""
    computed = accuracy_by_group(rows, ties, own_subset)
    computed.metrics["macro"] = [stratum(own, win_value, ties) for own in split(rows, own_subset).values()]
    computed.definitions["macro"] = "mean of the accuracies of the dimensions that the file has"
    return computed


PROTOCOLS = protocols(Protocol(OFFICIAL, "micro over pairs, macro over dimensions", compute))

BENCHMARK = Benchmark("videorewardbench", "VideoRewardBench", PARTS, read, PROTOCOLS)
