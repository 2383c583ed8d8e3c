"""What members of an ensemble weigh: their accuracy or their confidence on validation pairs.

Source: paper Appendix B.
"""

import logging
from collections.abc import Mapping, Sequence
from itertools import accumulate

from basereward.data.outcomes import Failure, Score
from basereward.data.pairs import load_pairs
from basereward.data.schema import Comparison
from basereward.errors import ScoringError
from basereward.scoring.compose.members import Members
from basereward.scoring.compose.specs import EnsembleOptions

# Weights that are nearer to each other than this ratio are a plain mean for all practical purposes.
NEARLY_EQUAL = 1.05
_log = logging.getLogger(__name__)


def member_weights(members: Members, options: EnsembleOptions) -> dict[str, float]:
    """Return the weights of members: equal, as given, or measured on the validation pairs.

    Raises:
        ScoringError: a member cannot be measured, or has no positive accuracy or confidence.
        BaseRewardError: as ``load_pairs``.
    """
    labels = [member.label for member in members.all]
    if isinstance(options.weights, Mapping):
        return dict(options.weights)
    if options.validation is None:
        return dict.fromkeys(labels, 1.0)
    loaded = load_pairs([options.validation])
    comparisons = [pair.comparison() for pair in loaded.pairs]
    margins = pair_margins(members, comparisons)
    measure = accuracy if options.weights == "accuracy" else confidence
    weights = {label: measure(margins[label], options.margin) for label in labels}
    _check(weights, options)
    return weights


def accuracy(margins: Sequence[float], margin: str = "signed") -> float:
    """Return the share of pairs whose chosen response has the higher reward; a tie counts half."""
    return sum(0.5 if not own else float(own > 0) for own in margins) / len(margins)


def confidence(margins: Sequence[float], margin: str) -> float:
    """Return the mean of ``r(chosen) - r(rejected)``, or of its size if ``margin`` is ``absolute``."""
    return sum(abs(own) if margin == "absolute" else own for own in margins) / len(margins)


def pair_margins(members: Members, comparisons: Sequence[Comparison]) -> dict[str, list[float]]:
    """Return, for each member, the margins of the pairs that concern it, in order.

    Raises:
        ScoringError: a pair has no score, or no pair concerns a member.
    """
    groups = [group for comparison in comparisons for group in comparison.groups]
    first = [0, *accumulate(len(comparison.groups) for comparison in comparisons)]
    margins = {
        label: [
            _margin(label, comparison, [score for place in range(start, end) for score in scores[place]])
            for comparison, start, end in zip(comparisons, first, first[1:], strict=False)
            if all(place in scores for place in range(start, end))
        ]
        for label, scores in members.score(groups, remember=True).items()
    }
    if idle := [label for label, own in margins.items() if not own]:
        raise ScoringError(f"None of {len(comparisons)} validation pairs is of a kind that {', '.join(idle)} scores.")
    return margins


def _margin(label: str, comparison: Comparison, scores: Sequence[Score | Failure]) -> float:
    chosen, rejected = scores[comparison.chosen], scores[comparison.rejected]
    for score in (chosen, rejected):
        if isinstance(score, Failure):
            raise ScoringError(
                f"{label} has no score of validation pair {comparison.groups[0].id} ({score.reason}: {score.message}); "
                "leave the pair out of the file."
            )
    return chosen.value - rejected.value  # type: ignore[union-attr]


def _check(weights: Mapping[str, float], options: EnsembleOptions) -> None:
    told = ", ".join(f"{label} {weight:.4g}" for label, weight in weights.items())
    if min(weights.values()) < 0 or not any(weights.values()):
        raise ScoringError(
            f"By {options.weights} on {options.validation} members weigh {told}; expected no negative weight and one "
            "that is positive. Leave out members that rank most pairs wrong, or use equal weights."
        )
    if max(weights.values()) < NEARLY_EQUAL * min(weights.values()):
        _log.warning("Weights by %s (%s) are hardly different from those of a plain mean.", options.weights, told)
