"""Rules of ensembles against hand-computed values, and what they must not depend on."""

import itertools
import random
from statistics import fmean, stdev

import pytest

from basereward.scoring.compose.rules import lower_bound, vote_shares, weighted_mean, weighted_spread


def test_weighted_values_by_hand():
    # (0.6 x 1 + 0.3 x 4) / 0.9
    assert weighted_mean([1.0, 4.0], [0.6, 0.3]) == pytest.approx(2.0)
    assert weighted_spread([1.0, 4.0, 7.0], [1, 1, 1]) == pytest.approx(3.0)
    # mean 2, sum(w) - sum(w^2) / sum(w) = 0.9 - 0.45 / 0.9 = 0.4; (0.6 x 1 + 0.3 x 4) / 0.4 = 4.5
    assert weighted_spread([1.0, 4.0], [0.6, 0.3]) == pytest.approx(4.5**0.5)
    assert lower_bound([1.0, 4.0, 7.0], [1, 1, 1], 0.5) == pytest.approx(2.5)


def test_equal_weights_are_the_plain_mean_and_deviation():
    values = [random.Random(0).gauss(0, 3) for _ in range(7)]
    assert weighted_mean(values, [2.5] * 7) == pytest.approx(fmean(values), abs=1e-12)
    assert weighted_spread(values, [2.5] * 7) == pytest.approx(stdev(values), abs=1e-12)


def test_one_member_has_no_spread():
    assert weighted_spread([5.0], [0.7]) == 0
    assert weighted_spread([5.0, 9.0], [0.7, 0.0]) == 0


def test_the_order_of_members_changes_no_bit():
    values, weights = [1e16, 1.0, -1e16, 0.1, 0.2], [0.1, 0.7, 0.1, 0.3, 0.9]
    found = set()
    for order in itertools.permutations(range(5)):
        own = [values[place] for place in order], [weights[place] for place in order]
        found.add((weighted_mean(*own), weighted_spread(*own)))
    assert len(found) == 1


def test_votes_by_hand():
    # Against b: a wins with two of three voters. Against c: a wins with one, ties with one. c against b: two of three.
    rewards = [[3, 1, 2], [1, 0, 1], [0, 5, 2]]
    a, b, c = vote_shares(rewards, [1, 1, 1], "tie")
    assert a == pytest.approx(((2 / 3) + (1 + 0.5 + 0) / 3) / 2)
    assert b == pytest.approx((1 / 3 + 1 / 3) / 2)
    assert c == pytest.approx((2 / 3 + (0 + 0.5 + 1) / 3) / 2)
    assert a + b + c == pytest.approx(1.5)


def test_two_voters_who_disagree_tie_or_the_mean_decides():
    rewards = [[2.0, 1.0], [0.0, 5.0]]
    assert vote_shares(rewards, [1, 1], "tie") == [0.5, 0.5]
    assert vote_shares(rewards, [1, 1], "mean") == [0.0, 1.0]
    assert vote_shares(rewards, [2, 1], "mean") == pytest.approx([2 / 3, 1 / 3])


def test_a_vote_forgets_scales():
    rewards = [[1.0, 2.0, 0.5], [3.0, 1.0, 2.0], [0.0, 2.0, 1.0]]
    scaled = [[100 * one for one in rewards[0]], rewards[1], [one - 50 for one in rewards[2]]]
    assert vote_shares(rewards, [1, 1, 1], "tie") == vote_shares(scaled, [1, 1, 1], "tie")


def test_a_tie_of_votes_is_one_for_both_whatever_rounding_says():
    # 0.3 against 0.1 + 0.2, which is a little more in binary.
    rewards = [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    assert vote_shares(rewards, [0.3, 0.1, 0.2], "tie") == [0.5, 0.5]
    assert vote_shares([[9.0, 0.0], *rewards[1:]], [0.3, 0.1, 0.2], "mean") == [1.0, 0.0]
