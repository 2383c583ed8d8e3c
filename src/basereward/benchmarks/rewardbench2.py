"""RewardBench 2: 1,865 text prompts, one correct response among four, and Ties with several correct ones.

Hub: ``allenai/reward-bench-2``, split test (ODC-BY). Factuality 475 prompts, Focus 495, Math 183, Precise IF 160,
Safety 450, Ties 102; in Ties the id is ``ref:N`` or ``tied:N``. The score is the mean of best of four by subset and of
a score of its own for Ties.

Source: allenai/reward-bench, ``rewardbench/utils.py`` (``process_single_model``) and ``scripts/run_v2.py``.
"""

import math
from collections.abc import Iterator, Sequence

from basereward.benchmarks.benchmark import Benchmark, BenchmarkPart
from basereward.benchmarks.formulas import Computed, scoped, scored, split, stratum, win_value
from basereward.benchmarks.items import BenchmarkRow, text_row
from basereward.benchmarks.points import RowPoints
from basereward.benchmarks.protocol import OFFICIAL, Protocol, own_subset, protocols
from basereward.data.files import DataFiles, HubRepository, Raw, field
from basereward.data.io import read_records
from basereward.errors import DataError
from basereward.statistics import Stratum, Ties

REPOSITORY = HubRepository("allenai/reward-bench-2", "ODC-BY", "7ff08853b0d5686e79b13fda8677024f566a104a")
PARTS = {"test": BenchmarkPart("rewardbench2", REPOSITORY)}
COLUMNS = ("id", "prompt", "chosen", "rejected", "subset")
TIES = "Ties"
NO_SCORES = (
    "Rows of Ties have several correct and several rejected responses, and their score is made of margins, which a "
    "judge does not give: overall is the mean of the other subsets."
)
SUBSETS = ("Factuality", "Precise IF", "Math", "Safety", "Focus", TIES)


def read(opened: dict[str, DataFiles]) -> Iterator[BenchmarkRow]:
    """Yield the rows of the test split.

    Raises:
        MissingFileError: the file is not there.
        DataError: a record without a prompt, lists of responses, or a subset.
    """
    for path in opened["test"].find("data/test-*.parquet", "test-*.parquet", "test.jsonl"):
        for number, record in enumerate(read_records(path, COLUMNS)):
            yield parse(record, f"{path}, record {number}")


def parse(record: Raw, place: str) -> BenchmarkRow:
    """Return one row.

    Raises:
        DataError: a field is missing, no list, or an id of Ties is neither ``ref:N`` nor ``tied:N``.
    """
    identity, subset = str(field(record, "id", place)), str(field(record, "subset", place))
    if subset == TIES and identity.partition(":")[0] not in ("ref", "tied"):
        raise DataError(f"{place} of Ties has the id {identity!r}; expected ref:N or tied:N.")
    sides = [field(record, name, place) for name in ("chosen", "rejected")]
    if any(isinstance(side, str) for side in sides):
        raise DataError(f"{place} has a text under 'chosen' or 'rejected'; expected lists of texts.")
    return text_row(identity, subset, field(record, "prompt", place), sides[0], sides[1])


def row_value(row: RowPoints, ties: Ties) -> float:
    """Return the points of a row: best of four, or in Ties whether every correct response beats every wrong one."""
    if row.subset != TIES:
        return win_value(row, ties)
    return float(all(value == 1 for own in row.points for value in own))


def ties_strata(rows: Sequence[RowPoints]) -> list[Stratum]:
    """Return the terms of the Ties score, whose weights sum to 1.

    ``0.30 tied + 0.30 ref + 0.20 mean(t > s) + 0.20 mean(min(r, t) > s) + 0.01 mean(tanh(min(r, t) / s - 1))``:
    tied and ref are the shares of rows whose worst correct response beats the best wrong one, t and r the margins
    between the two in ``tied:N`` and ``ref:N``, s the spread of the correct scores in ``tied:N``; 0/0 gives 0. A
    number N counts in the last three terms if both rows are scored and ``tied:N`` has several correct responses.
    """
    by_kind: dict[str, dict[str, RowPoints]] = {"ref": {}, "tied": {}}
    for row in scored(rows):
        kind, _, number = row.id.partition(":")
        by_kind[kind][number] = row
    shared = [number for number, row in by_kind["tied"].items() if number in by_kind["ref"] and len(row.points) > 1]
    pairs = [_pair_value(by_kind["ref"][number], by_kind["tied"][number]) for number in shared]
    strata = [
        Stratum([row_value(row, "strict") for row in by_kind[kind].values()], list(by_kind[kind]), 0.30)
        for kind in ("tied", "ref")
    ]
    # The three terms on pairs of rows are one stratum: values are divided by its weight, which multiplies them again.
    return [*strata, Stratum([value / 0.40 for value in pairs], shared, 0.40)]


def _pair_value(ref: RowPoints, tied: RowPoints) -> float:
    assert ref.scores
    assert tied.scores
    ref_margin, tied_margin = (min(correct) - max(rejected) for correct, rejected in (ref.scores, tied.scores))
    spread = max(tied.scores[0]) - min(tied.scores[0])
    least = min(ref_margin, tied_margin)
    # As numpy divides: x / 0 is infinite with the sign of x, 0 / 0 is NaN, which the official script turns into 0.
    ratio = least / spread if spread else math.copysign(math.inf, least) if least else math.nan
    smooth = 0.0 if math.isnan(ratio) else math.tanh(ratio - 1)
    return 0.20 * (tied_margin > spread) + 0.20 * (least > spread) + 0.01 * smooth


def compute(rows: Sequence[RowPoints], ties: Ties) -> Computed:
    """Return ``overall``: the mean of the subsets' scores.

    A tie for the highest score of four shares the point (``half``, as the official script does).
    """
    groups = split(rows, own_subset, SUBSETS)
    # A judge gives no margins, which the score of Ties is made of.
    without_scores = any(row.scores is None for row in groups.get(TIES, []))
    strata = {
        name: ties_strata(own) if name == TIES else [stratum(own, win_value, ties)]
        for name, own in groups.items()
        if not (name == TIES and without_scores)
    }
    # Ties without a scored term has no score of its own.
    strata = {name: own for name, own in strata.items() if all(part.values for part in own)}
    overall = scoped("overall", strata, SUBSETS)
    # The terms of Ties have several values for a row.
    counts = {f"groups.{name}": len(groups[name]) for name in strata}
    return Computed(
        {
            "accuracy": [stratum(rows, row_value, ties)],
            overall: [part for own in strata.values() for part in own],
        },
        dict(strata),
        {
            "accuracy": "points / scored rows; a row of Ties is right if all correct beat all wrong (micro)",
            overall: "mean of the subsets' scores; Ties has its own formula, 1.01 at most",
        },
        {**counts, overall: sum(counts.values())},
        (NO_SCORES,) if without_scores else (),
    )


PROTOCOLS = protocols(
    Protocol(OFFICIAL, "mean of six subsets: best of four, and the Ties score", compute, (), "half", row_value)
)

BENCHMARK = Benchmark("rewardbench2", "RewardBench 2", PARTS, read, PROTOCOLS)
