"""Balanced bins and the cost of a group."""

import random
from itertools import product

import numpy as np
import pytest

from basereward.encoding.collate import collate
from basereward.encoding.groups import EncodedGroup, GroupLength
from basereward.encoding.media import text_positions
from basereward.encoding.packing import CostModel, balanced_bins, fill_rows
from basereward.encoding.tree import shared_prefix


@pytest.mark.parametrize("seed", range(20))
def test_bins_are_a_balanced_partition(seed):
    draw = random.Random(seed)
    costs = [draw.choice([0.0, 1.0, draw.uniform(0, 100)]) for _ in range(draw.randint(1, 60))]
    number = draw.randint(1, 12)
    bins = balanced_bins(costs, number)
    loads = [sum(costs[item] for item in own) for own in bins]
    assert len(bins) == number
    assert sorted(item for own in bins for item in own) == list(range(len(costs)))
    assert loads == sorted(loads, reverse=True)
    assert all(bins) or len(costs) < number
    assert loads[0] - loads[-1] <= max(costs) + 1e-9


@pytest.mark.parametrize("seed", range(8))
def test_the_dearest_bin_is_near_the_best_possible(seed):
    """Graham: the longest-first rule is at most 4/3 - 1/(3 bins) of the optimum, here found by trying every split."""
    draw = random.Random(seed)
    costs = [draw.uniform(1, 100) for _ in range(7)]
    for number in (2, 3):
        splits = product(range(number), repeat=len(costs))
        optimum = min(
            max(sum(cost for cost, own in zip(costs, split, strict=True) if own == place) for place in range(number))
            for split in splits
        )
        dearest = sum(costs[item] for item in balanced_bins(costs, number)[0])
        assert dearest <= (4 / 3 - 1 / (3 * number)) * optimum + 1e-9


def test_bins_of_a_known_case():
    assert balanced_bins([4.0, 5.0, 6.0, 7.0, 8.0], 2) == [[4, 1, 0], [3, 2]]
    assert balanced_bins([8.0, 7.0, 6.0, 5.0, 4.0], 2) == [[0, 3, 4], [1, 2]]
    assert balanced_bins([3.0, 3.0, 2.0, 2.0, 2.0], 2) == [[0, 2, 4], [1, 3]]
    assert balanced_bins([1.0] * 8, 4) == [[0, 4], [1, 5], [2, 6], [3, 7]]
    assert balanced_bins([0.0] * 3, 3) == [[0], [1], [2]]
    assert balanced_bins([], 2) == [[], []]


def test_bins_do_not_depend_on_anything_but_the_costs():
    costs = [random.Random(0).uniform(1, 9) for _ in range(30)]
    assert balanced_bins(costs, 4) == balanced_bins(list(costs), 4)


def test_cost_in_closed_form():
    length = GroupLength(prefix=10, suffixes=(4, 6), image_tokens=3)
    # Causal attention: 10 * 10 / 2 in the prompt, 4 * (10 + 2) and 6 * (10 + 3) in the responses.
    assert CostModel().of(length) == length.total == 20
    assert CostModel(attention=0.5).of(length) == 20 + 0.5 * (50 + 48 + 78)
    assert CostModel(image=2.0).of(length) == 26
    assert CostModel(0.5, 2.0).of(length) == 20 + 88 + 6
    assert length.longest == 16


def test_sharing_a_prompt_is_cheaper_than_computing_it_twice():
    model = CostModel(attention=0.01, image=1.0)
    alone = [GroupLength(100, (size,), 50) for size in (20, 30)]
    assert model.of(GroupLength(100, (20, 30), 50)) < sum(map(model.of, alone))


@pytest.mark.parametrize(
    ("sizes", "rows"),
    [
        ([], []),
        ([5], [[0]]),
        ([50], [[0]]),
        ([3, 9, 4, 2], [[3, 0, 2], [1]]),
        ([4, 4, 4], [[0, 1], [2]]),
        ([30, 1, 20], [[1], [2], [0]]),
    ],
)
def test_rows_are_filled_by_similar_size_up_to_the_cap(sizes, rows):
    groups = [text_group(np.arange(size)) for size in sizes]
    assert fill_rows(groups, 10, is_shared=False) == rows


def text_group(*sequences):
    """A group of conversations given by their ids."""
    split = shared_prefix(sequences)
    prefix = sequences[0][:split]
    suffixes = tuple(own[split:] for own in sequences)
    return EncodedGroup(prefix, suffixes, text_positions(prefix, 1), tuple(map(len, suffixes)))


@pytest.mark.parametrize("seed", range(10))
def test_a_row_is_filled_with_what_begins_alike_and_computes_no_more_than_was_counted(seed):
    draw = np.random.default_rng(seed)
    images = [draw.integers(0, 9, 20) for _ in range(3)]
    prompts = [np.concatenate([images[draw.integers(3)], draw.integers(0, 9, 4)]) for _ in range(6)]
    groups = [
        text_group(*(np.concatenate([prompts[draw.integers(6)], draw.integers(0, 9, draw.integers(1, 6))]),) * 1)
        for _ in range(30)
    ]
    cap = 90
    rows = fill_rows(groups, cap)
    assert sorted(place for row in rows for place in row) == list(range(30))
    computed = [collate([groups[place] for place in row])["input_ids"].numel() for row in rows]
    assert max(computed) <= cap
    # Each image stands in few rows: alone, every group would compute one.
    apart = fill_rows(groups, cap, is_shared=False)
    assert sum(computed) < 0.5 * sum(group.tokens for group in groups)
    assert len(rows) < len(apart)
