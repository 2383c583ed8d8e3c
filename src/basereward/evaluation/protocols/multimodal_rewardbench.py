"""Multimodal RewardBench: accuracy over the released rows, or the mean of the seven tasks.

Source: facebookresearch/multimodal_rewardbench, ``scripts/2_get_accuracy.py`` (micro). The baselines of the paper's
Table 10 are the mean of seven tasks (macro), its own rows are micro over the released rows.
"""

from collections.abc import Sequence

from basereward.evaluation.protocols.formulas import Computed, accuracy_by_group, macro
from basereward.evaluation.protocols.registry import OFFICIAL, Protocol, protocols
from basereward.evaluation.records import RowRecord
from basereward.statistics import Ties

TASKS = ("correctness", "preference", "knowledge", "math", "coding", "bias", "vqa")


def task(record: RowRecord) -> str:
    """Return the task of a row."""
    return record.subset


def compute(records: Sequence[RowRecord], ties: Ties) -> Computed:
    """Return ``accuracy``, micro over the rows that are there, and ``macro`` over the seven released tasks."""
    computed = accuracy_by_group(records, ties, task, TASKS)
    released = [record for record in records if record.subset in TASKS]
    means = macro(released, ties, task, TASKS)
    computed.metrics.update(means)
    computed.definitions["accuracy"] = "correct rows / scored rows, all tasks that are there (micro)"
    computed.definitions.update(dict.fromkeys(means, "mean of the accuracies of the seven released tasks"))
    return computed


PROTOCOLS = protocols(
    Protocol(OFFICIAL, "micro over the released rows, macro over seven tasks (safety is bias alone)", compute)
)
