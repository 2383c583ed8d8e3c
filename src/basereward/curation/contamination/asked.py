"""Which questions of benchmarks the prompts of rows ask, wherever in a prompt they stand.

Each user turn is compared alone, and all of a row together, so that neither a system prompt nor other turns hide a
question. A turn asks a question that it equals or is near, that it holds within a template or a longer text, and a
short one that stands in it as a sentence.
"""

import re
from collections import Counter
from typing import NamedTuple

import datasets
import numpy as np

from basereward.curation.contamination.questions import HELD_SHARE, LONG_WORDS, NEAR_SIMILARITY, Questions
from basereward.curation.contamination.typos import gaps, is_misspelt
from basereward.curation.fingerprints.decisive import numbers
from basereward.curation.fingerprints.lookup import distinct_pairs, spans
from basereward.curation.fingerprints.text import Words, fold, hash_words, mix, shingles, text_hashes
from basereward.data.columns import user_turns

# How a turn asks a question, the strongest first. What is only WITHIN it is too short to be more than a chance.
EQUAL, NEAR, HELD, WITHIN, NOT_ASKED = range(5)
# A question of fewer than LONG_WORDS is held by a turn of no more other words than these, and is within others.
SHORT_WORDS, REST_WORDS, LEAST_WORDS = 4, 8, 3
# So many sentences in a row are compared with a question.
_RUN = 4
_BATCH_ROWS = 2_000
_SENTENCE_END = re.compile(r"(?<=[.?!:])\s+|(?<=[\u3002\uff1f\uff01\uff1a])|\s*\n\s*")


class AskedQuestions(NamedTuple):
    """Places of rows, the questions that they ask, and how; each row and question once, sorted."""

    rows: np.ndarray
    questions: np.ndarray
    how: np.ndarray

    def find(self, rows: np.ndarray, questions: np.ndarray) -> np.ndarray:
        """Return how each row asks the question beside it."""
        known, wanted = _codes(self.rows, self.questions), _codes(rows, questions)
        place = np.minimum(np.searchsorted(known, wanted), max(len(known) - 1, 0))
        if not len(known):
            return np.full(len(wanted), NOT_ASKED)
        return np.where(known[place] == wanted, self.how[place], NOT_ASKED)


class _Hits(NamedTuple):
    """Turns of a batch, and the questions that they ask in one way."""

    turns: np.ndarray
    questions: np.ndarray
    how: np.ndarray


class _Turns:
    """The user turns of a batch of rows, all of a row together too, cut into sentences whose words are hashed."""

    def __init__(self, rows: np.ndarray, texts: list[str]) -> None:
        edges = np.flatnonzero(np.diff(rows, prepend=-1, append=-1))
        several = [edge for edge in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True) if edge[1] - edge[0] > 1]
        self.rows = np.concatenate([rows, rows[[start for start, _ in several]]])
        self.texts = texts + ["\n".join(texts[start:stop]) for start, stop in several]
        cut = [_SENTENCE_END.split(text) for text in self.texts]
        self.sentences = [sentence for own in cut for sentence in own]
        self.turn_of = np.repeat(np.arange(len(cut)), [len(own) for own in cut])
        self.spoken = hash_words(self.sentences)
        # The words of a text are those of its sentences, one after the other.
        firsts = np.searchsorted(self.turn_of, np.arange(len(cut) + 1))
        self.words = Words(self.spoken.hashes, self.spoken.starts[firsts])
        self.sizes = np.diff(self.words.starts)


def find_questions(rows: datasets.Dataset, kept: np.ndarray, questions: Questions) -> AskedQuestions:
    """Return which questions the prompts of the kept rows ask; rows are numbered by their places in ``kept``."""
    found = [_Hits(*np.empty((3, 0), np.int64))]
    prompts = rows.select_columns("prompt").with_format("arrow").select(kept)
    for number, table in enumerate(prompts.iter(batch_size=_BATCH_ROWS)):
        batch = _Turns(*user_turns(table["prompt"].combine_chunks()))
        for look in (_whole, _sentences, _misspelt_turns, _misspelt_sentences, _similar):
            hits = look(batch, questions)
            found.append(hits._replace(turns=batch.rows[hits.turns] + number * _BATCH_ROWS))
    row, question, how = (np.concatenate(values) for values in zip(*found, strict=True))
    order = np.lexsort((how, question, row))
    first = order[np.unique(_codes(row[order], question[order]), return_index=True)[1]]
    return AskedQuestions(row[first], question[first], how[first])


def _codes(rows: np.ndarray, questions: np.ndarray) -> np.ndarray:
    return rows.astype(np.int64) << 32 | questions


def _whole(batch: _Turns, questions: Questions) -> _Hits:
    hashes = fold(batch.words.hashes, batch.words.starts[:-1], batch.words.starts[1:])
    wordless = np.flatnonzero(batch.sizes == 0)
    hashes[wordless] = text_hashes([batch.texts[turn] for turn in wordless.tolist()])
    hit, question = questions.whole.find(hashes)
    return _Hits(hit, question, np.full(len(hit), EQUAL))


