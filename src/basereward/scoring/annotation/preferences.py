"""Distillation: what a judge says of a pair in both orders becomes its preference, and how sure it is a weight.

With q, the mean over both orders of the judge's probability that one response is better (1, 1/2 or 0 where it names one
or calls a tie, and 1/2 for what of its probability names neither), the response with q > 1/2 is chosen and the pair
weighs 2 q - 1: 1 where both orders agree for certain, less where they do not. A pair with q = 1/2 is dropped. The label
of the pair plays no part in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from basereward.data.annotations import CRITIQUES, THOUGHTS, WEIGHT
from basereward.data.judging.examples import question_of
from basereward.data.outcomes import Choice, Judged, JudgeQuestion, Verdict
from basereward.data.schema import PreferencePair
from basereward.scoring.annotation.task import Read, lost_reason
from basereward.statistics import wilson_interval

# Which response of a written pair its source preferred, and the source's own target difference: to measure by alone.
LABEL, SOURCE_MARGIN = "source_label", "source_margin"
# Weights are told in so many bands of equal width.
BANDS = 4
_SHARES: dict[Choice, float] = {0: 1.0, 1: 0.0, "tie": 0.5}


class Preference(NamedTuple):
    """How much a kept pair weighs, whether the label says the same, and whether both orders name one response."""

    weight: float
    is_label: bool
    is_consistent: bool


@dataclass(frozen=True, slots=True)
class PreferenceTask:
    """Pairs with the judge's preference in place of their label, weighted by how sure it is."""

    step: Literal["distill"] = "distill"
    wrote: Literal["preferences"] = "preferences"
    places: tuple[str, str] = ("chosen_first", "rejected_first")

    def questions(self, pair: PreferencePair) -> tuple[JudgeQuestion, JudgeQuestion]:
        """Return both orders."""
        return question_of(pair, True), question_of(pair, False)

    def read(self, pair: PreferencePair, answers: Sequence[Judged]) -> Read:
        """Return the pair as the judge prefers it; one order alone could be its bias, and is not enough."""
        shares = [first_share(judged) for judged in answers]
        first, second = (_reason(judged, share) for judged, share in zip(answers, shares, strict=True))
        if first or second or shares[0] is None or shares[1] is None:
            return Read(None, (first, second))
        # Shown first in one order, second in the other.
        parts = (shares[0], 1 - shares[1])
        # What rounding leaves of two orders that weigh each other out is no preference.
        margin = round(sum(parts) - 1, 9)
        if not margin:
            return Read(None, ("undecided", "undecided"))
        is_consistent = all(part > 0.5 for part in parts) or all(part < 0.5 for part in parts)
        return Read(preferred(pair, margin), (None, None), Preference(abs(margin), margin > 0, is_consistent))

    def details(self, facts: Sequence[Preference]) -> Mapping[str, Any]:
        """Return how often the preference is the label's: in all, by weight, and in bands of weight."""
        total = sum(own.weight for own in facts)
        agreeing = sum(own.weight for own in facts if own.is_label)
        bands = [[own for own in facts if _band(own.weight) == band] for band in range(BANDS)]
        return {
            "agreement_with_label": _agreement(facts),
            "weighted_agreement_with_label": round(agreeing / total, 4) if total else None,
            "both_orders_name_one": sum(own.is_consistent for own in facts),
            "by_weight": {
                f"{band / BANDS:g}-{(band + 1) / BANDS:g}": _agreement(own) for band, own in enumerate(bands) if own
            },
        }


def first_share(judged: Judged) -> float | None:
    """Return how likely a judge calls the response shown first the better one, None if it does not say.

    Probabilities are the better witness: an answer without a clear verdict may have them. What of the probability names
    neither response (``mass`` below 1) is as good as a tie: two improbable answers of which one is less improbable are
    no preference.
    """
    if not isinstance(judged, Verdict):
        return None
    if judged.probabilities is not None and sum(judged.probabilities) > 0:
        mass = 1.0 if judged.mass is None else judged.mass
        return 0.5 + mass * (judged.probabilities[0] / sum(judged.probabilities) - 0.5)
    return _SHARES.get(judged.choice)


def preferred(pair: PreferencePair, margin: float) -> PreferencePair:
    """Return a pair as a judge prefers it: by ``margin`` its chosen response, or if that is negative the other one.

    What belongs to a response moves with it. A margin of the source and thoughts that came to the other verdict would
    teach the label, and do not stay.
    """
    told = {WEIGHT: abs(margin), LABEL: "chosen" if margin > 0 else "rejected"}
    if pair.margin is not None:
        told[SOURCE_MARGIN] = pair.margin
    if margin > 0:
        return replace(pair, margin=None, extra={**pair.extra, **told})
    extra = {name: value for name, value in pair.extra.items() if name != THOUGHTS}
    if isinstance(own := extra.get(CRITIQUES), Mapping):
        extra[CRITIQUES] = {**own, "chosen": own.get("rejected"), "rejected": own.get("chosen")}
    images, videos = pair.dealt_images, pair.dealt_videos
    return replace(
        pair,
        chosen=pair.rejected,
        rejected=pair.chosen,
        images=images[0] + images[2] + images[1],
        videos=videos[0] + videos[2] + videos[1],
        scores=pair.scores[::-1] if len(pair.scores) == 2 else pair.scores,
        margin=None,
        extra={**extra, **told},
    )


def _reason(judged: Judged, share: float | None) -> str | None:
    return None if share is not None else lost_reason(judged) or "unparsable"


def _band(weight: float) -> int:
    return min(int(weight * BANDS), BANDS - 1)


def _agreement(facts: Sequence[Preference]) -> dict[str, float]:
    agreeing = sum(own.is_label for own in facts)
    if not facts:
        return {"n": 0}
    low, high = wilson_interval(agreeing, len(facts))
    return {"value": round(agreeing / len(facts), 4), "low": round(low, 4), "high": round(high, 4), "n": len(facts)}
