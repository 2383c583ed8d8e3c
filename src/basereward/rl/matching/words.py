"""Answers that are words: yes or no, a short text, or a list of short answers."""

import re

from basereward.rl.matching.answer import AMBIGUOUS, Match
from basereward.rl.matching.normalise import fold, without_article
from basereward.rl.matching.numbers import read_quantity, same_quantity

_TRUTH = {"yes": True, "true": True, "correct": True, "no": False, "false": False, "incorrect": False}
_FIRST_WORD = re.compile(r"([a-z]+)(?:[,.;:!]|\s*-|$)")
_ORDERED, _UNORDERED = {"[": "]", "(": ")"}, {"{": "}"}
_SEPARATOR = re.compile(r"\s*[,;]\s*(?:and\s+)?|\s+and\s+")


def is_yes_no(gold: str) -> bool:
    """Return whether a right answer is yes or no, or true or false."""
    return fold(gold) in ("yes", "no", "true", "false")


def match_yes_no(extracted: str, gold: str) -> Match:
    """Return whether an answer begins with the right one of yes and no, and does not say the other one too."""
    folded = fold(extracted)
    first = _FIRST_WORD.match(folded)
    said = _TRUTH.get(first[1]) if first else None
    words = re.findall(r"[a-z]+", folded)
    if said is not None and any(
        _TRUTH.get(word, said) != said for word in words if word in ("yes", "no", "true", "false")
    ):
        return Match(False, extracted, AMBIGUOUS)
    return Match(said is not None and said == _TRUTH[fold(gold)], extracted, "yes_no")


def match_text(extracted: str, gold: str) -> Match:
    """Return whether two short texts are equal but for case, typography, an article and a full stop."""
    return Match(without_article(fold(extracted)) == without_article(fold(gold)), extracted, "text")


def is_list(gold: str) -> bool:
    """Return whether a right answer is a list in brackets."""
    text = gold.strip()
    brackets = _ORDERED | _UNORDERED
    return len(text) > 2 and brackets.get(text[0]) == text[-1] and "," in text


def match_list(extracted: str, gold: str, tolerance: float = 0.0) -> Match:
    """Return whether two lists have the same entries; ``[1, 2]`` and ``(1, 2)`` in this order, other lists in any."""
    right, found = split_list(gold), split_list(extracted)
    if fold(gold)[:1] not in _ORDERED:
        right, found = sorted(right, key=_order), sorted(found, key=_order)
    same = len(right) == len(found) and all(
        _same_entry(one, other, tolerance) for one, other in zip(found, right, strict=True)
    )
    return Match(same, extracted, "list")


def split_list(text: str) -> list[str]:
    """Return the entries of a list, with or without brackets."""
    folded = fold(text)
    if folded and (_ORDERED | _UNORDERED).get(folded[0]) == folded[-1]:
        folded = folded[1:-1].strip()
    return [without_article(fold(entry)) for entry in _SEPARATOR.split(folded) if entry]


def _same_entry(answer: str, gold: str, tolerance: float) -> bool:
    numbers = read_quantity(answer), read_quantity(gold)
    if numbers[0] and numbers[1]:
        return same_quantity(numbers[0], numbers[1], tolerance)
    return answer == gold


def _order(entry: str) -> tuple[float, str]:
    number = read_quantity(entry)
    return (float(number.value), "") if number else (float("inf"), entry)
