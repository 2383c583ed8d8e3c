"""Does the form of a text change a ranking that it should not? Both responses, or the prompt, written otherwise."""

import re
from collections.abc import Sequence
from random import Random

from basereward.benchmarks.items import BenchmarkItem
from basereward.data.schema import Messages
from basereward.evaluation.audit.edits import change_prompt, change_responses, change_text
from basereward.evaluation.audit.measures import changed_rankings
from basereward.evaluation.audit.probe import Probe, each_item

HEADING = "## Answer\n\n"
OPENINGS = ("Here is my answer to your question. ", "Thank you for asking this. ", "Let me answer what you asked. ")
# One word of so many has two letters exchanged, and at least one.
WORDS_PER_TYPO = 8
# Inside a word of five letters two can be exchanged that are neither its first nor its last.
_WORD = re.compile(r"[A-Za-z]{5,}")


def mistype(text: str, generator: Random) -> str:
    """Return a text with two neighbouring letters exchanged inside some of its longer words; both differ."""
    places = [place for found in _WORD.finditer(text) for place in _exchangeable(found)]
    if not places:
        return text
    wanted = max(1, len(text.split()) // WORDS_PER_TYPO)
    by_word = dict(generator.sample(places, len(places)))
    chosen = generator.sample(sorted(by_word.items()), min(wanted, len(by_word)))
    letters = list(text)
    for _, place in chosen:
        letters[place], letters[place + 1] = letters[place + 1], letters[place]
    return "".join(letters)


def _exchangeable(found: re.Match[str]) -> Sequence[tuple[int, int]]:
    """Return the start of a word with each place inside it whose letter differs from the next one."""
    word, start = found.group(), found.start()
    return [(start, start + place) for place in range(1, len(word) - 2) if word[place] != word[place + 1]]


def _mistype_prompt(item: BenchmarkItem, generator: Random) -> BenchmarkItem:
    def change(prompt: Messages) -> Messages:
        return (*prompt[:-1], change_text(prompt[-1], lambda text: mistype(text, generator)))

    return change_prompt(item, change)


def _has_long_word(item: BenchmarkItem) -> bool:
    last = item.prompt[-1]
    texts = [part.text for part in last.content if part.type == "text"]
    return bool(texts) and any(_exchangeable(found) for found in _WORD.finditer(texts[-1]))


def _put_under_heading(item: BenchmarkItem, generator: Random) -> BenchmarkItem:
    return change_responses(item, lambda text: HEADING + text)


def _open(item: BenchmarkItem, generator: Random) -> BenchmarkItem:
    opening = generator.choice(OPENINGS)
    return change_responses(item, lambda text: opening + text)


PROBES = (
    Probe(
        "format",
        "same ranking",
        "How many rankings change when both responses stand under a heading?",
        changed_rankings,
        each_item(_put_under_heading),
    ),
    Probe(
        "length",
        "same ranking",
        "How many rankings change when both responses begin with the same needless sentence?",
        changed_rankings,
        each_item(_open),
    ),
    Probe(
        "typo",
        "same ranking",
        "How many rankings change when letters are exchanged within words of the prompt?",
        changed_rankings,
        each_item(_mistype_prompt, _has_long_word),
        nothing="no prompt has a word of five letters",
    ),
)
