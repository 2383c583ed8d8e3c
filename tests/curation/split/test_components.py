"""Components against a plain search, and the draw: exact sums, order, fairness."""

from collections import Counter
from itertools import product

import numpy as np
import pytest

from basereward.curation.split.components import Components
from basereward.curation.split.draw import Ordered, closest_counts, draw_parts, order_components


def searched(count: int, edges) -> list[int]:
    """Return the smallest node that each node reaches."""
    near = {node: set() for node in range(count)}
    for left, right in edges:
        near[left].add(right)
        near[right].add(left)
    found = [-1] * count
    for node in range(count):
        todo = [node] if found[node] < 0 else []
        while todo:
            here = todo.pop()
            if found[here] < 0:
                found[here] = node
                todo += near[here]
    return found


@pytest.mark.parametrize("edges", [0, 5, 40, 80, 300])
def test_components_are_those_of_a_search(edges):
    generator = np.random.default_rng(edges)
    pairs = generator.integers(0, 100, (edges, 2))
    components = Components(100)
    for block in np.array_split(pairs, 3):
        components.join(*block.T)
    assert components.labels.tolist() == searched(100, pairs.tolist())


def test_a_long_chain_in_any_order_is_one_component():
    order = np.random.default_rng(0).permutation(5000)
    components = Components(5000)
    components.join(order[:-1], order[1:])
    assert components.sizes().tolist() == [5000]


def test_equal_keys_join_rows_that_may_have_several():
    components = Components(5)
    components.join_equal(np.array([0, 1, 1, 2, 3]), np.array([7, 7, 8, 8, 9], np.uint64))
    assert components.labels.tolist() == [0, 0, 0, 3, 4]
    assert components.sizes().tolist() == [3, 1, 1]


def test_the_closest_sum_is_that_of_trying_all():
    generator = np.random.default_rng(1)
    for _ in range(200):
        available = Counter(generator.integers(1, 12, generator.integers(1, 7)).tolist())
        wanted = int(generator.integers(1, 30))
        choices = product(*(range(count + 1) for count in available.values()))
        sums = {sum(size * count for size, count in zip(available, own, strict=True)) for own in choices}
        best = min(sums, key=lambda total: (abs(total - wanted), total))
        found = closest_counts(available, wanted)
        assert sum(size * count for size, count in found.items()) == best
        assert all(count <= available[size] for size, count in found.items())


def ordered(sizes, sets=None) -> Ordered:
    return Ordered(np.arange(len(sizes)), np.array(sizes), np.array(sets or [0] * len(sizes)))


def test_parts_are_as_close_as_sizes_allow_and_apart():
    drawn = draw_parts(ordered([5, 4, 4, 9]), {"test": 8, "validation": 6})
    assert drawn["test"].tolist() == [1, 2]
    assert drawn["validation"].tolist() == [0]
    assert draw_parts(ordered([50, 60]), {"test": 8})["test"].tolist() == []


def test_an_even_part_takes_as_many_rows_of_each_set_as_it_has():
    # 2 rows of set 1, 40 of set 0, 30 of set 2.
    sets = [0] * 40 + [1] * 2 + [2] * 30
    drawn = draw_parts(ordered([1] * 72, sets), {"test": 5, "sample": 20}, even=["sample"])
    assert np.bincount(np.array(sets)[drawn["test"]], minlength=3).tolist() == [5, 0, 0]
    assert np.bincount(np.array(sets)[drawn["sample"]], minlength=3).tolist() == [9, 2, 9]
    assert not set(drawn["test"]) & set(drawn["sample"])


def test_one_draw_in_many_takes_what_comes_first():
    drawn = draw_parts(ordered([2, 1, 1, 3, 1]), {"test": 4})
    assert drawn["test"].tolist() == [0, 1, 2]


def test_the_order_depends_on_content_and_seed_alone():
    content = np.random.default_rng(0).integers(0, 2**63, 60).astype(np.uint64)
    labels = np.arange(60) // 3
    first = order_components(labels, content, 0)
    # The same rows elsewhere, with other names of the same components.
    places = np.random.default_rng(1).permutation(60)
    moved = order_components(100 - labels[places], content[places], 0)
    assert (100 - moved.names).tolist() == first.names.tolist()
    assert order_components(labels, content, 1).names.tolist() != first.names.tolist()


def test_large_components_do_not_come_first():
    content = np.random.default_rng(0).integers(0, 2**63, 4000).astype(np.uint64)
    labels = np.concatenate([np.repeat(np.arange(200), 10), np.arange(200, 2200)])
    sizes = order_components(labels, content, 0).sizes
    assert abs(np.mean(sizes[:1100] == 10) - 200 / 2200) < 0.02
