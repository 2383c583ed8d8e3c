"""What a finished run of reinforcement learning says of itself: ``rl.json``."""

from typing import Any

from basereward.configuration import Section
from basereward.statistics import Interval

FACTS = "rl.json"


class OrderRates(Section):
    """How a judge's verdicts on pairs depend on the order in which it is shown the responses."""

    pairs: int
    """Pairs, each asked about in both orders."""
    consistent: float
    """Share of pairs with the same response preferred in both."""
    first: float
    """Share of the clear verdicts that prefer the response shown first; half of the right ones do."""
    unparsable: float
    """Share of answers without a clear verdict for one response."""


class HeldOut(Section):
    """How good answers are."""

    prompts: int
    matched: float
    """Share of answers that match by the kind of the right answer."""
    interval: Interval
    """Of that share, 95 % (Wilson); of a judge over pairs, whose orders say one thing."""
    strict: float
    """Share of responses that are the right answer to the character; of a judge, right ones in form."""
    truncated: float
    """Share of responses that the limit of tokens cut off."""
    sources: dict[str, float]
    """Share of matches by source."""
    orders: OrderRates | None = None
    """Of a judge."""


class RlFacts(Section):
    """What a finished run says of itself, in ``rl.json``."""

    steps: int
    prompts: int
    """Prompts that could be used."""
    drops: dict[str, Any]
    """Those that could not, by reason."""
    held_out_drops: dict[str, Any] | None = None
    """The same of the held-out prompts."""
    scheme: str
    reward: str | None
    """What rewarded: name and identity of the model, or of the judge."""
    start: HeldOut | None = None
    """Of the policy that the run began with."""
    end: HeldOut | None = None
    """Of the trained policy."""
    ranks: int
    seconds: float
    """Of training, since the last resume."""
    reward_share: float | None
    """Share of the time of steps that went into rewards, over the logged steps."""
