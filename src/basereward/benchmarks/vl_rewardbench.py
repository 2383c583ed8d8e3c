"""VL-RewardBench: 1,250 pairs about single images, from ten sources; accuracy, and the mean of three categories.

Hub: ``MMInstruction/VL-RewardBench``, split test (licence MIT; no revision is pinned, a newer one has 1,247 rows). The
texts also lie in git as ``data.jsonl`` with ``prompt``, ``chosen`` and ``rejected``. 25 ids repeat. The subset is the
part of the id before the first ``_`` or ``-``; three partitions of the subsets into categories are in use.

Source: vl-rewardbench, ``cal.py`` (official); yfzhang114/r1_reward, ``get_acc.py``; CodeGoat24/UnifiedReward, its
VL-RewardBench scripts.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random

from basereward.benchmarks.benchmark import Benchmark, BenchmarkPart
from basereward.benchmarks.formulas import Computed, accuracy_by_group, macro
from basereward.benchmarks.items import BenchmarkRow, text_row
from basereward.benchmarks.judged import ORDERS, JudgedPair, names_one, points_of
from basereward.benchmarks.points import JudgeRule, Readings, RowPoints, read_verdicts
from basereward.benchmarks.protocol import OFFICIAL, Protocol, protocols
from basereward.benchmarks.records import RowRecord
from basereward.data.files import DataFiles, HubRepository, Raw, field, stored_image
from basereward.data.io import read_records
from basereward.errors import DataError
from basereward.statistics import Ties

REPOSITORY = HubRepository("MMInstruction/VL-RewardBench", "MIT")
PARTS = {"test": BenchmarkPart("vl_rewardbench", REPOSITORY)}
COLUMNS = ("id", "query", "response", "image", "human_ranking")
CATEGORIES = ("general", "hallucination", "reasoning")
REASONING = {"mathverse": "reasoning", "mmmu": "reasoning"}
# Prefix of the id, in lower case -> category; every other prefix is general. The variants are those of scripts in use.
# That of r1_reward looks for "rlaif" and "rlhf", which ids spell in capitals, and finds none. UnifiedReward's know
# POVID by another name than the ids do ("hallucination"). Many numbers are under them: they are named, not mended.
PARTITIONS: dict[str, Mapping[str, str]] = {
    "official": {
        **REASONING,
        "hallucination": "hallucination",
        "rlaif": "hallucination",
        "rlhf": "hallucination",
    },
    "r1_reward": {**REASONING, "hallucination": "hallucination"},
    "unifiedreward": {**REASONING, "rlaif": "hallucination", "rlhf": "hallucination"},
}


def read(opened: dict[str, DataFiles]) -> Iterator[BenchmarkRow]:
    """Yield the rows of the hub's Parquet file, which holds the images, or of ``data.jsonl``.

    Raises:
        MissingFileError: neither is there.
        DataError: a record without a ranking of two responses.
    """
    paths = opened["test"].find("data/test-*.parquet", "data.jsonl", "data.json")
    for path in paths:
        for number, record in enumerate(read_records(path, COLUMNS)):
            yield parse(record, f"{path}, record {number}", path.parent)


def parse(record: Raw, place: str, folder: Path) -> BenchmarkRow:
    """Return one row; ``human_ranking`` [0, 1] calls the first response better, [1, 0] the second.

    Raises:
        DataError: a field is missing, or the ranking is another one.
    """
    if "chosen" in record:
        sides = [field(record, name, place) for name in ("prompt", "chosen", "rejected")]
    else:
        answers, ranking = field(record, "response", place), list(field(record, "human_ranking", place))
        if len(answers) != 2 or sorted(ranking) != [0, 1]:
            raise DataError(f"{place} has {len(answers)} responses ranked {ranking}; expected two, ranked 0 and 1.")
        sides = [field(record, "query", place), answers[ranking.index(0)], answers[ranking.index(1)]]
    identity = str(field(record, "id", place))
    image = stored_image(field(record, "image", place), folder)
    return text_row(identity, subset_of(identity), sides[0], [sides[1]], [sides[2]], [image])


def subset_of(identity: str) -> str:
    """Return the source of an id, in the letters of the id."""
    return re.split("[_-]", identity, maxsplit=1)[0]


def category(subset: str, partition: str = OFFICIAL) -> str:
    """Return the category of an id's prefix in one of the partitions."""
    return PARTITIONS[partition].get(subset.lower(), "general")


def compute(rows: Sequence[RowPoints], ties: Ties, partition: str = OFFICIAL) -> Computed:
    """Return ``accuracy`` over all rows and ``macro``, the mean of the accuracies of the three categories."""
    group_of = partial(category, partition=partition)
    computed = accuracy_by_group(rows, ties, group_of, CATEGORIES)
    means = macro(rows, ties, group_of, CATEGORIES)
    computed.metrics.update(means)
    computed.definitions.update(dict.fromkeys(means, "mean of the accuracies of the categories"))
    return computed


def majority(record: RowRecord, pair: JudgedPair) -> float | None:
    """Return whether most samples name the right response, or None if no response has a majority.

    Each sample is asked in an order of its own, drawn by the row and the number of the sample. The majority is over
    all of them, those without a verdict included, as officially; a row without one is in no accuracy.
    """
    orders = [Random(f"{record.row}/{sample}").choice(ORDERS) for sample in range(len(pair.correct_first))]
    answers = [pair.answers(order)[sample] for sample, order in enumerate(orders)]
    votes = [points_of(answer, order) for answer, order in zip(answers, orders, strict=True) if names_one(answer)]
    for points in (1.0, 0.0):
        if votes.count(points) > len(answers) / 2:
            return points
    return None


def read_majorities(records: Sequence[RowRecord]) -> Readings:
    """Return the majority of the samples of each row; the note counts the rows that have none."""
    rows = read_verdicts(records, majority, "no_majority")
    lost = sum(row.failure == "no_majority" for row in rows)
    note = (
        f"In {lost} of {len(records)} rows no response has a majority of the samples; they are dropped, as officially."
    )
    return Readings([rows], (note,) if lost else ())


MAJORITY = JudgeRule(
    "majority", "majority of the samples, each in a drawn order; without one a row is dropped", read_majorities
)


def _protocol(name: str, text: str, judge: tuple[JudgeRule, ...] = ()) -> Protocol:
    group = partial(category, partition=name)
    return Protocol(name, text, partial(compute, partition=name), group=group, judge=judge)


PROTOCOLS = protocols(
    _protocol(OFFICIAL, "categories of cal.py (183 general, 749 hallucination, 318 reasoning)", (MAJORITY,)),
    _protocol("r1_reward", "categories of r1_reward (484, 448, 318): RLAIF-V and RLHF-V rows are general"),
    _protocol("unifiedreward", "categories of UnifiedReward (631, 301, 318): POVID rows are general"),
)

BENCHMARK = Benchmark("vl_rewardbench", "VL-RewardBench", PARTS, read, PROTOCOLS)
