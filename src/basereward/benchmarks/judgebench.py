"""JudgeBench: text pairs of which one answer is right; responses of GPT-4o (350 pairs) or of Claude 3.5 Sonnet (270).

Hub: ``ScalerLab/JudgeBench``, ``data/gpt-*.jsonl`` and ``data/claude-*.jsonl`` (MIT; no revision is pinned). In git the
same records lie under ``data/`` with the name of the responding model. The subset is the source, such as
``mmlu-pro-law`` or ``livebench-math``. Scalar reward models play one game a pair, judges one in each order.

Source: ScalerLab/JudgeBench, ``run_judge.py`` and ``utils/metrics.py``.
"""

from collections.abc import Iterator, Sequence

from basereward.benchmarks.benchmark import Benchmark, BenchmarkPart
from basereward.benchmarks.formulas import Computed, accuracy_by_group
from basereward.benchmarks.items import BenchmarkRow, Side, text_row
from basereward.benchmarks.judged import ORDERS, RIGHT, JudgedPair, file_order, names_one, points_of
from basereward.benchmarks.points import JudgeRule, Readings, RowPoints, read_verdicts
from basereward.benchmarks.protocol import OFFICIAL, Protocol, protocols
from basereward.benchmarks.records import RowRecord
from basereward.data.files import DataFiles, HubRepository, Raw, field
from basereward.data.io import read_records
from basereward.errors import DataError
from basereward.statistics import Ties

REPOSITORY = HubRepository("ScalerLab/JudgeBench", "MIT")
GPT, CLAUDE = "gpt", "claude"
LABELS = ("A>B", "B>A")
# Prefix of the source -> category.
CATEGORIES = {
    "mmlu-pro": "knowledge",
    "livebench-reasoning": "reasoning",
    "livebench-math": "math",
    "livecodebench": "coding",
}


def read(opened: dict[str, DataFiles]) -> Iterator[BenchmarkRow]:
    """Yield the rows of the opened splits.

    Raises:
        MissingFileError: a file is not there.
        DataError: a record without a question, two responses, a label or a source.
    """
    for part, files in opened.items():
        name = f"dataset=judgebench,response_model={part}-*.jsonl"
        for path in files.find(f"data/{part}-*.jsonl", f"data/{name}", name, f"{part}.jsonl"):
            for number, record in enumerate(read_records(path)):
                yield parse(record, f"{path}, record {number}")


def parse(record: Raw, place: str) -> BenchmarkRow:
    """Return one row; the label says which response is better.

    Raises:
        DataError: a field is missing, or the label is neither A>B nor B>A.
    """
    label = field(record, "label", place)
    if label not in LABELS:
        raise DataError(f"{place} has the label {label!r}; expected {' or '.join(LABELS)}.")
    answers = [field(record, f"response_{letter}", place) for letter in label.split(">")]
    identity, subset = field(record, "pair_id", place), field(record, "source", place)
    first: Side = "correct" if label == LABELS[0] else "rejected"
    return text_row(identity, subset, field(record, "question", place), answers[:1], answers[1:], first=first)


PARTS = {part: BenchmarkPart("judgebench", REPOSITORY) for part in (GPT, CLAUDE)}


def category(source: str) -> str:
    """Return the category of a source; one that no category has stands for itself."""
    return next((name for prefix, name in CATEGORIES.items() if source.startswith(prefix)), source)


def compute(rows: Sequence[RowPoints], ties: Ties) -> Computed:
    """Return ``accuracy`` over all pairs."""
    return accuracy_by_group(rows, ties, category, tuple(CATEGORIES.values()))


def two_games(record: RowRecord, pair: JudgedPair) -> float:
    """Return what both orders together say: each names the right response (+1), the other one (-1), or none (0).

    The sum decides. So a judge that names a response once and calls a tie once is as right, or as wrong, as one that
    names it twice; one that names both, or none, is not right.
    """
    answers = [(pair.answers(order)[0], RIGHT[order]) for order in ORDERS]
    total = sum(1 if answer.choice == right else -1 for answer, right in answers if names_one(answer))
    return 1.0 if total > 0 else 0.0 if total < 0 else 0.5


def one_game(record: RowRecord, pair: JudgedPair) -> float:
    """Return what the judge says in the order of the file alone."""
    order = file_order(record.first)
    return points_of(pair.answers(order)[0], order)


BOTH_ORDERS = JudgeRule(
    "both_orders",
    "a game in each order, +1, -1 or 0 each; right if the sum is positive",
    lambda records: Readings([read_verdicts(records, two_games)]),
)
SINGLE_GAME = JudgeRule(
    "single_game",
    "one game, the responses in the order of the file; without a verdict it is lost",
    lambda records: Readings([read_verdicts(records, one_game)]),
)
PROTOCOLS = protocols(
    Protocol(
        OFFICIAL, "accuracy over the pairs of GPT-4o", compute, (GPT,), group=category, judge=(BOTH_ORDERS, SINGLE_GAME)
    ),
    Protocol(
        "claude",
        "accuracy over the pairs of Claude 3.5 Sonnet",
        compute,
        (CLAUDE,),
        group=category,
        judge=(BOTH_ORDERS, SINGLE_GAME),
    ),
)

BENCHMARK = Benchmark("judgebench", "JudgeBench", PARTS, read, PROTOCOLS)
