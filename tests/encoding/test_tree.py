"""The radix forest: every distinct beginning once, every sequence whole."""

import numpy as np
import pytest

from basereward.encoding.tree import ROOT, grow


def chain(forest, node):
    """The nodes from the root to a node."""
    found = []
    while node != ROOT:
        found.insert(0, node)
        node = forest.nodes[node].parent
    return found


def draw_sequences(seed):
    """Sequences over few tokens, some of them equal, some the beginning of others."""
    draw = np.random.default_rng(seed)
    made = [draw.integers(0, draw.integers(1, 4), draw.integers(1, 12)) for _ in range(draw.integers(1, 40))]
    grown = [np.concatenate([made[draw.integers(len(made))], draw.integers(0, 3, 3)]) for _ in range(10)]
    return made + grown


@pytest.mark.parametrize("seed", range(30))
def test_every_distinct_beginning_is_in_one_node_and_every_sequence_is_whole(seed):
    sequences = draw_sequences(seed)
    forest = grow(sequences)
    for place, own in enumerate(sequences):
        nodes = [forest.nodes[number] for number in chain(forest, forest.ends[place])]
        joined = [sequences[node.sequence][node.start : node.end] for node in nodes]
        assert np.concatenate(joined).tolist() == own.tolist()
        assert [node.start for node in nodes] == [0, *(node.end for node in nodes[:-1])]
    beginnings = {tuple(own[:end].tolist()) for own in sequences for end in range(1, len(own) + 1)}
    assert sum(node.end - node.start for node in forest.nodes) == len(beginnings)


@pytest.mark.parametrize("seed", range(10))
def test_nodes_are_the_fewest_and_a_subtree_is_one_stretch(seed):
    sequences = draw_sequences(seed)
    forest = grow(sequences)
    children = [[] for _ in forest.nodes]
    for number, node in enumerate(forest.nodes):
        assert node.parent < number
        assert node.end > node.start
        if node.parent != ROOT:
            children[node.parent].append(number)
    # A node that neither branches nor ends a sequence would be part of its only child.
    assert all(len(own) != 1 or number in forest.ends for number, own in enumerate(children))

    def last(number):
        return max([number, *map(last, children[number])])

    for number, own in enumerate(children):
        expected = number + 1
        for child in own:
            assert child == expected
            expected = last(child) + 1


def test_equal_sequences_and_beginnings_of_others():
    forest = grow([np.array(own) for own in ([1, 2, 3], [1, 2], [1, 2, 3], [4], [1, 2, 5])])
    assert [(node.parent, node.start, node.end) for node in forest.nodes] == [
        (ROOT, 0, 2),
        (0, 2, 3),
        (0, 2, 3),
        (ROOT, 0, 1),
    ]
    assert forest.ends == [1, 0, 1, 3, 2]


def test_a_chain_of_a_thousand_does_not_nest():
    forest = grow([np.arange(size) for size in range(1, 1200)])
    assert len(forest.nodes) == 1199
    assert forest.ends == list(range(1199))
