"""Lookups give every place of equal values, whatever the keys look like."""

import numpy as np

from basereward.curation.fingerprints.lookup import Lookup, distinct_pairs, join, spans


def test_join_gives_every_place_of_equal_values():
    left, right = np.array([5, 1, 7, 5]), np.array([7, 5, 5, 2])
    found = join(left, right)
    expected = [(a, b) for a in range(4) for b in range(4) if left[a] == right[b]]
    assert sorted(zip(found.values.tolist(), found.keys.tolist(), strict=True)) == expected


def test_hashes_are_found_among_many_others():
    generator = np.random.default_rng(0)
    keys, others = np.split(generator.integers(0, 2**64, 4000, dtype=np.uint64), 2)
    keys[7] = keys[3]
    values = np.concatenate([others, keys[:10]])
    found = Lookup(keys).find(values)
    expected = [(len(others) + place, key) for place in range(10) for key in np.flatnonzero(keys == keys[place])]
    assert sorted(zip(found.values.tolist(), found.keys.tolist(), strict=True)) == sorted(expected)
    assert len(join(values, keys[:0]).keys) == len(join(values[:0], keys).keys) == 0


def test_spans_are_all_places_of_segments():
    found = spans(np.array([5, 0, 9]), np.array([2, 0, 3]))
    assert found.places.tolist() == [5, 6, 9, 10, 11]
    assert found.owners.tolist() == [0, 0, 2, 2, 2]
    assert [side.tolist() for side in distinct_pairs(np.array([2, 1, 2, 2]), np.array([0, 5, 0, 3]))] == [
        [1, 2, 2],
        [5, 0, 3],
    ]
