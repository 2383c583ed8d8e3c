"""Answers to questions with options: a letter, an option's text, or both if they agree."""

import re
from collections.abc import Mapping, Sequence
from string import ascii_lowercase

from basereward.errors import RewardError
from basereward.rl.matching.answer import AMBIGUOUS, Match
from basereward.rl.matching.normalise import fold, without_article

_LEAD = re.compile(r"(?:the )?(?:(?:correct|right|best|final) )?(?:answer|option|choice) (?:is )?")
_TAIL = re.compile(r" is (?:the )?(?:correct|right|best)(?: (?:answer|option|choice|one))?$")
_LETTER = re.compile(r"\(?\s*([a-z])\s*\)?[.:)]?")
_BOTH = re.compile(r"(?:\(([a-z])\)|([a-z])[.:)]|([a-z]) -)\s*(\S.*)")
_SEVERAL = re.compile(r"\(?[a-z]\)?(?:\s*(?:,|/|&|or|and)\s*\(?[a-z]\)?)+")
_OPTION_LINE = re.compile(r"^\s*(?:\(([A-Za-z])\)|([A-Za-z])[.):])[ \t]+(\S.*?)\s*$", re.MULTILINE)
_ANOTHER = re.compile(r"(?:\bor\b|\band\b|[,/&])\s*\(?([a-z])\)?(?=[.,:)]|$)")


def is_choice(gold: str) -> bool:
    """Return whether a right answer is that of a question with options: ``B``, ``(B)``, ``B.``, ``(B) text``."""
    folded = fold(gold)
    both = _BOTH.fullmatch(folded)
    # "C. elegans" is no option C.
    return bool(_LETTER.fullmatch(folded) or (both and not (both[2] and folded[1] == ".")))


def find_options(question: str) -> tuple[str, ...]:
    """Return the texts of the options that a question lists in lines of their own: ``A. red``, ``(B) blue``, ...

    Nothing unless they run from A without a gap, and there are two or more.
    """
    found = [((one or other).lower(), text) for one, other, text in _OPTION_LINE.findall(question)]
    is_whole = "".join(letter for letter, _ in found) == ascii_lowercase[: len(found)]
    return tuple(text for _, text in found) if len(found) > 1 and is_whole else ()


def has_option(gold: str, options: Sequence[str]) -> bool:
    """Return whether a right answer is one of some options, by its letter or its text."""
    try:
        _right_place(gold, {place: without_article(fold(option)) for place, option in enumerate(options)})
    except RewardError:
        return False
    return True


def match_choice(extracted: str, gold: str, options: Sequence[str]) -> Match:
    """Return whether an answer names the right option.

    Raises:
        RewardError: the right answer is none of the options.
    """
    texts = {place: without_article(fold(option)) for place, option in enumerate(options)}
    right = _right_place(gold, texts)
    if not options and (both := _BOTH.fullmatch(fold(gold))):
        texts = {right: without_article(both[4])}
    found = _read(extracted, texts)
    return Match(found == right, extracted, AMBIGUOUS if found == AMBIGUOUS else "choice")


def _right_place(gold: str, texts: Mapping[int, str]) -> int:
    folded = fold(gold)
    named = [place for place, text in texts.items() if text == without_article(folded)]
    if len(named) == 1:
        return named[0]
    letter = _LETTER.fullmatch(folded) or _BOTH.fullmatch(folded)
    place = ascii_lowercase.index(next(filter(None, letter.groups()[:3]))) if letter else None
    if place is None or (texts and place not in texts):
        raise RewardError(f"The right answer {gold!r} is none of the {len(texts)} options; correct the data.")
    return place


def _read(extracted: str, texts: Mapping[int, str]) -> int | str | None:
    """Return the place that an answer names, None for none, or ``ambiguous``."""
    folded = _TAIL.sub("", _LEAD.sub("", fold(extracted), count=1))
    named = [place for place, text in texts.items() if text and text == without_article(folded)]
    if len(named) == 1:
        return named[0]
    if alone := _LETTER.fullmatch(folded):
        return ascii_lowercase.index(alone[1])
    if _SEVERAL.fullmatch(folded):
        return AMBIGUOUS
    if both := _BOTH.fullmatch(folded):
        place = ascii_lowercase.index(next(filter(None, both.groups()[:3])))
        rest = without_article(both[4])
        others = {ascii_lowercase.index(letter) for letter in _ANOTHER.findall(both[4])} - {place}
        contradicts = any(text == rest for other, text in texts.items() if other != place)
        return AMBIGUOUS if others or (contradicts and texts.get(place) != rest) else place
    return None