def _sentences(batch: _Turns, questions: Questions) -> _Hits:
    """Return the questions that stand in turns as one sentence or a few."""
    parts = []
    for run in range(1, _RUN + 1):
        begin = np.arange(max(len(batch.sentences) - run + 1, 0))
        begin = begin[batch.turn_of[begin] == batch.turn_of[begin + run - 1]]
        starts, ends = batch.spoken.starts[begin], batch.spoken.starts[begin + run]
        hit, question = questions.whole.find(fold(batch.spoken.hashes, starts, ends))
        turn, size = batch.turn_of[begin[hit]], (ends - starts)[hit]
        is_held = (size >= LONG_WORDS) | ((size >= SHORT_WORDS) & (batch.sizes[turn] - size <= REST_WORDS))
        hits = _Hits(turn, question, np.where(is_held, HELD, WITHIN))
        parts.append(_select(hits, size >= LEAST_WORDS))
    return _Hits(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _misspelt_turns(batch: _Turns, questions: Questions) -> _Hits:
    return _misspelt(batch.texts, batch.words, np.arange(len(batch.texts)), questions)


def _misspelt_sentences(batch: _Turns, questions: Questions) -> _Hits:
    return _misspelt(batch.sentences, batch.spoken, batch.turn_of, questions)


def _misspelt(texts: list[str], words: Words, turn_of: np.ndarray, questions: Questions) -> _Hits:
    """Return the questions that texts are but for one misspelt word."""
    lookup, theirs = questions.gaps
    own = gaps(words)
    hit, key = lookup.find(own.hashes)
    text, question, place = own.texts[hit], theirs.texts[key], own.words[hit]
    is_other = (
        words.hashes[words.starts[text] + place] != questions.words.hashes[questions.words.starts[question] + place]
    )
    hits = _select(_Hits(text, question, place), is_other)
    is_same = [is_misspelt(texts[own], questions.texts[asked], at) for own, asked, at in zip(*hits, strict=True)]
    text, question, place = _select(hits, np.array(is_same, dtype=bool))
    return _Hits(turn_of[text], question, np.full(len(text), NEAR))


def _similar(batch: _Turns, questions: Questions) -> _Hits:
    """Return the questions of many words that turns are near, or that they hold."""
    made = shingles(batch.words)
    hit, key = questions.rare.lookup.find(made.hashes)
    turn_of = np.repeat(np.arange(len(batch.texts)), np.diff(made.starts))
    turn, question = distinct_pairs(turn_of[hit], questions.rare.questions[key])
    shared, sizes = _count_shared(made, turn, questions.shingles, question)
    asked = np.diff(questions.shingles.starts)[question]
    is_near = shared >= NEAR_SIMILARITY * (asked + sizes - shared)
    hits = _select(_Hits(turn, question, np.where(is_near, NEAR, HELD)), is_near | (shared >= HELD_SHARE * asked))
    is_same = [
        _same_numbers(batch.texts[turn], questions.texts[asked], how) for turn, asked, how in zip(*hits, strict=True)
    ]
    return _select(hits, np.array(is_same, dtype=bool))


def _same_numbers(text: str, question: str, how: int) -> bool:
    """Return whether a text has the numbers of a question, in its order and no others where it is the whole text."""
    own, asked = numbers(text), numbers(question)
    return own == asked if how == NEAR else not Counter(asked) - Counter(own)


class _Shared(NamedTuple):
    """How many distinct shingles two texts share, and how many the first one has."""

    both: np.ndarray
    first: np.ndarray


def _count_shared(left: Words, texts: np.ndarray, right: Words, others: np.ndarray) -> _Shared:
    """Count the distinct shingles of pairs of texts; those of ``right`` are distinct, and there are some of each."""
    known, place = np.unique(texts, return_inverse=True)
    own = spans(left.starts[known], np.diff(left.starts)[known])
    # The shingles of all these texts in one table: each scattered by the number of its text.
    keys, first = np.unique(_scatter(left.hashes[own.places], own.owners), return_index=True)
    sizes = np.bincount(own.owners[first], minlength=len(known))
    asked = spans(right.starts[others], np.diff(right.starts)[others])
    wanted = _scatter(right.hashes[asked.places], place.reshape(-1)[asked.owners])
    at = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
    is_shared = keys[at] == wanted if len(keys) else np.zeros(len(wanted), dtype=bool)
    return _Shared(np.bincount(asked.owners[is_shared], minlength=len(others)), sizes[place.reshape(-1)])


def _scatter(hashes: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    return mix(hashes ^ mix(numbers.astype(np.uint64)))


def _select(hits: _Hits, mask: np.ndarray) -> _Hits:
    return _Hits(*(values[mask] for values in hits))
