"""What a comparison of an answer with the right one says: whether they match, what was read, and how."""

from typing import Literal, NamedTuple

# strict is the paper's exact match; robust goes by the kind that the right answer has; the others are those kinds.
Kind = Literal["strict", "robust", "choice", "number", "yes_no", "text", "list", "math"]
# Instead of a kind where nothing was compared: the answer names nothing, several things at once, or is too long; it was
# cut off by the limit of tokens; or the comparison took too long, which says nothing about the answer.
NO_ANSWER, AMBIGUOUS, TOO_LONG, TRUNCATED, TIMEOUT = "no_answer", "ambiguous", "too_long", "truncated", "timeout"


class Match(NamedTuple):
    """The result of comparing an answer with the right one.

    Args:
        matched: whether they are the same.
        extracted: what was taken for the answer, None if nothing was.
        method: the kind of comparison, or why there was none: ``no_answer``, ``ambiguous``, ``too_long``,
            ``truncated``, ``timeout``.
    """

    matched: bool
    extracted: str | None
    method: str
