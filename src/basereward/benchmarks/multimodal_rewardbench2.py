"""Multimodal RewardBench 2: 4,000 pairs whose responses show images, in four tasks; accuracy over both orders.

Hub: ``rl-research/multimodal-rewardbench-2``, configs t2i, edit, interleaved and reasoning, split test (CC BY-NC 4.0;
no revision is pinned). The official repository builds ``t2i.json`` and so on from it, with ``images/`` and
``input_images/`` beside them. A pair has its images in the prompt, in the responses, or in both; marks such as
``<image_1>`` are their places in the text, one after the other whatever their number. The subset is the task and the
source of the prompt.

Source: facebookresearch/MMRB2, ``evaluate/compute_scores/compute_accuracy.py`` and ``benchmark/build_from_hf.py``.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from basereward.benchmarks.benchmark import Benchmark, BenchmarkPart
from basereward.benchmarks.formulas import Computed, accuracy_by_group, macro, missing_note
from basereward.benchmarks.items import BenchmarkRow, Side
from basereward.benchmarks.judged import ORDERS, RIGHT, JudgedPair, Order
from basereward.benchmarks.points import JudgeRule, Readings, RowPoints, read_verdicts
from basereward.benchmarks.protocol import OFFICIAL, Protocol, protocols
from basereward.benchmarks.records import RowRecord
from basereward.data.files import DataFiles, HubRepository, Raw, expect_columns, field, stored_image
from basereward.data.io import read_records
from basereward.data.outcomes import Verdict
from basereward.data.schema import Message, Part
from basereward.errors import DataError
from basereward.statistics import Ties

REPOSITORY = HubRepository("rl-research/multimodal-rewardbench-2", "CC BY-NC 4.0")
PARTS = {"test": BenchmarkPart("multimodal_rewardbench2", REPOSITORY)}
TASKS = ("t2i", "edit", "interleaved", "reasoning")
SPOKEN = ("prompt", "response_a", "response_b")
COLUMNS = ("pair_id", "prompt_source", *(f"{own}_{kind}" for own in SPOKEN for kind in ("text", "images")), "chosen")
_MARK = re.compile(r"<image_\d+>")


class InterleavedContent(NamedTuple):
    """What a prompt or a response says, and its images in the order of their parts."""

    parts: tuple[Part, ...]
    images: tuple[Any, ...]


def read(opened: dict[str, DataFiles]) -> Iterator[BenchmarkRow]:
    """Yield the rows of the tasks that are there, from the hub's Parquet files or the official JSON files.

    Raises:
        MissingFileError: no task is there.
        DataError: a record without a prompt, two responses and a choice, or with images that have no place.
    """
    files = opened["test"]
    patterns = {task: (f"{task}/test-*.parquet", f"{task}.json", f"benchmark/{task}.json") for task in TASKS}
    found = [task for task in TASKS if any(map(files.has, patterns[task]))]
    # Without any, the first that is looked for is named.
    for task in found or TASKS:
        for path in files.find(*patterns[task]):
            for number, record in enumerate(read_records(path, COLUMNS)):
                yield parse(record, f"{path}, record {number}", task, path.parent)


def parse(record: Raw, place: str, task: str, folder: Path) -> BenchmarkRow:
    """Return one row; ``chosen`` names the better of the responses a and b.

    Raises:
        DataError: as ``read``.
    """
    if "prompt_text" in record:
        expect_columns(record, COLUMNS, place)
        prompt, *answers = (
            marked(record[f"{own}_text"], record[f"{own}_images"], f"{place}, {own}", folder) for own in SPOKEN
        )
    else:
        contents = [field(record, "prompt_content", place)]
        contents += [field(field(record, own, place), "response_content", f"{place}, {own}") for own in SPOKEN[1:]]
        prompt, *answers = (
            listed(content, f"{place}, {own}", folder) for own, content in zip(SPOKEN, contents, strict=True)
        )
    chosen = str(field(record, "chosen", place)).upper()
    if chosen not in ("A", "B"):
        raise DataError(f"{place} has {chosen!r} under 'chosen'; expected A or B.")
    first: Side = "correct" if chosen == "A" else "rejected"
    correct, rejected = answers if chosen == "A" else answers[::-1]
    identity = record.get("pair_id") or field(record, "id", place)
    return BenchmarkRow(
        str(identity),
        f"{task}/{field(record, 'prompt_source', place)}",
        (Message("user", prompt.parts),),
        ((Message("assistant", correct.parts),),),
        ((Message("assistant", rejected.parts),),),
        prompt.images,
        first=first,
        own_images=(correct.images, rejected.images),
    )


def marked(text: str | None, images: Sequence[Any] | None, place: str, folder: Path) -> InterleavedContent:
    """Return a text whose marks are the places of images; without a mark they stand behind it, as officially.

    Raises:
        DataError: another number of marks than of images, or neither text nor image.
    """
    shown = list(images or ())
    texts = _MARK.split(text or "")
    if len(texts) == 1:
        texts += [""] * len(shown)
    if len(texts) != len(shown) + 1:
        raise DataError(f"{place} has {len(texts) - 1} marks such as <image_1> and {len(shown)} images.")
    content: list[tuple[str, Any]] = [("text", texts[0])]
    for image, behind in zip(shown, texts[1:], strict=True):
        content += [("image", image), ("text", behind)]
    return listed([(kind, own.strip() if kind == "text" else own) for kind, own in content], place, folder)


def listed(content: Sequence[Any], place: str, folder: Path) -> InterleavedContent:
    """Return a list of ``[kind, text or image]``; texts of spaces alone are left out.

    Raises:
        DataError: another kind, or nothing in it.
    """
    parts: list[Part] = []
    images: list[Any] = []
    for entry in content:
        kind, own = entry if isinstance(entry, (list, tuple)) and len(entry) == 2 else (entry, None)
        if kind == "image":
            parts.append(Part("image"))
            images.append(stored_image(own, folder))
        elif kind == "text" and isinstance(own, str):
            parts += [Part("text", own)] if own.strip() else []
        else:
            raise DataError(f"{place} holds {str(entry)[:80]!r}; expected ['text', TEXT] or ['image', PATH].")
    if not parts:
        raise DataError(f"{place} has neither text nor image.")
    return InterleavedContent(tuple(parts), tuple(images))


def task_of(subset: str) -> str:
    """Return the task of a subset."""
    return subset.partition("/")[0]


def compute(rows: Sequence[RowPoints], ties: Ties) -> Computed:
    """Return ``accuracy`` (the official overall number, micro) and ``macro``, the mean of the tasks."""
    computed = accuracy_by_group(rows, ties, task_of, TASKS)
    means = macro(rows, ties, task_of, TASKS)
    computed.metrics.update(means)
    computed.definitions["accuracy"] = "right judgements / judgements of all tasks that are there (micro)"
    computed.definitions.update(dict.fromkeys(means, "mean of the accuracies of the tasks (macro)"))
    return computed._replace(notes=missing_note(rows, task_of, TASKS))


def both_orders(records: Sequence[RowRecord]) -> Readings:
    """Return what the judge says in each order; an answer without a verdict is in no accuracy, as officially.

    A tie is a judgement that is not right.
    """

    def decide(order: Order, pair: JudgedPair) -> float | None:
        answer = pair.answers(order)[0]
        if not isinstance(answer, Verdict) or answer.choice == "unparsable":
            return None
        return float(answer.choice == RIGHT[order])

    readings = [
        read_verdicts(records, lambda _, pair, order=order: decide(order, pair), "no_judgement")  # type: ignore[misc]
        for order in ORDERS
    ]
    lost = sum(row.failure == "no_judgement" for rows in readings for row in rows)
    note = f"{lost} of {2 * len(records)} judgements name no response; they are dropped, as officially."
    return Readings(readings, (note,) if lost else ())


BOTH_ORDERS = JudgeRule(
    "both_orders", "a judgement in each order; a tie is wrong, one without a verdict is dropped", both_orders
)
PROTOCOLS = protocols(
    Protocol(OFFICIAL, "micro over judgements in both orders", compute, group=task_of, judge=(BOTH_ORDERS,))
)

BENCHMARK = Benchmark("multimodal_rewardbench2", "Multimodal RewardBench 2", PARTS, read, PROTOCOLS)
