"""What a timing says: backends with their spread, and what they ran on."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from basereward.speed.workloads import Workload

Mode = Literal["train", "score"]


class Spread(NamedTuple):
    """Median, smallest and largest of several rounds."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Timing:
    """One backend: rates are per second of wall time, ratios of CPU time round by round (device time on CUDA).

    ``rate_wall`` and ``rate_cpu`` are pairs (training) or responses (scoring) a second of wall and of CPU time.
    ``peak_fraction`` is the useful work per second over the machine's own matmul rate of the same run;
    ``mfu`` is the same over the data sheet's rate of a known GPU;
    ``flop_ratio_to_plain_unpadded`` is how much less work this layout needs than separate, unpadded sequences.
    """

    backend: str
    seconds: Spread
    cpu_seconds: Spread
    pairs_per_second: float
    responses_per_second: float
    rate_wall: Spread
    rate_cpu: Spread
    tokens_per_second: float
    unique_token_ratio: float
    flops: float
    cpu_ratio_to_plain: float | None
    cpu_ratio_to_plain_unpadded: float | None
    flop_ratio_to_plain_unpadded: float
    peak_memory_bytes: int | None
    peak_fraction: float
    mfu: float | None
    reward_difference: float


@dataclass(frozen=True, slots=True)
class SpeedReport:
    """All backends on one workload, and what they ran on."""

    mode: Mode
    preset: str
    workload: Workload
    device: str
    dtype: str
    threads: int
    repeats: int
    matmul_flops_per_second: float
    torch_version: str
    results: list[Timing]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        content = asdict(self)
        for timing, result in zip(self.results, content["results"], strict=True):
            spreads = ("seconds", "cpu_seconds", "rate_wall", "rate_cpu")
            result |= {name: getattr(timing, name)._asdict() for name in spreads}
        return content
