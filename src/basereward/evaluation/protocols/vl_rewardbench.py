"""VL-RewardBench: accuracy over all rows, and the mean of three categories, in the three partitions that are in use.

Source: vl-rewardbench, ``cal.py`` (official); yfzhang114/r1_reward, ``get_acc.py``; CodeGoat24/UnifiedReward, its
VL-RewardBench scripts.
"""

from collections.abc import Mapping, Sequence

from basereward.evaluation.protocols.formulas import Computed, accuracy_by_group, macro
from basereward.evaluation.protocols.registry import OFFICIAL, Protocol, protocols
from basereward.evaluation.records import RowRecord
from basereward.statistics import Ties

CATEGORIES = ("general", "hallucination", "reasoning")
REASONING = {"mathverse": "reasoning", "mmmu": "reasoning"}
# Prefix of the id, in lower case -> category; every other prefix is general.
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


def category(subset: str, partition: str = OFFICIAL) -> str:
    """Return the category of an id's prefix in one of the partitions."""
    return PARTITIONS[partition].get(subset.lower(), "general")


def compute(records: Sequence[RowRecord], ties: Ties, partition: str = OFFICIAL) -> Computed:
    """Return ``accuracy`` over all rows and ``macro``, the mean of the accuracies of the three categories."""

    def group_of(record: RowRecord) -> str:
        return category(record.subset, partition)

    computed = accuracy_by_group(records, ties, group_of, CATEGORIES)
    computed.metrics.update(macro(records, ties, group_of, CATEGORIES))
    computed.definitions.update(
        dict.fromkeys(
            (name for name in computed.metrics if name != "accuracy"), "mean of the accuracies of the categories"
        )
    )
    return computed


def _compute_r1_reward(records: Sequence[RowRecord], ties: Ties) -> Computed:
    return compute(records, ties, "r1_reward")


def _compute_unifiedreward(records: Sequence[RowRecord], ties: Ties) -> Computed:
    return compute(records, ties, "unifiedreward")


PROTOCOLS = protocols(
    Protocol(OFFICIAL, "categories of cal.py (183 general, 749 hallucination, 318 reasoning)", compute),
    Protocol(
        "r1_reward", "categories of r1_reward (484, 448, 318): RLAIF-V and RLHF-V rows are general", _compute_r1_reward
    ),
    Protocol(
        "unifiedreward",
        "categories of UnifiedReward (631, 301, 318): POVID rows are general",
        _compute_unifiedreward,
    ),
)
