"""JudgeBench: accuracy over pairs and by category, one game a pair as for scalar reward models.

Source: ScalerLab/JudgeBench, ``utils/metrics.py`` without ``reverse_order``.
"""

from collections.abc import Sequence

from basereward.data.benchmarks.judgebench import CLAUDE, GPT
from basereward.evaluation.protocols.formulas import Computed, accuracy_by_group
from basereward.evaluation.protocols.registry import OFFICIAL, Protocol, protocols
from basereward.evaluation.records import RowRecord
from basereward.statistics import Ties

# Prefix of the source -> category.
CATEGORIES = {
    "mmlu-pro": "knowledge",
    "livebench-reasoning": "reasoning",
    "livebench-math": "math",
    "livecodebench": "coding",
}


def category(record: RowRecord) -> str:
    """Return the category of a row; a source that no category has stands for itself."""
    return next((name for prefix, name in CATEGORIES.items() if record.subset.startswith(prefix)), record.subset)


def compute(records: Sequence[RowRecord], ties: Ties) -> Computed:
    """Return ``accuracy`` over all pairs."""
    return accuracy_by_group(records, ties, category, tuple(CATEGORIES.values()))


PROTOCOLS = protocols(
    Protocol(OFFICIAL, "accuracy over the pairs of GPT-4o, one game a pair", compute, (GPT,)),
    Protocol("claude", "accuracy over the pairs of Claude 3.5 Sonnet, one game a pair", compute, (CLAUDE,)),
)
