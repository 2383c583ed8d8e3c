"""Omni-RewardBench, the tasks with text answers to a text or an image: pairs under a criterion that the prompt states.

Hub: ``HongbangYuan/OmniRewardBench``, configs text_to_text and text_image_to_text, split test (CC BY-NC 4.0; no
revision is pinned). In the layout of the official script the same records lie as ``TASK_preferences.json`` beside
``media_data/``. ``criteria_preference`` is response1, response2 or tie. Without ties such records are left out; with
ties they are there, and a tie alone is right.

How the official scalar models were shown the criterion is not public: here it stands behind the prompt.

Source: HongbangYuan/OmniReward, ``evaluation_experiments/run_exp.py`` (judges) and
``OmniReward-Factory/src/llamafactory/train/rm/metric.py`` (scores); Deutsch, Foster and Freitag, EMNLP 2023 (the
threshold).
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from basereward.benchmarks.benchmark import Benchmark, BenchmarkPart
from basereward.benchmarks.formulas import Computed, accuracy_by_group, macro, missing_note, scoped, split
from basereward.benchmarks.items import BenchmarkRow, Side, text_row
from basereward.benchmarks.judgebench import SINGLE_GAME
from basereward.benchmarks.points import RowPoints
from basereward.benchmarks.protocol import OFFICIAL, Protocol, own_subset, protocols
from basereward.data.files import DataFiles, HubRepository, Raw, expect_columns, field, stored_image
from basereward.data.io import read_records
from basereward.errors import DataError
from basereward.statistics import TIE_VALUES, Stratum, Ties

REPOSITORY = HubRepository(
    "HongbangYuan/OmniRewardBench", "CC BY-NC 4.0", patterns=("text_to_text/*", "text_image_to_text/*")
)
WITHOUT_TIES, WITH_TIES = "without_ties", "with_ties"
PARTS = {part: BenchmarkPart("omni_rewardbench", REPOSITORY) for part in (WITHOUT_TIES, WITH_TIES)}
TASKS = ("text_to_text", "text_image_to_text")
COLUMNS = ("prompt", "response1", "response2", "criteria", "criteria_preference", "id")
CRITERION = "{prompt}\n\nThe response is judged by this criterion alone: {criterion}"
CHOSEN_HERE = (
    "calibrated takes for each task the threshold below which two scores count as tied that is best on these very "
    "rows, as officially: it is the best that a threshold can do."
)


def read(opened: dict[str, DataFiles]) -> Iterator[BenchmarkRow]:
    """Yield the rows of the tasks that are there; those whose label is a tie only in the part with ties.

    Raises:
        MissingFileError: no task is there.
        DataError: a record in another layout, or with another preference.
    """
    for part, files in opened.items():
        patterns = {task: (f"{task}/test-*.parquet", f"{task}_preferences.json") for task in TASKS}
        found = [task for task in TASKS if any(map(files.has, patterns[task]))]
        for task in found or TASKS:
            for path in files.find(*patterns[task]):
                for number, record in enumerate(read_records(path)):
                    row = parse(record, f"{path}, record {number}", task, files.folder)
                    if part == WITH_TIES or not row.tied:
                        yield row


def parse(record: Raw, place: str, task: str, folder: Path) -> BenchmarkRow:
    """Return one row; of a tie both responses are equal, response1 stands first.

    Raises:
        DataError: a field is missing, or the preference is none of response1, response2 and tie.
    """
    expect_columns(record, COLUMNS, place)
    preference = field(record, "criteria_preference", place)
    if preference not in ("response1", "response2", "tie"):
        raise DataError(f"{place} has the preference {preference!r}; expected response1, response2 or tie.")
    answers = [field(record, name, place) for name in ("response1", "response2")]
    if preference == "response2":
        answers.reverse()
    first: Side = "rejected" if preference == "response2" else "correct"
    prompt = CRITERION.format(prompt=field(record, "prompt", place), criterion=field(record, "criteria", place))
    images = [] if task == "text_to_text" else [_image(record, place, folder)]
    row = text_row(field(record, "id", place), task, prompt, answers[:1], answers[1:], images, first=first)
    return replace(row, tied=preference == "tie")


def _image(record: Raw, place: str, folder: Path) -> object:
    """Return the embedded image, or the file that the record names below ``media_data``."""
    found = record.get("image") or record.get("image_path")
    if found is None:
        raise DataError(f"{place} has neither 'image' nor 'image_path'; found the fields {', '.join(record)}.")
    return stored_image(found, folder / "media_data")


def compute(rows: Sequence[RowPoints], ties: Ties) -> Computed:
    """Return ``accuracy`` over the pairs whose label is no tie, and ``macro`` over the tasks."""
    computed = accuracy_by_group(rows, ties, own_subset, TASKS)
    means = macro(rows, ties, own_subset, TASKS)
    computed.metrics.update(means)
    computed.definitions.update(dict.fromkeys(means, "mean of the accuracies of the tasks"))
    return computed._replace(notes=missing_note(rows, own_subset, TASKS))


def compute_with_ties(rows: Sequence[RowPoints], ties: Ties) -> Computed:
    """Return ``accuracy``, where only equal scores are a tie, and of scores ``calibrated``, with the best threshold.

    A judge says by itself what is a tie.
    """
    computed = compute(rows, ties)
    computed.definitions["accuracy"] = "rows with the label's order, or for the label tie equal scores / scored rows"
    groups = split(rows, own_subset, TASKS)
    if not all(row.scores for own in groups.values() for row in own):
        return computed
    strata = {task: Stratum(calibrated_values(own, ties), [row.item for row in own]) for task, own in groups.items()}
    name = scoped("calibrated", strata, TASKS)
    computed.metrics[name] = list(strata.values())
    computed.definitions[name] = "mean over tasks of the accuracy with the best threshold for ties"
    return computed._replace(groups={task: [own] for task, own in strata.items()}, notes=(*computed.notes, CHOSEN_HERE))


def calibrated_values(rows: Sequence[RowPoints], ties: Ties = "strict") -> list[float]:
    """Return the value of each row when the k pairs with the least ``|margin|`` are ties, for the best k of 1 to n.

    A row whose label is a tie is right among them, any other one where its margin is positive behind them; among them
    it has what the rule for ties gives.

    Source: ``calc_accuracy_with_ties``. Pairs of equal ``|margin|`` become ties one after the other in the order of the
    file, so that some k belong to no threshold.
    """
    margins = [row.scores[0][0] - row.scores[1][0] for row in rows if row.scores]
    order = sorted(range(len(rows)), key=lambda place: abs(margins[place]))
    as_ties = [1.0 if row.tied else TIE_VALUES[ties] for row in rows]
    as_order = [float(margin > 0 and not row.tied) for row, margin in zip(rows, margins, strict=True)]
    total, best, count = sum(as_order), float("-inf"), 0
    for k, place in enumerate(order, 1):
        total += as_ties[place] - as_order[place]
        if total > best + 1e-9:
            best, count = total, k
    among = set(order[:count])
    return [as_ties[place] if place in among else as_order[place] for place in range(len(rows))]


PROTOCOLS = protocols(
    Protocol(
        OFFICIAL,
        "accuracy over pairs whose label is no tie, by task",
        compute,
        (WITHOUT_TIES,),
        judge=(SINGLE_GAME,),
    ),
    Protocol(
        WITH_TIES,
        "all pairs; of scores the official number is calibrated, of a judge accuracy",
        compute_with_ties,
        (WITH_TIES,),
        judge=(SINGLE_GAME,),
    ),
)

BENCHMARK = Benchmark("omni_rewardbench", "Omni-RewardBench", PARTS, read, PROTOCOLS)
