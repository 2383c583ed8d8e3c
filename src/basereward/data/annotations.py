"""What a pair may carry besides its preference: critiques of its responses, thoughts of a judge, a weight.

They are extra columns: ``critiques`` is ``{"chosen", "rejected"}``, possibly with ``teaches``, what a critic learns
from them; ``thoughts`` is ``{"chosen_first", "rejected_first"}`` for the orders in which a judge may be shown the
responses; ``weight`` is a positive number.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, cast, get_args

from basereward.data.schema import PreferencePair
from basereward.errors import RowError

CRITIQUES, THOUGHTS, WEIGHT = "critiques", "thoughts", "weight"


# What a critic learns from a pair: its words, the rewards behind them, or both.
Teaches = Literal["both", "words", "rewards"]


class Critiques(NamedTuple):
    """What a critic says of both responses of a pair, and what it learns from that."""

    chosen: str
    rejected: str
    teaches: Teaches = "both"


class Thoughts(NamedTuple):
    """What a judge thinks before its verdict, by the response that it is shown first; None for an order without."""

    chosen_first: str | None = None
    rejected_first: str | None = None


def critiques_of(pair: PreferencePair) -> Critiques | None:
    """Return the critiques of a pair, None without any.

    Raises:
        RowError: ``malformed``: another form, or a critique without words.
    """
    texts = _texts(pair, CRITIQUES, Critiques._fields)
    if texts is None:
        return None
    chosen, rejected, teaches = texts.values()
    if not chosen or not rejected:
        raise RowError("malformed", f"Found no critique of {'rejected' if chosen else 'chosen'}; expected both.")
    if (teaches or "both") not in get_args(Teaches):
        raise RowError("malformed", f"Critiques teach {', '.join(get_args(Teaches))}; found {teaches!r}.")
    return Critiques(chosen, rejected, cast(Teaches, teaches or "both"))


def thoughts_of(pair: PreferencePair) -> Thoughts | None:
    """Return the thoughts of a pair, None without any.

    Raises:
        RowError: ``malformed``: another form.
    """
    texts = _texts(pair, THOUGHTS, Thoughts._fields)
    return Thoughts(**texts) if texts and any(texts.values()) else None


def weight_of(pair: PreferencePair) -> float:
    """Return how much a pair counts in the loss, 1 if nothing is said.

    Raises:
        RowError: ``malformed``: not a positive finite number.
    """
    value = pair.extra.get(WEIGHT, 1.0)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (math.isfinite(value) and value > 0):
        raise RowError("malformed", f"Expected a positive finite number under {WEIGHT!r}, found {value!r}.")
    return float(value)


def _texts(pair: PreferencePair, column: str, names: tuple[str, ...]) -> dict[str, str | None] | None:
    """Return the texts of a column by name; one without words is none."""
    value: Any = pair.extra.get(column)
    if value is None:
        return None
    if not isinstance(value, Mapping) or value.keys() - set(names):
        raise RowError("malformed", f"Expected {column!r} as {{{', '.join(names)}}}, found {str(value)[:100]!r}.")
    texts = {name: value.get(name) for name in names}
    if strange := [text for text in texts.values() if not isinstance(text, (str, type(None)))]:
        raise RowError("malformed", f"Expected texts under {column!r}, found {str(strange[0])[:100]!r}.")
    return {name: text.strip() or None if text else None for name, text in texts.items()}
