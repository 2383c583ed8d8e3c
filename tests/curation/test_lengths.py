"""Balancing and biasing pairs by length."""

import numpy as np
import pytest

from basereward.curation.lengths import balance_lengths, bias_lengths, length_buckets
from basereward.errors import DataError

GENERATOR = np.random.default_rng(0)
CHOSEN = GENERATOR.integers(0, 300, 20_000)
# Where the chosen response is the longer one, it is so by more: sign and size go together.
REJECTED = np.where(GENERATOR.random(20_000) < 0.8, CHOSEN // 2, CHOSEN + 9)


def test_a_bucket_holds_differences_up_to_the_next_power_of_two() -> None:
    differences = np.array([0, 1, 2, 3, 4, 7, 8, 2**40])
    assert length_buckets(differences, np.zeros(8, dtype=int)).tolist() == [0, 1, 2, 2, 3, 3, 4, 41]
    assert length_buckets(-differences, np.zeros(8, dtype=int)).tolist() == [0, 1, 2, 2, 3, 3, 4, 41]


def test_every_bucket_is_balanced_and_as_large_as_possible() -> None:
    kept, buckets = balance_lengths(CHOSEN, REJECTED), length_buckets(CHOSEN, REJECTED)
    assert kept[buckets == 0].all()
    for bucket in range(1, buckets.max() + 1):
        inside = buckets == bucket
        longer, shorter = inside & (CHOSEN > REJECTED), inside & (CHOSEN < REJECTED)
        assert kept[longer].sum() == kept[shorter].sum() == min(longer.sum(), shorter.sum())


def test_balanced_pairs_lose_nothing() -> None:
    assert balance_lengths(np.array([5, 3, 9, 4]), np.array([3, 5, 4, 9])).all()


def test_the_seed_decides_which_pairs_stay() -> None:
    first, again, other = (balance_lengths(CHOSEN, REJECTED, seed) for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()
    assert first.sum() == other.sum()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_the_bias_is_the_one_asked_for_at_the_largest_size(share: float) -> None:
    kept = bias_lengths(CHOSEN, REJECTED, share)
    longer, shorter = CHOSEN > REJECTED, CHOSEN < REJECTED
    assert kept[CHOSEN == REJECTED].all()
    found = kept[longer].sum() / kept[longer | shorter].sum()
    assert found == pytest.approx(share, abs=2e-4)
    assert kept[longer].all() or kept[shorter].all()


def test_balancing_undoes_a_bias() -> None:
    biased = bias_lengths(CHOSEN, REJECTED, 0.9)
    chosen, rejected = CHOSEN[biased], REJECTED[biased]
    kept = balance_lengths(chosen, rejected)
    assert (chosen > rejected)[kept].sum() == (chosen < rejected)[kept].sum()


def test_a_share_outside_of_its_range_is_refused() -> None:
    with pytest.raises(DataError, match=r"between 0 and 1, found 1\.5"):
        bias_lengths(CHOSEN, REJECTED, 1.5)
