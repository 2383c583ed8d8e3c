"""Scored responses become pairs whose scores differ, the better one first."""

from itertools import product

import pytest

from basereward.data.formats.pairing import parse_score, rank_pairs
from basereward.errors import RowError

SCORES = [scores for length in range(5) for scores in product((None, 1.0, 2.0, 4.0), repeat=length)]


@pytest.mark.parametrize(
    ("pairing", "expected"),
    [
        ("all", [(0, 1), (2, 0), (4, 0), (2, 1), (4, 1)]),
        ("adjacent", [(4, 0), (0, 1)]),
        ("best_worst", [(2, 1)]),
    ],
)
def test_pairings(pairing, expected):
    pairs = rank_pairs([3.0, 1.0, 5.0, None, 5.0], pairing)
    assert [(pair.better, pair.worse) for pair in pairs] == expected


def test_the_first_best_and_the_first_worst_are_taken():
    [pair] = rank_pairs([2.0, 8.0, 8.0, 2.0], "best_worst")
    assert (pair.better, pair.worse, pair.scores) == (1, 0, (8.0, 2.0))


def rated(scores):
    return [score for score in scores if score is not None]


def test_scores_that_make_no_pair_have_a_reason():
    for scores in SCORES:
        if len(set(rated(scores))) > 1:
            continue
        with pytest.raises(RowError) as caught:
            rank_pairs(scores)
        expected = "no_pair" if len(scores) < 2 else "unrated" if len(rated(scores)) < 2 else "tie"
        assert caught.value.reason == expected


def test_the_better_one_is_better_and_the_widest_pair_is_among_all():
    for scores in SCORES:
        if len(set(rated(scores))) < 2:
            continue
        every = rank_pairs(scores)
        known = rated(scores)
        assert len(set(every)) == len(every) == sum(a != b for i, a in enumerate(known) for b in known[:i])
        assert all(scores[pair.better] == pair.scores[0] > pair.scores[1] == scores[pair.worse] for pair in every)
        [widest] = rank_pairs(scores, "best_worst")
        assert widest in every
        assert widest.scores == (max(known), min(known))
        assert len(rank_pairs(scores, "adjacent")) == len(set(known)) - 1


@pytest.mark.parametrize(
    ("value", "score"),
    [("7", 7.0), (7, 7.0), (" 7.5 ", 7.5), ("N/A", None), (None, None), ("nan", None), ("inf", None), ([1], None)],
)
def test_scores_are_finite_numbers_or_nothing(value, score):
    assert parse_score(value) == score
