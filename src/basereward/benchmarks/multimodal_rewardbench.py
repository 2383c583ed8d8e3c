"""Multimodal RewardBench: 4,711 released pairs about images in seven tasks; accuracy, and the mean of the tasks.

Hub: ``syhuggingface/multimodal_rewardbench``, split test, a mirror with images (CC-BY-NC; no revision is pinned). The
official repository has ``data/all_data_release.json``, filled by ``scripts/0_download_data.py``. Toxicity is not
released. The subset is the category; reasoning and safety are split by the id.

Source: facebookresearch/multimodal_rewardbench, ``scripts/2_get_accuracy.py`` (micro). The baselines of the paper's
Table 10 are the mean of seven tasks (macro), its own rows are micro over the released rows.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from basereward.benchmarks.benchmark import Benchmark, BenchmarkPart
from basereward.benchmarks.formulas import Computed, accuracy_by_group, macro
from basereward.benchmarks.items import BenchmarkRow, Side, text_row
from basereward.benchmarks.judged import JudgedPair, file_order, names_one, points_of
from basereward.benchmarks.points import JudgeRule, Readings, RowPoints, read_verdicts
from basereward.benchmarks.protocol import OFFICIAL, Protocol, own_subset, protocols
from basereward.benchmarks.records import RowRecord
from basereward.data.files import DataFiles, HubRepository, Raw, field, stored_image
from basereward.data.io import read_records
from basereward.errors import DataError
from basereward.statistics import Ties

REPOSITORY = HubRepository("syhuggingface/multimodal_rewardbench", "CC-BY-NC")
PARTS = {"test": BenchmarkPart("multimodal_rewardbench", REPOSITORY)}
SUBSETS = {
    "open_generation/correctness_task": "correctness",
    "open_generation/preference_task": "preference",
    "knowledge": "knowledge",
    "vqa": "vqa",
}
# Of the official script.
SEED = 123
TASKS = ("correctness", "preference", "knowledge", "math", "coding", "bias", "vqa")


def read(opened: dict[str, DataFiles]) -> Iterator[BenchmarkRow]:
    """Yield the rows of the mirror's Parquet files, or of the official JSON file.

    Raises:
        MissingFileError: neither is there.
        DataError: a record without a text, two outputs, a label and a known category.
    """
    patterns = ("data/test-*.parquet", "all_data_release.json", "data/all_data_release.json", "all_data.json")
    for path in opened["test"].find(*patterns):
        for number, record in enumerate(read_records(path)):
            yield parse(record, f"{path}, record {number}", path.parent)


def parse(record: Raw, place: str, folder: Path) -> BenchmarkRow:
    """Return one row; ``Better`` names the better of ``Output1`` and ``Output2``.

    Raises:
        DataError: a field is missing, or the label or category is unknown.
    """
    better = field(record, "Better", place)
    if better not in ("Output1", "Output2"):
        raise DataError(f"{place} has {better!r} under 'Better'; expected Output1 or Output2.")
    worse = "Output2" if better == "Output1" else "Output1"
    identity = str(field(record, "ID", place))
    images = [stored_image(record["Image"], folder)] if record.get("Image") is not None else []
    sides = [field(record, name, place) for name in (better, worse)]
    subset = subset_of(str(field(record, "Category", place)), identity, place)
    first: Side = "correct" if better == "Output1" else "rejected"
    return text_row(identity, subset, field(record, "Text", place), [sides[0]], [sides[1]], images, first=first)


def subset_of(category: str, identity: str, place: str = "The record") -> str:
    """Return the task of a row.

    Raises:
        DataError: the category is unknown.
    """
    if category == "reasoning":
        return "math" if identity.lower().startswith("math") else "coding"
    if category == "safety":
        return "bias" if identity.lower().startswith("pairs") else "toxicity"
    if category not in SUBSETS:
        raise DataError(f"{place} has the category {category!r}; expected reasoning, safety, {', '.join(SUBSETS)}.")
    return SUBSETS[category]


def compute(rows: Sequence[RowPoints], ties: Ties) -> Computed:
    """Return ``accuracy``, micro over the rows that are there, and ``macro`` over the seven released tasks."""
    computed = accuracy_by_group(rows, ties, own_subset, TASKS)
    # Toxicity is not released; if a copy has it, it is in the micro accuracy but in no mean of seven tasks.
    means = macro([row for row in rows if row.subset in TASKS], ties, own_subset, TASKS)
    computed.metrics.update(means)
    computed.definitions["accuracy"] = "correct rows / scored rows, all tasks that are there (micro)"
    computed.definitions.update(dict.fromkeys(means, "mean of the accuracies of the seven released tasks"))
    return computed


def flip_coins(records: Sequence[RowRecord]) -> Readings:
    """Return what the judge says in the order of the file; a coin decides where it names no response.

    The official script draws from one seeded generator, row after row, whenever it finds no verdict: the same answers
    give the same flips. It then takes A (Output1) below one half.
    """
    generator = Random(SEED)
    flips = 0

    def decide(record: RowRecord, pair: JudgedPair) -> float:
        nonlocal flips
        order = file_order(record.first)
        answer = pair.answers(order)[0]
        if names_one(answer):
            return points_of(answer, order)
        flips += 1
        return float((generator.random() < 0.5) == (record.first == "correct"))

    rows = read_verdicts(records, decide)
    note = f"{flips} of {len(records)} answers name no response; coin flips (seed {SEED}) decide them, as officially."
    return Readings([rows], (note,) if flips else ())


PROTOCOLS = protocols(
    Protocol(
        OFFICIAL,
        "micro over the released rows, macro over seven tasks (safety is bias alone)",
        compute,
        judge=(
            JudgeRule(
                "coin_flip",
                f"one answer, the outputs in the order of the file; without a verdict a coin flip (seed {SEED})",
                flip_coins,
            ),
        ),
    )
)

BENCHMARK = Benchmark("multimodal_rewardbench", "Multimodal RewardBench", PARTS, read, PROTOCOLS)
