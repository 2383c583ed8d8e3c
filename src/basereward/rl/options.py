"""How rollouts are rewarded beside the scheme: what matches, how rewards are squashed, and what is added."""

from typing import Literal

from pydantic import Field

from basereward.configuration import Section
from basereward.rl.matching.answer import Kind
from basereward.scoring.tournament import TournamentOptions


class RewardOptions(Section):
    """Settings of a reward function; the defaults are the paper's, but for ``matcher``."""

    matcher: Kind = "robust"
    """strict is the paper's exact match, robust goes by the kind of the right answer."""
    tolerance: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """How far a number may be from the right one, as a part of that; not for strict."""
    offset: float = Field(default=0.0, allow_inf_nan=False)
    """Raw reward at which the hybrid scheme's sigmoid is 0.5."""
    scale: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """How much raw reward one unit of that sigmoid is."""
    truncated: Literal["no_match", "exclude"] = "no_match"
    """A response that the limit cut off: it never matches, or it gets no reward at all."""
    length_limit: int | None = Field(default=None, gt=0)
    """Characters above which a response pays; None for no length term."""
    length_weight: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Weight of the length term, which falls from 0 to -1 over the last ``length_buffer`` characters."""
    length_buffer: int = Field(default=100, gt=0)
    """Characters over which the length term falls."""
    format_pattern: str | None = None
    """A regular expression that a whole response must match for the format term of 1; None for no such term."""
    format_weight: float = Field(default=0.1, allow_inf_nan=False)
    """Weight of the format term."""
    tournament: TournamentOptions = TournamentOptions()
    """Which pairs a judge is asked about, and what a verdict is worth; for a judge alone."""
    patience: int = Field(default=3, gt=0)
    """Calls in a row without a single reward after which the run is stopped."""
