"""What a judge's thoughts support, read by rules from what they state about the responses; doubtful is nothing."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from basereward.data.judging.formats import DOUBT, FORMATS

# Of a sentence, not of "3.5" or "e.g.a": white space follows its end.
_SENTENCE_END = re.compile(r"(?<=[.!?\u3002\uff01\uff1f])\s+|\n+")
_RIGHT = ("right", "correct", "true", "accurate")
_WRONG = ("wrong", "incorrect", "false", "inaccurate", "untrue")
# What a response is said to be: nothing between may name another response, and so each character is read once.
_CLAIM = re.compile(
    r"\bresponse (?P<number>1|2|one|two)\b(?P<between>(?:(?!\bresponse\b).)*?)"
    # Not where something is: right of something else.
    rf"\bis (?P<not>not )?(?P<word>{'|'.join(_RIGHT + _WRONG)})\b(?! of\b)",
    re.IGNORECASE,
)
_UNSURE = re.compile(r"\b(?:if|whether|unless|may|might|could|would|unclear|unsure|perhaps|maybe)\b|\?", re.IGNORECASE)
_CLAUSE = re.compile("[,;:]")
_TWO = 2


class ResponseClaim(NamedTuple):
    """What a thought says of a response: its place, counted from 0, and whether it is right."""

    place: int
    is_right: bool


def supported_response(thought: str) -> int | None:
    """Return the place, counted from 0, of the one of two responses that a thought supports; None if of neither.

    The last sentence that calls a response better or best decides. Without one, the last word on each response does:
    one that is right beside one that is not, or the one beside a wrong one.
    """
    sentences = _SENTENCE_END.split(thought.strip())
    for sentence in reversed(sentences):
        found = set(FORMATS.get("sentence").find(sentence, _TWO)) - {"unparsable"}
        if found:
            [choice, *others] = found
            return choice if isinstance(choice, int) and not others else None
    said = {claim.place: claim.is_right for sentence in sentences for claim in _claims(sentence)}
    right = [place for place, is_right in said.items() if is_right]
    wrong = [place for place, is_right in said.items() if not is_right]
    if len(right) == 1:
        return right[0]
    return 1 - wrong[0] if len(wrong) == 1 and not right else None


def _claims(sentence: str) -> Iterator[ResponseClaim]:
    if _UNSURE.search(sentence):
        return
    behind = 0
    for match in _CLAIM.finditer(sentence):
        before, behind = sentence[behind : match.start()], match.end()
        # What is denied or doubted, in the clause in front or on the way, is no claim: "neither Response 1 nor ...".
        if DOUBT.search(_CLAUSE.split(before)[-1]) or DOUBT.search(match["between"]):
            continue
        is_right = match["word"].lower() in _RIGHT
        yield ResponseClaim(0 if match["number"].lower() in ("1", "one") else 1, is_right is not bool(match["not"]))
