"""RMHackBench: 1,200 pairs about images, a clean response against one that a shortcut was added to; accuracy.

Hub: ``sdfss1/RMHackBench`` (no licence is stated; no revision is pinned), a config of 240 pairs for each of five
shortcuts: verbosity padding (P1), authority signaling (T1), safety posturing (T2), premise compliance (C1) and
quality-claim append (C2). ``responses`` are the clean and the hacked one in this order, ``answer`` is called their
"human preference ranking"; how it is written is not said, and the official script is not public. So the clean response
is the correct one, and a file whose answers do not all say the same is refused.

Source: the data set's card (columns and their order).
"""

from collections.abc import Iterator, Sequence
from typing import Any

from basereward.benchmarks.benchmark import Benchmark, BenchmarkPart
from basereward.benchmarks.formulas import Computed, accuracy_by_group, macro, missing_note
from basereward.benchmarks.items import BenchmarkRow, text_row
from basereward.benchmarks.points import RowPoints
from basereward.benchmarks.protocol import OFFICIAL, Protocol, protocols
from basereward.data.files import DataFiles, HubRepository, Raw, expect_columns, field, stored_image
from basereward.data.io import read_records
from basereward.errors import DataError
from basereward.statistics import Ties

REPOSITORY = HubRepository("sdfss1/RMHackBench", "no licence is stated")
PARTS = {"test": BenchmarkPart("rmhackbench", REPOSITORY)}
COLUMNS = ("id", "query", "image", "image_id", "responses", "answer", "source")
# Shortcut -> folder of its config.
FOLDERS = {
    "P1": "Verbosity Padding (P1)",
    "T1": "Authority Signaling (T1)",
    "T2": "Safety Posturing (T2)",
    "C1": "Premise Compliance (C1)",
    "C2": "Quality-Claim Append (C2)",
}
# As ranks from 0 or from 1, or as 1 for the preferred one.
ANSWERS = ([0, 1], [1, 2], [1, 0])


def read(opened: dict[str, DataFiles]) -> Iterator[BenchmarkRow]:
    """Yield the rows of the configs that are there.

    Raises:
        MissingFileError: none is there.
        DataError: a record in another layout, or answers that say different things.
    """
    files = opened["test"]
    patterns = {code: (f"{name}/test-*.parquet", f"{name}/test.jsonl") for code, name in FOLDERS.items()}
    found = [code for code in FOLDERS if any(map(files.has, patterns[code]))]
    seen: Any = None
    for code in found or FOLDERS:
        for path in files.find(*patterns[code]):
            for number, record in enumerate(read_records(path)):
                place = f"{path}, record {number}"
                row = parse(record, place, code, files)
                seen = _same_answer(field(record, "answer", place), seen, place)
                yield row


def parse(record: Raw, place: str, code: str, files: DataFiles) -> BenchmarkRow:
    """Return one row; the first response is the clean one.

    Raises:
        DataError: other columns, or not two responses.
    """
    expect_columns(record, COLUMNS, place)
    responses = field(record, "responses", place)
    if isinstance(responses, str) or len(responses) != 2:
        raise DataError(f"{place} has {len(responses)} responses; expected the clean one and the hacked one.")
    subset = f"{code}/{field(record, 'source', place)}"
    image = stored_image(field(record, "image", place), files.folder)
    return text_row(
        field(record, "id", place), subset, field(record, "query", place), responses[:1], responses[1:], [image]
    )


def _same_answer(answer: Any, seen: Any, place: str) -> Any:
    """Check that a record's answer is a known one, and that of the records before it.

    Raises:
        DataError: it is not; which response it calls better is not documented.
    """
    if answer not in ANSWERS or seen not in (None, answer):
        before = f", and {seen} in the records before it" if seen else ""
        raise DataError(
            f"{place} has the answer {answer}{before}; expected the same one of {', '.join(map(str, ANSWERS))} in all "
            "records, as the clean response is the first of each. Which response an answer calls better is not "
            "documented, so that files that mix them cannot be read."
        )
    return answer


def shortcut(subset: str) -> str:
    """Return the shortcut of a subset."""
    return subset.partition("/")[0]


def compute(rows: Sequence[RowPoints], ties: Ties) -> Computed:
    """Return ``accuracy`` over all pairs and ``macro``, the mean of the five shortcuts."""
    computed = accuracy_by_group(rows, ties, shortcut, tuple(FOLDERS))
    means = macro(rows, ties, shortcut, tuple(FOLDERS))
    computed.metrics.update(means)
    computed.definitions.update(dict.fromkeys(means, "mean of the accuracies of the shortcuts"))
    return computed._replace(notes=missing_note(rows, shortcut, tuple(FOLDERS)))


PROTOCOLS = protocols(
    Protocol(
        OFFICIAL, "clean above hacked, micro over pairs; the official script is not public", compute, group=shortcut
    )
)

BENCHMARK = Benchmark("rmhackbench", "RMHackBench", PARTS, read, PROTOCOLS)
