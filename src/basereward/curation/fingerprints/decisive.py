"""What makes two texts different that share nearly all words: a number, a yes or no, the answer at the end.

The words are those of English; in other languages numbers and last sentences are compared.
"""

import re

from basereward.curation.fingerprints.text import normalise

# A last sentence of fewer words is the answer; a longer one is so where it says that it is.
ANSWER_WORDS = 8
# Not the digits of a word such as ``word2``: those are part of a name.
_NUMBER = re.compile(r"(?<![^\W_])[-+]?\d\w*(?:[.,:/]\d\w*)*")
_DECIDES = re.compile(
    rf"{_NUMBER.pattern}"
    r"|\b(?:zero|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)\b"
    r"|\b(?:yes|no|not|never|none|nothing|neither|nor|without|cannot|true|false|correct|incorrect|wrong)\b|n['\u2019]t\b"
    r"|\b[a-h]\)",
    re.IGNORECASE,
)
_END = re.compile(r"(?<=[.!?])\s+|(?<=[\u3002\uff01\uff1f])|\n+")
_SAYS_SO = re.compile(r"\b(?:answer|conclusion|therefore)\b|\\boxed", re.IGNORECASE)


def decisive(text: str) -> tuple[str, ...]:
    """Return the words of a text that decide what it says, in order, and its answer if the last sentence is one."""
    words = tuple(found.lower() for found in _DECIDES.findall(text))
    last = next((sentence for sentence in reversed(_END.split(text)) if sentence.strip()), "")
    said = normalise(last)
    is_answer = said.count(" ") < ANSWER_WORDS - 1 or _SAYS_SO.search(last)
    return (*words, said) if is_answer else words


def numbers(text: str) -> list[str]:
    """Return the numbers of a text, in order, signs and what is written together with them included."""
    return [found.lower() for found in _NUMBER.findall(text)]
