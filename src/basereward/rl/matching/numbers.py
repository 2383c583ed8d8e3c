"""Numbers in answers: read by a grammar into exact fractions, with percent signs and units; nothing is evaluated."""

import re
from fractions import Fraction
from typing import NamedTuple

from basereward.rl.matching.normalise import fold
from basereward.rl.matching.units import find_unit

# More digits, or powers that would have more, are no number that anyone asked for.
_MOST_DIGITS = 64
_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
_MULTIPLES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
# Words behind a number that are no unit of it.
_NO_UNITS = {
    "or",
    "and",
    "to",
    "not",
    "is",
    "plus",
    "minus",
    "times",
    "half",
    "wrong",
    "incorrect",
    "x",
    "e",
    "i",
    "pi",
}
_NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d*)?|\d+(?:\.\d*)?|\.\d+)"


def _power_pattern(name: str) -> str:
    return rf"\^\s*(?:\{{\s*(?P<{name}>[-+]?\d+)\s*\}}|(?P<{name}_bare>[-+]?\d+))"


_QUANTITY = re.compile(
    r"(?:[a-z](?:_\w)? ?= ?|= ?)?(?:[\u2248~] ?|\\approx ?|about |approximately |around |roughly )?"
    r"(?P<sign>[-+] ?)?[$\u20ac\u00a3\u00a5]? ?"
    rf"(?:\\frac ?\{{ ?(?P<over>{_NUMBER}) ?\}} ?\{{ ?(?P<under>{_NUMBER}) ?\}}"
    rf"|(?P<whole>\d+) (?P<part_over>\d+)/(?P<part_under>\d+)"
    rf"|(?P<number>{_NUMBER})(?: ?/ ?(?P<divisor>{_NUMBER})"
    rf"|{_power_pattern('power')}"
    r"|e(?P<exponent>[-+]?\d+)"
    rf"| ?(?:x|\u00d7|\*|\\times|\\cdot) ?10 ?{_power_pattern('tens')})?"
    rf"|(?P<word>{'|'.join(sorted(_WORDS, key=len, reverse=True))})(?![a-z]))"
    r"(?P<rest>(?: ?%| per ?cent)|.*)"
)


class Quantity(NamedTuple):
    """A number as it was written: its value, whether a percent sign follows, and its unit."""

    value: Fraction
    is_percent: bool = False
    unit: str = ""


def read_quantity(text: str) -> Quantity | None:
    """Return the number that a text is, or None if it is anything else, or more than one number."""
    folded = fold(text)
    if sum(mark.isdigit() for mark in folded) > _MOST_DIGITS or not (found := _QUANTITY.fullmatch(folded)):
        return None
    try:
        value = _value(found)
    except (ValueError, ZeroDivisionError):
        return None
    if found["sign"] and found["sign"].startswith("-"):
        value = -value
    attached = found["rest"]
    rest = attached.strip()
    if rest in ("%", "percent", "per cent"):
        return Quantity(value, is_percent=True)
    first, _, unit = rest.partition(" ")
    if first in _MULTIPLES:
        value, rest = value * _MULTIPLES[first], unit
    # 5cm is a length, and 3D is no number of D.
    is_apart = attached[:1] in ("", " ") or find_unit(rest) is not None
    return Quantity(value, unit=rest) if is_apart and _is_unit(rest) else None


def same_quantity(answer: Quantity, gold: Quantity, tolerance: float = 0.0) -> bool:
    """Return whether two numbers are the same, within a part of the right one.

    A unit on one side alone says nothing; of two units that measure the same, values are converted. A percent sign on
    one side alone may be a factor of 0.01 (50 % and 0.5) or the unit that was asked for (50 % and 50).
    """
    if answer.is_percent != gold.is_percent:
        return any(_close(answer.value * factor, gold.value, tolerance) for factor in _factors(answer))
    if answer.unit and gold.unit and answer.unit != gold.unit:
        units = find_unit(answer.unit), find_unit(gold.unit)
        if units[0] is None or units[1] is None:
            return answer.unit.removesuffix("s") == gold.unit.removesuffix("s") and _close(
                answer.value, gold.value, tolerance
            )
        same = units[0].kind == units[1].kind
        return same and _close(answer.value * units[0].size, gold.value * units[1].size, tolerance)
    return _close(answer.value, gold.value, tolerance)


def _factors(answer: Quantity) -> tuple[Fraction, ...]:
    """Return what an answer may be worth beside the right one, of which one has a percent sign."""
    return Fraction(1), Fraction(1, 100) if answer.is_percent else Fraction(100)


def _close(answer: Fraction, gold: Fraction, tolerance: float) -> bool:
    return abs(answer - gold) <= Fraction(tolerance) * abs(gold)


def _value(found: re.Match[str]) -> Fraction:
    """Return the value of a quantity without its sign.

    Raises:
        ValueError: it has too many digits.
        ZeroDivisionError: it divides by zero.
    """
    if found["word"]:
        return Fraction(_WORDS.index(found["word"]))
    if found["over"]:
        return _fraction(found["over"]) / _fraction(found["under"])
    if found["whole"]:
        return Fraction(found["whole"]) + Fraction(int(found["part_over"]), int(found["part_under"]))
    number = _fraction(found["number"])
    if found["divisor"]:
        return number / _fraction(found["divisor"])
    if power := found["power"] or found["power_bare"]:
        return _power(number, int(power), len(found["number"]))
    tens = found["exponent"] or found["tens"] or found["tens_bare"]
    return number * _power(Fraction(10), int(tens), 1) if tens else number


def _power(base: Fraction, exponent: int, digits: int) -> Fraction:
    if abs(exponent) * digits > _MOST_DIGITS:
        raise ValueError("too many digits")
    return base**exponent


def _fraction(number: str) -> Fraction:
    return Fraction(number.replace(",", "").rstrip("."))


def _is_unit(rest: str) -> bool:
    """Return whether what follows a number is a unit: a known one, or a word or two for what was counted."""
    if not rest or find_unit(rest):
        return True
    words = rest.split(" ")
    return len(words) <= 2 and all(word.isalpha() and word not in _NO_UNITS for word in words)
