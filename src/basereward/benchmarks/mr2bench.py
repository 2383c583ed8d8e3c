"""MR2Bench: rankings of several responses about an image or a video; best of N, and ours over all pairs.

Hub: ``yinuoy/MR2Bench`` (ODC-BY; fewer than 1,000 records as JSON; no revision is pinned). Its columns and file names
are described nowhere in public, and nobody has checked this loader against the real files: it reads the layout that the
authors' trainer reads, and says what it finds instead. ``rankings`` give 1 to the best response, ties allowed. Videos
are folders of frames: cut a video file into frames beside it, in a folder of its name without suffix.

Source: yinuoyang01/multi-response-rm, ``mr2rm/data/dataset.py`` (the layout). The official script is not public.
"""

from collections.abc import Iterator, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from basereward.benchmarks.benchmark import Benchmark, BenchmarkPart
from basereward.benchmarks.formulas import Computed, accuracy_by_group, split, stratum
from basereward.benchmarks.items import BenchmarkRow, text_row
from basereward.benchmarks.mm_rlhf_rewardbench import sampled_video
from basereward.benchmarks.points import RowPoints
from basereward.benchmarks.protocol import OFFICIAL, Protocol, own_subset, protocols
from basereward.data.files import DataFiles, HubRepository, Raw, expect_columns, field, stored_image
from basereward.data.io import read_records
from basereward.data.schema import Video
from basereward.errors import DataError
from basereward.statistics import Ties

REPOSITORY = HubRepository("yinuoy/MR2Bench", "ODC-BY")
BEST, PAIRS = "best", "pairs"
PARTS = {part: BenchmarkPart("mr2bench", REPOSITORY) for part in (BEST, PAIRS)}
COLUMNS = ("prompt", "responses", "rankings")
FILES = ("*.jsonl", "*.json", "*/*.jsonl", "*/*.json", "*/*.parquet")


class RankedRecord(NamedTuple):
    """One record: the prompt, its image or video, and the responses by rank, best first, equal ones together."""

    id: str
    subset: str
    prompt: Any
    ranks: list[list[str]]
    images: list[Any]
    videos: list[Video]

    def row(self, correct: Sequence[str], rejected: Sequence[str]) -> BenchmarkRow:
        """Return a row that compares some of the responses."""
        return text_row(self.id, self.subset, self.prompt, correct, rejected, self.images, self.videos)


def read(opened: dict[str, DataFiles]) -> Iterator[BenchmarkRow]:
    """Yield a row for each record, its best responses against the others, or for each pair of other ranks.

    Raises:
        MissingFileError: there is no file of records.
        DataError: a record in another layout, one that ranks no response above another, or a file in two forms.
    """
    for part, files in opened.items():
        for path in _record_files(files):
            for number, record in enumerate(read_records(path)):
                found = parse(record, f"{path}, record {number}", path.parent, f"{path.stem}-{number}")
                if part == BEST:
                    yield found.row(found.ranks[0], [text for worse in found.ranks[1:] for text in worse])
                else:
                    yield from _pairs(found)


def _record_files(files: DataFiles) -> list[Path]:
    """Return all files of records: images and videos may lie in files of other forms.

    Raises:
        MissingFileError: there is none.
        DataError: the same file in two forms, whose records would count twice.
    """
    forms = [pattern for pattern in FILES if files.has(pattern)]
    if not forms:
        # Names what is looked for, and where it is.
        return files.find(*FILES)
    found = [path for pattern in forms for path in files.find(pattern)]
    stems = [path.with_suffix("") for path in found]
    if twice := [str(path) for path, stem in zip(found, stems, strict=True) if stems.count(stem) > 1]:
        raise DataError(f"Found {' and '.join(twice)}, whose records would count twice; leave one of them.")
    return found


def _pairs(found: RankedRecord) -> Iterator[BenchmarkRow]:
    for place, better in enumerate(found.ranks):
        for one in better:
            for worse in found.ranks[place + 1 :]:
                yield from (found.row([one], [other]) for other in worse)


def parse(record: Raw, place: str, folder: Path, fallback_id: str) -> RankedRecord:
    """Return one record; the subset is what it shows and the number of its responses.

    Raises:
        DataError: as ``read``.
    """
    expect_columns(record, COLUMNS, place)
    responses, rankings = list(field(record, "responses", place)), list(field(record, "rankings", place))
    if len(responses) != len(rankings) or not all(_is_rank(rank) for rank in rankings):
        raise DataError(f"{place} has {len(responses)} responses with the rankings {rankings}; expected one each.")
    ranks = [
        [text for text, own in zip(responses, rankings, strict=True) if own == rank] for rank in sorted(set(rankings))
    ]
    if len(ranks) < 2:
        raise DataError(f"{place} has the rankings {rankings}, which call no response better than another.")
    kinds = [kind for kind in ("image", "video") if record.get(kind)]
    if len(kinds) != 1:
        raise DataError(
            f"{place} has {' and '.join(kinds) or 'neither image nor video'} among {', '.join(record)}; expected a "
            "path under 'image' or under 'video'."
        )
    [kind] = kinds
    images = [stored_image(record[kind], folder)] if kind == "image" else []
    videos = [_video(folder / str(record[kind]))] if kind == "video" else []
    subset = f"{kind}-{len(responses)}"
    return RankedRecord(
        str(record.get("id", fallback_id)), subset, field(record, "prompt", place), ranks, images, videos
    )


def _is_rank(value: Any) -> bool:
    # NaN equals nothing, itself included: its response would be in no rank.
    return type(value) in (int, float) and isfinite(value)


def _video(file: Path) -> Video:
    return sampled_video(file if file.is_dir() or not file.suffix else file.with_suffix(""))


def best_value(row: RowPoints, ties: Ties) -> float:
    """Return whether a best response has the highest score of all; at a tie with others, its share of the highest.

    ``strict`` gives such a tie 0, ``half`` the share of best ones among the highest, ``greater_or_equal`` 1.
    """
    # A response without a loss has the highest score of its row, unless another best one is above it.
    unbeaten = [own for own in row.points if 0.0 not in own]
    if not unbeaten:
        return 0.0
    fewest = min(own.count(0.5) for own in unbeaten)
    if fewest == 0 or ties == "greater_or_equal":
        return 1.0
    return len(unbeaten) / (len(unbeaten) + fewest) if ties == "half" else 0.0


def compute_best(rows: Sequence[RowPoints], ties: Ties) -> Computed:
    """Return ``accuracy`` over records and ``macro`` over images and videos by their number of responses."""
    computed = accuracy_by_group(rows, ties, own_subset, value=best_value)
    computed.metrics["macro"] = [stratum(own, best_value, ties) for own in split(rows, own_subset).values()]
    computed.definitions["accuracy"] = "records whose highest score is that of a best response / scored records"
    computed.definitions["macro"] = "mean of the accuracies of the groups that the files have"
    return computed


def compute_pairs(rows: Sequence[RowPoints], ties: Ties) -> Computed:
    """Return ``accuracy`` over all pairs of responses with other ranks."""
    return accuracy_by_group(rows, ties, own_subset)


PROTOCOLS = protocols(
    Protocol(
        OFFICIAL,
        "best of N: the highest score is that of a response of rank 1; the official script is not public",
        compute_best,
        (BEST,),
        value=best_value,
    ),
    Protocol("pairwise", "accuracy over all pairs of responses with other ranks", compute_pairs, (PAIRS,)),
)

BENCHMARK = Benchmark("mr2bench", "MR2Bench", PARTS, read, PROTOCOLS)
