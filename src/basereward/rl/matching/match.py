"""Compares an answer with the right one: the one function that the rewards ask.

What the answer is, is read from a tag, a box, a statement or a short last line; how it is compared is decided by what
the right answer is. Nothing is evaluated in this process, and any answer costs milliseconds, but for formulas, which
another process compares within two seconds of computing.
"""

from collections.abc import Sequence

from basereward.errors import RewardError
from basereward.rl.matching.answer import NO_ANSWER, TOO_LONG, Kind, Match
from basereward.rl.matching.choices import is_choice, match_choice
from basereward.rl.matching.extract import extract_answer, read_gold
from basereward.rl.matching.mathematics import has_extra, is_symbolic, match_formula_text, match_symbolic
from basereward.rl.matching.normalise import LONGEST, fold
from basereward.rl.matching.numbers import read_quantity, same_quantity
from basereward.rl.matching.words import is_list, is_yes_no, match_list, match_text, match_yes_no


def match(answer: str, gold: str, kind: Kind = "robust", options: Sequence[str] = (), tolerance: float = 0.0) -> Match:
    """Return whether an answer is the right one.

    Args:
        answer: the whole response.
        gold: the right answer.
        kind: ``strict`` is equality after trimming, the paper's exact match; ``robust`` goes by what ``gold`` is.
        options: the texts of the options A, B, ... of a question with choices.
        tolerance: how far a number may be from the right one, as a part of that.

    Raises:
        RewardError: the right answer is empty, or none of the options, or no number where ``kind`` says so.
        MissingExtraError: ``kind`` is ``math``, and math-verify is not installed.

    Source: Appendix C.O.1 ("exactly matches the ground truth") for ``strict``.
    """
    if not gold.strip():
        raise RewardError("The right answer is empty; every answer would match it. Drop the prompt, or fill it in.")
    if kind == "strict":
        return Match(answer.strip() == gold.strip(), answer.strip() or None, "strict")
    gold = read_gold(gold)
    chosen = kind_of(gold, options) if kind == "robust" else kind
    # A whole response that says nothing else needs no place to be found in.
    extracted = answer.strip() if len(answer) <= LONGEST and fold(answer) == fold(gold) else extract_answer(answer)
    if extracted is None:
        return Match(False, None, NO_ANSWER)
    if len(extracted) > max(LONGEST, len(gold)):
        return Match(False, extracted[:LONGEST], TOO_LONG)
    return _compare(extracted, gold, chosen, kind == "robust", options, tolerance)


def match_any(
    answer: str, golds: Sequence[str], kind: Kind = "robust", options: Sequence[str] = (), tolerance: float = 0.0
) -> Match:
    """Return the first match with one of several right answers, or the comparison with the first.

    Raises:
        RewardError: there is no right answer, or as ``match``.
        MissingExtraError: as ``match``.
    """
    if not golds:
        raise RewardError("The list of right answers is empty; no answer could match. Drop the prompt, or fill it in.")
    found = [match(answer, gold, kind, options, tolerance) for gold in golds]
    return next((one for one in found if one.matched), found[0])


def kind_of(gold: str, options: Sequence[str] = ()) -> Kind:
    """Return how a right answer is compared: by its options, else by what it looks like."""
    if options or is_choice(gold):
        return "choice"
    if is_yes_no(gold):
        return "yes_no"
    if read_quantity(gold):
        return "number"
    if is_list(gold):
        return "list"
    return "math" if is_symbolic(gold) else "text"


def _compare(extracted: str, gold: str, kind: Kind, is_robust: bool, options: Sequence[str], tolerance: float) -> Match:
    if is_robust and not options and fold(extracted) == fold(gold):
        # Also where the right answer is not what it looks like, such as "(B) or (C)".
        return Match(True, extracted, kind)
    if kind == "choice":
        return match_choice(extracted, gold, options)
    if kind == "yes_no":
        if not is_yes_no(gold):
            raise RewardError(f"The right answer {gold!r} is neither yes nor no, true nor false.")
        return match_yes_no(extracted, gold)
    if kind == "number":
        return _compare_numbers(extracted, gold, tolerance)
    if kind == "list":
        return match_list(extracted, gold, tolerance)
    if kind == "math":
        # Without the extra the text decides, which the method says.
        is_known = has_extra() or not is_robust
        return match_symbolic(extracted, gold) if is_known else match_formula_text(extracted, gold)
    return match_text(extracted, gold)


def _compare_numbers(extracted: str, gold: str, tolerance: float) -> Match:
    right, found = read_quantity(gold), read_quantity(extracted)
    if right is None:
        raise RewardError(f"The right answer {gold!r} is no number.")
    return Match(found is not None and same_quantity(found, right, tolerance), extracted, "number")
