"""RM-Bench: 1,327 prompts, each with three correct and three wrong responses of rising style.

Hub: ``THU-KEG/RM-Bench``, ``total_dataset.json`` (ODC-BY by its card; no revision is pinned). In git the domains lie in
files of their own (``chat_filtered.json``, ...), which are read together where the whole file is absent. The order of
the three is concise, detailed plain, detailed markdown. Equal styles occur, and are the same text.

``M[i][j]`` is the share of items whose correct response of style i scores above the wrong one of style j. Easy is
the mean of the lower triangle, normal of the diagonal, hard of the upper triangle, each three cells.

Source: THU-KEG/RM-Bench, ``scripts/utils.py``.
"""

from collections.abc import Iterator, Sequence
from functools import partial

from basereward.benchmarks.benchmark import Benchmark, BenchmarkPart
from basereward.benchmarks.formulas import Computed, accuracy_by_group, scoped, split, stratum
from basereward.benchmarks.items import BenchmarkRow, text_row
from basereward.benchmarks.points import RowPoints
from basereward.benchmarks.protocol import OFFICIAL, Protocol, protocols
from basereward.data.files import DataFiles, HubRepository, Raw, field
from basereward.data.io import read_records
from basereward.errors import DataError
from basereward.statistics import TIE_VALUES, Ties

REPOSITORY = HubRepository("THU-KEG/RM-Bench", "ODC-BY", patterns=("total_dataset.json",))
PARTS = {"test": BenchmarkPart("rm_bench", REPOSITORY)}
DOMAINS = ("chat", "math", "code", "safety")
STYLES = 3
CELLS = [(row, column) for row in range(STYLES) for column in range(STYLES)]
LEVELS: dict[str, list[tuple[int, int]]] = {
    "easy": [(row, column) for row, column in CELLS if row > column],
    "normal": [(row, column) for row, column in CELLS if row == column],
    "hard": [(row, column) for row, column in CELLS if row < column],
    "overall": CELLS,
}


def read(opened: dict[str, DataFiles]) -> Iterator[BenchmarkRow]:
    """Yield the rows of the whole file, or those of the files of the domains.

    Raises:
        MissingFileError: neither is there.
        DataError: a record without three correct and three wrong responses, or of an unknown domain.
    """
    for path in opened["test"].find("total_dataset.json", "*_filtered.json", "data/*_filtered.json"):
        of_file = path.stem.removesuffix("_filtered") if path.stem.endswith("_filtered") else None
        for number, record in enumerate(read_records(path)):
            yield parse(record, f"{path}, record {number}", of_file)


def parse(record: Raw, place: str, of_file: str | None = None) -> BenchmarkRow:
    """Return one row; its subset is the domain.

    Raises:
        DataError: as ``read``.
    """
    subset = str(of_file or field(record, "domain", place))
    if not subset.startswith(DOMAINS):
        raise DataError(f"{place} is of the domain {subset!r}; expected one of {', '.join(DOMAINS)}.")
    sides = [field(record, name, place) for name in ("chosen", "rejected")]
    if any(len(side) != STYLES for side in sides):
        found = " and ".join(str(len(side)) for side in sides)
        raise DataError(f"{place} has {found} responses; expected {STYLES} correct and {STYLES} wrong ones.")
    return text_row(field(record, "id", place), subset, field(record, "prompt", place), *sides)


def domain(subset: str) -> str:
    """Return the domain of a subset; both kinds of safety are one."""
    return next((name for name in DOMAINS if subset.startswith(name)), subset)


def level_value(row: RowPoints, ties: Ties, level: str = "overall") -> float:
    """Return the mean of the cells of a level over one row."""
    cells = [row.points[correct][rejected] for correct, rejected in LEVELS[level]]
    return sum(TIE_VALUES[ties] if cell == 0.5 else cell for cell in cells) / len(cells)


def compute(rows: Sequence[RowPoints], ties: Ties) -> Computed:
    """Return easy, normal, hard and overall: each the mean over the domains, as the official script has it.

    A domain's overall is the mean of its three levels, so that of its nine cells. A mean over fewer than the four
    domains carries their names.
    """
    # The mean of domains, not of items: chat has 129 items and safety 441, and each counts a quarter.
    domains = split(rows, domain, DOMAINS)
    computed = _by_domain(rows, ties)
    for level in LEVELS:
        name = scoped(level, domains, DOMAINS)
        computed.metrics[name] = [stratum(own, partial(level_value, level=level), ties) for own in domains.values()]
        computed.definitions[name] = f"mean over domains of {_explain(level)}"
    return computed


def compute_pooled(rows: Sequence[RowPoints], ties: Ties) -> Computed:
    """Return easy, normal, hard and overall over all items at once, whatever their domain."""
    computed = _by_domain(rows, ties)
    for level in LEVELS:
        computed.metrics[level] = [stratum(rows, partial(level_value, level=level), ties)]
        computed.definitions[level] = f"over all items, {_explain(level)}"
    return computed


def _by_domain(rows: Sequence[RowPoints], ties: Ties) -> Computed:
    computed = accuracy_by_group(rows, ties, domain, DOMAINS, level_value)
    return computed._replace(definitions={"accuracy": "mean of the nine cells over all items (micro)"})


def _explain(level: str) -> str:
    shares = {"easy": "the lower triangle", "normal": "the diagonal", "hard": "the upper triangle"}
    return f"the mean of {shares.get(level, 'all nine cells')} of the style matrix"


PROTOCOLS = protocols(
    Protocol(
        OFFICIAL,
        "3 x 3 style matrix by domain, then the mean over domains",
        compute,
        value=level_value,
        group=domain,
    ),
    Protocol("pooled", "3 x 3 style matrix over all items at once", compute_pooled, value=level_value, group=domain),
)

BENCHMARK = Benchmark("rm_bench", "RM-Bench", PARTS, read, PROTOCOLS)
