"""Conflicts, score filters and the cap on pairs per prompt, on hashes and ratings."""

import numpy as np
import pytest

from basereward.curation.conflicts import conflicting_pairs
from basereward.curation.filters import beyond_cap, small_gaps, small_ratios
from basereward.errors import DataError

NAN = float("nan")


def hashes(values: str) -> np.ndarray:
    return np.array([ord(value) for value in values], dtype=np.uint64)


def test_both_directions_once_is_a_conflict_of_both() -> None:
    found = conflicting_pairs(hashes("ppp"), hashes("aba"), hashes("bac"))
    assert found.tolist() == [True, True, False]


def test_the_majority_of_a_conflict_stays() -> None:
    found = conflicting_pairs(hashes("pppp"), hashes("aaba"), hashes("bbab"))
    assert found.tolist() == [False, False, True, False]


def test_the_same_responses_to_another_prompt_are_no_conflict() -> None:
    assert not conflicting_pairs(hashes("pq"), hashes("ab"), hashes("ba")).any()


def test_conflicts_of_random_pairs_are_those_of_counting() -> None:
    generator = np.random.default_rng(0)
    prompt, chosen, rejected = generator.integers(0, 6, (3, 400)).astype(np.uint64)
    different = chosen != rejected
    prompt, chosen, rejected = prompt[different], chosen[different], rejected[different]
    rows = list(zip(prompt, chosen, rejected, strict=True))
    expected = [0 < rows.count((p, r, c)) >= rows.count((p, c, r)) for p, c, r in rows]
    assert conflicting_pairs(prompt, chosen, rejected).tolist() == expected


def test_unrated_pairs_pass_gap_and_ratio() -> None:
    scores = np.array([[4, 3], [4, 1], [NAN, NAN], [3, 4], [2, 0], [NAN, 1]])
    assert small_gaps(scores, 2).tolist() == [True, False, False, True, False, False]
    assert small_ratios(scores, 2).tolist() == [True, False, False, True, True, False]


def test_a_gap_as_large_as_the_minimum_stays() -> None:
    assert not small_gaps(np.array([[3.0, 1.0]]), 2).any()
    assert not small_ratios(np.array([[4.0, 2.0]]), 2).any()


def test_each_prompt_keeps_as_many_as_the_cap() -> None:
    prompt = np.random.default_rng(0).integers(0, 40, 1000).astype(np.uint64)
    beyond = beyond_cap(prompt, 5)
    for value in np.unique(prompt):
        assert (~beyond[prompt == value]).sum() == min(5, (prompt == value).sum())
    assert (beyond == beyond_cap(prompt, 5)).all()
    assert (beyond != beyond_cap(prompt, 5, seed=1)).any()
    assert not beyond_cap(prompt[:0], 5).size


def test_a_cap_below_one_is_refused() -> None:
    with pytest.raises(DataError, match="found the cap 0"):
        beyond_cap(hashes("a"), 0)
