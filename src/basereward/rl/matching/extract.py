"""Where in a response its answer stands: in a tag, in the last box, behind "answer is", or in a short last line.

Never the whole of a longer text: "It is not 42" holds 42 and does not answer it.
"""

import re

# An answer stands at the end; nothing before this is looked at.
_TAIL = 20_000
_SHORT_LINE = 120
_OPEN_TAG, _CLOSE_TAG = "<answer>", "</answer>"
_BOX = re.compile(r"\\f?boxed\s*\{")
_STATED = re.compile(
    r"\b(?:final\s+|correct\s+|right\s+)?(?:answer|option|choice)(?:\s+is\s*:?|\s*[:=\uff1a])\s*(\S[^\n]*)",
    re.IGNORECASE,
)
# Where the sentence that states the answer goes on with something else; "B. a dog" and "St. Paul" are one answer.
_CLAUSE_END = re.compile(
    r"(?<=\w\w\w)[.!]\s+(?=(?-i:[A-Z]))|(?<=[\d)])\.\s+(?=(?-i:[A-Z]))|,?\s+(?:because|since)\b", re.IGNORECASE
)
_THOUGHT = ("<think>", "</think>")


def extract_answer(response: str) -> str | None:
    """Return what a response gives as its answer, or None if it gives none."""
    text = _after_thought(response[-_TAIL:])
    for find in (_tagged, _boxed, _stated, _last_line):
        if (found := find(text)) is not None:
            return found.strip() or None
    return None


def read_gold(gold: str) -> str:
    """Return a right answer without the tag or the box that some data sets keep it in."""
    for find in (_tagged, _boxed):
        if found := find(gold):
            return found.strip()
    return gold.strip()


def _after_thought(text: str) -> str:
    """Return what follows the last thought; nothing if that has no end."""
    rest = text.rpartition(_THOUGHT[1])[2]
    return "" if _THOUGHT[0] in rest else rest


def _tagged(text: str) -> str | None:
    end = text.rfind(_CLOSE_TAG)
    begin = text.rfind(_OPEN_TAG, 0, end) if end >= 0 else -1
    if begin < 0:
        return None
    inside = text[begin + len(_OPEN_TAG) : end]
    boxed = _boxed(inside)
    return inside if boxed is None else boxed


def _boxed(text: str) -> str | None:
    """Return what the last box holds; nothing if it has no end."""
    boxes = list(_BOX.finditer(text))
    if not boxes:
        return None
    begin = boxes[-1].end()
    depth = 1
    for place in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[begin:place]
    return ""


def _stated(text: str) -> str | None:
    stated = [match[1] for match in _STATED.finditer(text)]
    return _CLAUSE_END.split(stated[-1], maxsplit=1)[0] if stated else None


def _last_line(text: str) -> str | None:
    lines = text.strip().splitlines()
    return lines[-1] if lines and len(lines[-1]) <= _SHORT_LINE else None
