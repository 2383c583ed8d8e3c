"""What may be added to the reward of a scheme: a price for length, and a bonus for a form."""

import re
from collections.abc import Sequence


def length_terms(texts: Sequence[str], limit: int, buffer: int) -> list[float]:
    """Return 0 for texts of at most ``limit - buffer`` characters, then less, down to -1 at ``limit`` and above.

    Source: the overlong penalty of DAPO, in characters.
    """
    return [-min(1.0, max(0.0, (len(text) - (limit - buffer)) / buffer)) for text in texts]


def format_terms(texts: Sequence[str], pattern: re.Pattern[str]) -> list[float]:
    """Return 1 for texts that the pattern matches from end to end, else 0."""
    return [float(bool(pattern.fullmatch(text))) for text in texts]
