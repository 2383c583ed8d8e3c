"""Several answers to one question as one verdict: what most of those say that have a verdict."""

from collections import Counter
from collections.abc import Sequence

from basereward.data.outcomes import Choice, Verdict

# Between the answers in the text of a vote.
SEPARATOR = "\n\n---\n\n"


def vote(verdicts: Sequence[Verdict], responses: int) -> Verdict:
    """Return the verdict of a vote; one answer is its own.

    ``choice`` is what most answers with a verdict say, a tie if as many say something else, and unparsable if there are
    none. ``probabilities`` are the shares of their votes, to which a tie gives each response an equal part; ``mass`` is
    the share of answers that have a verdict. It is cut off if any of them is.

    Args:
        verdicts: at least one.
        responses: of the question.
    """
    if len(verdicts) == 1:
        return verdicts[0]
    said = [verdict.choice for verdict in verdicts if verdict.choice != "unparsable"]
    shares = [sum(1 / responses if one == "tie" else float(one == place) for one in said) for place in range(responses)]
    return Verdict(
        _most(said),
        SEPARATOR.join(verdict.text for verdict in verdicts),
        probabilities=tuple(share / len(said) for share in shares) if said else None,
        mass=len(said) / len(verdicts),
        is_cut_off=any(verdict.is_cut_off for verdict in verdicts),
    )


def _most(said: Sequence[Choice]) -> Choice:
    counts = Counter(said).most_common(2)
    if not counts:
        return "unparsable"
    is_tied = len(counts) == 2 and counts[0][1] == counts[1][1]
    return "tie" if is_tied else counts[0][0]
