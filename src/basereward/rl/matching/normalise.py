"""Texts of answers without what does not change their meaning: typography, markup, case, articles, a full stop."""

import re
import unicodedata

# Longer texts are no short answers; nothing below is asked to look at more.
LONGEST = 512
_SUPERSCRIPTS = {ord(mark): f"^{digit}" for digit, mark in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}
_SUBSCRIPTS = {ord(mark): f"_{digit}" for digit, mark in enumerate("₀₁₂₃₄₅₆₇₈₉")}
# NFKC would read 5² as 52, and 1½ as 11/2.
_BEFORE = _SUPERSCRIPTS | _SUBSCRIPTS | {0x2212: "-", 0x2013: "-", 0xBA: "°"}
_VULGAR = re.compile(r"(?<=\d)(?=[\u00bc-\u00be\u2150-\u215e])")
_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff\u00ad]")
_WRAPPED = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|mbox|operatorname|boxed)\s*\{([^{}]*)\}")
_REPLACED = (
    (re.compile(r"\\(?:left|right|displaystyle|,|;|!|:|quad|qquad)(?![a-zA-Z])"), " "),
    (re.compile(r"\\([%$#&_ ])"), r"\1"),
    (re.compile(r"\^\s*\{?\s*\\circ\s*\}?"), "°"),
    (re.compile(r"\\[()\[\]]"), " "),
    (re.compile(r"\\[dt]frac"), r"\\frac"),
    (re.compile(r"[*`]{1,3}(?=\S)|(?<=\S)[*`]{1,3}(?=\W|$)"), ""),
    (re.compile(r"\s+"), " "),
)
# Deeper wrappers than these are no answer that anyone would write.
_MOST_WRAPPERS = 4
_ARTICLE = re.compile(r"(?:the|an?)\s+(?=\S)")
_QUOTES = "\"'\u201c\u201d\u2018\u2019\u00ab\u00bb"


def plain(text: str) -> str:
    """Return a text in one typography, without markup around it and without a full stop at its end."""
    text = _VULGAR.sub(" ", text.translate(_BEFORE))
    text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).replace("\u2044", "/")
    for _ in range(_MOST_WRAPPERS):
        text = _WRAPPED.sub(r"\1", text)
    for pattern, replacement in _REPLACED:
        text = pattern.sub(replacement, text)
    return text.strip().strip("$").strip(f" {_QUOTES}").rstrip(" .,;:!\u3002")


def fold(text: str) -> str:
    """Return ``plain`` without case."""
    return plain(text).casefold()


def without_article(text: str) -> str:
    """Return a folded text without the article in front of it."""
    return _ARTICLE.sub("", text, count=1) if _ARTICLE.match(text) else text
