"""Rewards of responses from verdicts on pairs of them: every ordered pair, each pair once, or a Swiss tournament.

The paper's reward is R(y_i) = sum over j != i of S(y_i, y_j) with y_i shown first: 56 questions for 8 responses.
Equal responses are judged once, and are a tie of each other. A question without a clear verdict has no S, so the sum is
scaled up from those that have one; a response with fewer than half of its verdicts has no reward.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field

from basereward.configuration import Section
from basereward.data.outcomes import Choice, Failure, Judged, Score, Scored, Verdict

# The responses that a question shows, in this order, by their places in the group.
Shown = tuple[int, int]
Verdicts = Mapping[Shown, Judged]
ALONE, UNPARSABLE = "alone", "unparsable"


class TournamentOptions(Section):
    """How a judge's verdicts become rewards."""

    pairs: Literal["first", "both", "single", "swiss"] = "first"
    """first is the paper's: all G x (G-1) ordered pairs, each counts for the response shown first. both: the same
    questions, each counts for both responses. single: G x (G-1) / 2 questions, in an order drawn by a hash. swiss:
    G / 2 questions in each round, between responses that did equally well before."""
    values: Literal["zero_one", "signed"] = "zero_one"
    """S of the better response, a tie and the worse one: 1, 0.5, 0 or 1, 0, -1."""
    rounds: int | None = Field(default=None, gt=0)
    """Rounds of a Swiss tournament; log2 of the number of different responses, rounded up, by default."""


def question_count(responses: int, options: TournamentOptions) -> int:
    """Return how many questions a group of so many different responses costs at most."""
    if options.pairs == "swiss":
        return swiss_rounds(responses, options.rounds) * (responses // 2)
    ordered = responses * (responses - 1)
    return ordered // 2 if options.pairs == "single" else ordered


def preference(choice: Choice, is_first: bool, values: str) -> float | None:
    """Return S of one of the two responses that a verdict is on; None if the verdict is unparsable."""
    if choice == "unparsable":
        return None
    # A tie is in the middle, in both scales.
    won = 0.5 if choice == "tie" else float((choice == 0) == is_first)
    return won if values == "zero_one" else 2 * won - 1


def round_robin(names: Sequence[str], pairs: str) -> list[Shown]:
    """Return the questions of a tournament in which every two responses meet.

    Args:
        names: what tells the responses apart; for ``single`` it draws which of two is shown first.
        pairs: ``first``, ``both`` or ``single``.
    """
    places = range(len(names))
    if pairs != "single":
        return [(one, other) for one in places for other in places if one != other]
    return [_drawn(names, one, other) for one in places for other in places if one < other]


def swiss_rounds(responses: int, rounds: int | None) -> int:
    """Return the number of rounds: as asked, but no more than there are opponents."""
    return min(rounds or math.ceil(math.log2(max(responses, 1))), max(responses - 1, 0))


def swiss_round(names: Sequence[str], verdicts: Verdicts) -> list[Shown]:
    """Return the questions of the next round: neighbours by points, who have not met.

    Args:
        names: what tells the responses apart; it breaks ties of points.
        verdicts: of the rounds before.
    """
    points = [0.0] * len(names)
    for shown, judged in verdicts.items():
        for is_first, place in zip((True, False), shown, strict=True):
            points[place] += _value(judged, is_first, "signed") or 0.0
    waiting = sorted(range(len(names)), key=lambda place: (-points[place], _hash(names[place])))
    met = {frozenset(shown) for shown in verdicts}
    questions = []
    while waiting:
        one = waiting.pop(0)
        other = next((place for place in waiting if frozenset((one, place)) not in met), None)
        if other is not None:
            waiting.remove(other)
            questions.append(_drawn(names, one, other))
    return questions


def tournament_rewards(verdicts: Verdicts, copies: Sequence[int], options: TournamentOptions) -> list[Scored]:
    """Return R of each different response of a group, in the scale of the paper's sum over all others.

    With n copies of a response among G, its n - 1 copies count as ties, and the mean S against the others, each
    weighted by its copies, counts G - n times; twice that for ``both``.

    Args:
        verdicts: on the questions that were asked.
        copies: how often each different response occurs in the group.

    Source: Appendix C.O.1, the baseline with R1-Reward.
    """
    tie = 0.5 if options.values == "zero_one" else 0.0
    weight = 2 if options.pairs == "both" else 1
    rewards: list[Scored] = []
    for place, own in enumerate(copies):
        others = sum(copies) - own
        if not others:
            alone = own < 2
            rewards.append(
                _alone() if alone else Score(weight * tie * (own - 1), parts={"asked": 0.0, "answered": 0.0})
            )
            continue
        counted = _counted(place, verdicts, options)
        met = [
            (copies[second if first == place else first], _value(judged, first == place, options.values))
            for (first, second), judged in counted.items()
        ]
        asked = sum(times for times, _ in met)
        known = [(times, value) for times, value in met if value is not None]
        answered = sum(times for times, _ in known)
        if not answered or 2 * answered < asked:
            rewards.append(_unanswered(list(counted.values())))
            continue
        mean = sum(times * value for times, value in known) / answered
        total = weight * (tie * (own - 1) + mean * others)
        rewards.append(Score(total, parts={"asked": float(len(met)), "answered": float(len(known))}))
    return rewards


def _counted(place: int, verdicts: Verdicts, options: TournamentOptions) -> dict[Shown, Judged]:
    """Return the verdicts that count for a response."""
    return {
        shown: judged
        for shown, judged in verdicts.items()
        if shown[0] == place or (shown[1] == place and options.pairs != "first")
    }


def _value(judged: Judged, is_first: bool, values: str) -> float | None:
    return preference(judged.choice, is_first, values) if isinstance(judged, Verdict) else None


def _alone() -> Failure:
    return Failure(ALONE, "A tournament needs two or more responses to a prompt.")


def _unanswered(own: Sequence[Judged]) -> Failure:
    failed = Counter(judged.reason if isinstance(judged, Failure) else UNPARSABLE for judged in own if _is_lost(judged))
    reasons = failed.most_common() or [(UNPARSABLE, 0)]
    said = next((judged.message for judged in own if isinstance(judged, Failure)), "the verdicts could not be read")
    counts = ", ".join(f"{count} {reason}" for reason, count in reasons)
    return Failure(
        reasons[0][0], f"Too few of {len(own)} questions on this response have a verdict ({counts}): {said}."
    )


def _is_lost(judged: Judged) -> bool:
    return isinstance(judged, Failure) or judged.choice == "unparsable"


def _drawn(names: Sequence[str], one: int, other: int) -> Shown:
    """Return two places in an order that depends on both names and favours neither."""
    low, high = sorted((one, other), key=lambda place: names[place])
    return (low, high) if _hash(f"{names[low]}\n{names[high]}")[-1] in "01234567" else (high, low)


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
