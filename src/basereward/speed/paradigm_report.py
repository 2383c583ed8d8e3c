"""What a comparison of paradigms says: what each costs beside the Naive-RM, and how sure its judgement is."""

from typing import Annotated

from pydantic import Field, PlainSerializer

from basereward.configuration import Section
from basereward.speed.paradigm_plan import ParadigmCost, ParadigmLengths
from basereward.speed.paradigm_quality import ParadigmQuality
from basereward.speed.report import Spread

Rounds = Annotated[Spread, PlainSerializer(lambda spread: spread._asdict(), return_type=dict[str, float])]


class ParadigmTiming(Section):
    """How long a paradigm took: median, smallest and largest of the rounds.

    Seconds are those of the CPU, all threads together, or of the device; rates are by the clock. Ratios are those of
    each round.
    """

    rewards_per_second: Rounds
    seconds_per_response: Rounds
    peak_memory_bytes: int | None
    """Above the model at rest; null where it cannot be measured."""
    times_naive_clock: Rounds
    times_naive_seconds: Rounds
    times_naive_memory: float | None


class ParadigmRow(Section):
    """One paradigm."""

    paradigm: str
    cost: ParadigmCost
    times_naive_flops: float
    timing: ParadigmTiming | None
    """Null if nothing was run."""


class ParadigmReport(Section):
    """All paradigms on one backbone, and what they ran on."""

    preset: str
    lengths: ParadigmLengths
    device: str
    dtype: str
    threads: int
    repeats: int
    torch_version: str
    rows: list[ParadigmRow]
    quality: list[ParadigmQuality] = Field(default_factory=list)
    """Of trained models, whatever the preset; empty if none were given."""
