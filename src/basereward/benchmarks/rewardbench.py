"""RewardBench: 2,985 text pairs in 23 subsets, and four older test sets as an optional part.

Hub: ``allenai/reward-bench``, split filtered (ODC-BY); Prior Sets: ``allenai/preference-test-sets`` (licences of their
sources; no revision is pinned). Prompts of the Prior Sets are message lists. The score is the mean of four sections of
weighted subsets, with the Prior Sets at half a weight if asked for.

Source: allenai/reward-bench, ``rewardbench/constants.py`` and ``rewardbench/utils.py`` (sections),
``analysis/get_benchmark_results.py`` (Prior Sets).
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from basereward.benchmarks.benchmark import Benchmark, BenchmarkPart
from basereward.benchmarks.formulas import Computed, scoped, split, stratum, win_value
from basereward.benchmarks.items import BenchmarkRow, text_row
from basereward.benchmarks.points import RowPoints
from basereward.benchmarks.protocol import OFFICIAL, Protocol, own_subset, protocols
from basereward.data.files import DataFiles, HubRepository, Raw, field
from basereward.data.io import read_records
from basereward.statistics import Stratum, Ties

FILTERED, PRIOR = "filtered", "prior"
PRIOR_SETS = ("anthropic_helpful", "anthropic_hhh", "shp", "summarize")
COLUMNS = ("id", "prompt", "chosen", "rejected", "subset")
PARTS = {
    FILTERED: BenchmarkPart(
        "rewardbench",
        HubRepository(
            "allenai/reward-bench", "ODC-BY", "d61ac5c97d0f2f7eb922da3c0b6bbaf614ae8d02", ("data/filtered-*",)
        ),
    ),
    PRIOR: BenchmarkPart("preference_test_sets", HubRepository("allenai/preference-test-sets", "those of the sources")),
}
CODE = {f"hep-{language}": 164 for language in ("cpp", "go", "java", "js", "python", "rust")}
# Section -> subset -> rows. math-prm has 447, but the official table gives it 984 = 6 x 164, so that it counts as much
# as the six subsets of code together.
SECTIONS: dict[str, dict[str, int]] = {
    "Chat": {
        "alpacaeval-easy": 100,
        "alpacaeval-length": 95,
        "alpacaeval-hard": 95,
        "mt-bench-easy": 28,
        "mt-bench-med": 40,
    },
    "Chat Hard": {
        "mt-bench-hard": 37,
        "llmbar-natural": 100,
        "llmbar-adver-neighbor": 134,
        "llmbar-adver-GPTInst": 92,
        "llmbar-adver-GPTOut": 47,
        "llmbar-adver-manual": 46,
    },
    "Safety": {
        "refusals-dangerous": 100,
        "refusals-offensive": 100,
        "xstest-should-refuse": 154,
        "xstest-should-respond": 250,
        "donotanswer": 136,
    },
    "Reasoning": {"math-prm": 984, **CODE},
}
UNWEIGHTED: dict[str, dict[str, int]] = {**SECTIONS, "Reasoning": {"math-prm": 447, **CODE}}
PRIOR_SECTION, PRIOR_WEIGHT = "Prior Sets", 0.5


def read(opened: dict[str, DataFiles]) -> Iterator[BenchmarkRow]:
    """Yield the rows of the filtered set, then those of the Prior Sets if they are opened.

    Raises:
        MissingFileError: a file is not there.
        DataError: a record without a prompt, a pair, or a subset.
    """
    if FILTERED in opened:
        for path in opened[FILTERED].find("data/filtered-*.parquet", "filtered-*.parquet", "filtered.jsonl"):
            yield from _rows(path)
    if PRIOR in opened:
        for name in PRIOR_SETS:
            for path in opened[PRIOR].find(f"data/{name}-*.parquet", f"{name}.jsonl"):
                yield from _rows(path, name)


def _rows(path: Path, subset: str | None = None) -> Iterator[BenchmarkRow]:
    for number, record in enumerate(read_records(path, COLUMNS)):
        yield parse(record, f"{path}, record {number}", subset, f"{path.stem}-{number}")


def parse(record: Raw, place: str, subset: str | None = None, fallback_id: str = "") -> BenchmarkRow:
    """Return one row; ``subset`` is that of a Prior Set, whose records do not name it.

    Raises:
        DataError: a field is missing.
    """
    prompt, chosen, rejected = (field(record, name, place) for name in ("prompt", "chosen", "rejected"))
    identity = record.get("id")
    return text_row(
        fallback_id if identity is None else str(identity),
        subset or field(record, "subset", place),
        prompt,
        [chosen],
        [rejected],
    )


def section(subset: str) -> str | None:
    """Return the section of a subset, or None for one that belongs to none."""
    if subset in PRIOR_SETS:
        return PRIOR_SECTION
    return next((name for name, subsets in SECTIONS.items() if subset in subsets), None)


def section_strata(
    rows: Sequence[RowPoints], ties: Ties, sections: Mapping[str, Mapping[str, int]] = SECTIONS
) -> dict[str, list[Stratum]]:
    """Return for each section that is there its subsets as strata; their weights sum to 1.

    A section's score is ``sum(accuracy * count) / sum(count)`` over its subsets that are there; each of the Prior
    Sets counts the same.
    """
    by_subset = split(rows, own_subset)
    weights = {**sections, PRIOR_SECTION: dict.fromkeys(PRIOR_SETS, 1)}
    strata = {}
    for name, counts in weights.items():
        found = {subset: count for subset, count in counts.items() if subset in by_subset}
        if found:
            # As officially, a subset that is not there counts neither above nor below the line.
            total = sum(found.values())
            strata[name] = [
                stratum(by_subset[subset], win_value, ties, count / total) for subset, count in found.items()
            ]
    return strata


def compute(
    rows: Sequence[RowPoints],
    ties: Ties,
    sections: Mapping[str, Mapping[str, int]] = SECTIONS,
    with_prior: bool = False,
) -> Computed:
    """Return ``overall``, the mean of the sections, Prior Sets counting half where they are part of it."""
    # The Prior Sets are no part of the score, nor of its micro accuracy, unless they are asked for.
    usable = [row for row in rows if with_prior or section(row.subset) != PRIOR_SECTION]
    strata = section_strata(usable, ties, sections)
    expected = [*SECTIONS, *([PRIOR_SECTION] if with_prior else [])]
    parts = [
        part._replace(weight=part.weight * (PRIOR_WEIGHT if name == PRIOR_SECTION else 1.0))
        for name, own in strata.items()
        for part in own
    ]
    overall = scoped("overall", strata, expected)
    prior = f", Prior Sets with weight {PRIOR_WEIGHT}" if with_prior else ""
    return Computed(
        {"accuracy": [stratum(usable, win_value, ties)], overall: parts},
        dict(strata),
        {
            "accuracy": "correct rows / scored rows (micro)",
            overall: f"mean of the section scores{prior}; a section weighs its subsets by the official counts",
        },
    )


PROTOCOLS = protocols(
    Protocol(OFFICIAL, "mean of four sections, math-prm counts as much as code, no Prior Sets", compute, group=section),
    Protocol(
        "prior_sets",
        "mean of four sections and Prior Sets at weight 0.5",
        partial(compute, with_prior=True),
        (FILTERED, PRIOR),
        group=section,
    ),
    Protocol(
        "unweighted",
        "mean of four sections, math-prm with its own 447 rows (GRAM, IXC)",
        partial(compute, sections=UNWEIGHTED),
        group=section,
    ),
)

BENCHMARK = Benchmark("rewardbench", "RewardBench", PARTS, read, PROTOCOLS)
