"""Named averages over benchmarks: what each is made of, computed from summaries.

The paper prints three different averages under one heading (Tables 5, 6 and 7), and calls a fourth one Overall (Table
1), so an average always has a name.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from basereward.benchmarks.formulas import Metric
from basereward.benchmarks.protocol import OFFICIAL
from basereward.benchmarks.summary import Summary
from basereward.errors import DataError
from basereward.registry import Registry

# By benchmark, then by the key of the protocol.
Summaries = Mapping[str, Mapping[str, Summary]]


class Member(NamedTuple):
    """A metric of a benchmark under a protocol, and its weight in an average."""

    benchmark: str
    metric: str
    protocol: str = OFFICIAL
    weight: int = 1

    @property
    def text(self) -> str:
        """What it is, in words."""
        return f"{self.metric} of {self.benchmark} under {self.protocol}"


@dataclass(frozen=True, slots=True)
class Average:
    """A weighted mean ``sum(weight * value) / sum(weight)`` of metrics; ``definition`` stands beside every value."""

    name: str
    definition: str
    members: tuple[Member, ...]


class AverageValue(NamedTuple):
    """The value of an average in [0, 1] with its 95 % interval, and the rows behind each member."""

    value: float
    low: float
    high: float
    rows: tuple[int, ...]


VL = Member("vl_rewardbench", "macro", "r1_reward")
ACC = Member("mm_rlhf_rewardbench", "accuracy")
ACC_PLUS = Member("mm_rlhf_rewardbench", "acc_plus")
MULTIMODAL = Member("multimodal_rewardbench", "accuracy")
REWARDBENCH = Member("rewardbench", "overall")
RM_BENCH = Member("rm_bench", "overall")

_ENTRIES = (
    Average(
        "paper-t1",
        "Overall of Table 1: the mean of Multimodal RewardBench, the mean of its seven tasks, and VL-RewardBench",
        (MULTIMODAL._replace(metric="macro"), VL),
    ),
    Average(
        "paper-t5",
        "Multi-Modal Avg of Table 5: the mean of all seven other columns, that is VL-RewardBench, Acc, Acc+, "
        "Multimodal RewardBench, RewardBench, RM-Bench, and the mean of the last two",
        (
            *(member._replace(weight=2) for member in (VL, ACC, ACC_PLUS, MULTIMODAL)),
            # Each is a column of its own and half of the column that is the mean of both: 3/2 against 1.
            *(member._replace(weight=3) for member in (REWARDBENCH, RM_BENCH)),
        ),
    ),
    Average(
        "mean4",
        "Multi-Modal Avg of Table 6: the mean of VL-RewardBench, Acc, Acc+ and Multimodal RewardBench",
        (VL, ACC, ACC_PLUS, MULTIMODAL),
    ),
    Average(
        "mean3",
        "Multi-Modal Avg of Table 7: the mean of VL-RewardBench, Acc and Multimodal RewardBench",
        (VL, ACC, MULTIMODAL),
    ),
    Average(
        "pure-text",
        "Pure Text Avg of Tables 5 to 7: the mean of RewardBench and RM-Bench",
        (REWARDBENCH, RM_BENCH),
    ),
)
AVERAGES: Registry[Average] = Registry("average", {entry.name: entry for entry in _ENTRIES})


def missing_members(average: Average, summaries: Summaries) -> list[str]:
    """Return in words each member that the summaries lack, or have under another protocol."""
    found = (_find(member, summaries) for member in average.members)
    return [own for own in found if isinstance(own, str)]


def compute_average(average: Average, summaries: Summaries) -> AverageValue:
    """Return an average of the summaries of one model, by benchmark and protocol.

    The interval takes benchmarks as independent: with ``w`` the weights that sum to 1 and ``l`` the lower ends,
    ``low = value - sqrt(sum over benchmarks of (sum over its metrics of w (v - l))^2)``, and so upwards. Metrics of
    one benchmark share its items, so their widths add up, which is the widest case. It tells what other items would
    change, not what training again would.

    Raises:
        DataError: a member is missing; an average of the others would be another number.

    Source: Zou and Donner, Statistics in Medicine 2008 (intervals of a sum from those of its terms).
    """
    if missing := missing_members(average, summaries):
        raise DataError(
            f"{average.name} needs {'; '.join(missing)}. Evaluate what is missing, or name another average."
        )
    total = sum(member.weight for member in average.members)
    value, rows = 0.0, []
    below, above = defaultdict[str, float](float), defaultdict[str, float](float)
    for member in average.members:
        metric, weight = _find(member, summaries), member.weight / total
        assert isinstance(metric, Metric)
        assert metric.value is not None
        assert metric.low is not None
        assert metric.high is not None
        value += weight * metric.value
        rows.append(metric.n)
        below[member.benchmark] += weight * (metric.value - metric.low)
        above[member.benchmark] += weight * (metric.high - metric.value)
    return AverageValue(value, value - _root(below), value + _root(above), tuple(rows))


def _root(widths: Mapping[str, float]) -> float:
    return sum(width * width for width in widths.values()) ** 0.5


def _find(member: Member, summaries: Summaries) -> Metric | str:
    """Return a member's metric, or in words why there is none."""
    own = summaries.get(member.benchmark)
    if not own:
        return member.text
    if member.protocol not in own:
        return f"{member.text} (found {', '.join(own)})"
    summary = own[member.protocol]
    metric = summary.number(member.metric)
    if metric is None:
        found = [name for name in summary.metrics if name.startswith(member.metric)] or summary.metrics
        return f"{member.text} (found {', '.join(found)})"
    return f"{member.text} (no row was scored)" if metric.value is None else metric
