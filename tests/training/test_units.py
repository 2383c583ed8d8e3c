"""Units cost what their trees cost, and are cut so that ranks finish together."""

import itertools

import numpy as np
import pytest

from basereward.encoding.groups import GroupLength
from basereward.encoding.packing import CostModel
from basereward.encoding.sharing import Further, PairSharing
from basereward.errors import TrainingError
from basereward.training.bundles import Grouping
from basereward.training.sampler import PairSampler, plan_bins, waiting
from basereward.training.units import PARTS, SharedWork
from tests.training.made_pairs import MODEL, coded_pairs, made_pairs

GROUPINGS = [Grouping("prompt"), Grouping("image")]


@pytest.fixture(scope="module")
def pairs() -> PairSharing:
    return made_pairs(images=400)


def sampler_of(pairs: PairSharing, grouping: Grouping | None, ranks: int = 1, bins: int = 1, **others) -> PairSampler:
    nodes = pairs.nodes(MODEL).sum(axis=1)
    tokens = pairs.sequence_tokens.sum(axis=1) - pairs.prompt_tokens
    shared = SharedWork(pairs, MODEL, grouping) if grouping else None
    return PairSampler(tokens, nodes, 128, ranks, bins, shared=shared, **others)


@pytest.mark.parametrize("grouping", GROUPINGS)
@pytest.mark.parametrize("bins", [1, 8, 64, 128])
def test_units_are_all_pairs_once_and_cost_what_their_trees_do(
    pairs: PairSharing, grouping: Grouping, bins: int
) -> None:
    steps = sampler_of(pairs, grouping).steps(epoch=0)[:4]
    work = SharedWork(pairs, MODEL, grouping)
    units = work.cut(steps, bins)
    members = [units.laid.pairs[start:end].tolist() for start, end in zip(units.starts, units.ends, strict=True)]
    for number, step in enumerate(steps):
        own = [unit for unit, of in zip(members, units.steps, strict=True) if of == number]
        assert sorted(itertools.chain(*own)) == sorted(step.tolist())
        assert len(own) >= bins
    trees = [pairs.tree(own) for own in members]
    assert units.costs / PARTS == pytest.approx([MODEL.of(tree) for tree in trees], rel=1e-4)
    assert work.measure(units).tolist() == [tree.total for tree in trees]
    # What is drawn together shares; what is not shares nothing that counts.
    assert all(len(np.unique(work.keys[own])) == 1 for own in members)


def test_a_tree_holds_each_node_once() -> None:
    """Two pairs of three responses to one prompt, a third of another prompt of the image, and one of text."""
    sharing = coded_pairs([0, 0, 1, 2], [5, 5, 5, -1], [(0, 1), (2, 0), (0, 1), (0, 1)])
    tree = sharing.tree([0, 1, 2, 3])
    assert sorted(tree.nodes) == sorted([(100, 0), (20, 100), (20, 100), (20, 0), *[(10, 120)] * 5, *[(10, 20)] * 2])
    assert tree.images == (100,)
    assert tree.total == 230


def test_a_tree_of_one_pair_costs_what_its_group_does() -> None:
    model = CostModel(attention=0.01, image=2.0)
    group = GroupLength(prefix=120, suffixes=(10, 10), image_tokens=100)
    assert model.of(coded_pairs([0], [3]).tree([0])) == pytest.approx(model.of(group))


@pytest.mark.parametrize("grouping", GROUPINGS)
def test_a_step_alone_is_cut_as_it_is_among_others(pairs: PairSharing, grouping: Grouping) -> None:
    """The run cuts a step when it comes, and the plan all of them: else the plan's cap would not be the run's."""
    sampler = sampler_of(pairs, grouping, ranks=24)
    steps = sampler.steps(epoch=0)
    together = list(sampler.bins(steps, 24))
    assert together == [bins for step in steps for bins in sampler.bins(step[None], 24)]


@pytest.mark.parametrize("grouping", GROUPINGS)
@pytest.mark.parametrize(("ranks", "bins"), [(1, 1), (4, 2), (64, 1), (64, 2)])
def test_ranks_and_micro_batches_are_filled_with_the_same_steps(
    pairs: PairSharing, grouping: Grouping, ranks: int, bins: int
) -> None:
    steps = sampler_of(pairs, grouping).steps(epoch=1)
    for rank in (0, ranks - 1):
        sampler = sampler_of(pairs, grouping, ranks, bins, rank=rank)
        sampler.set_epoch(1)
        own = list(sampler)
        assert len(own) == len(sampler) == len(steps) * bins
        assert own == list(sampler), "resuming in mid-epoch begins the same epoch again and skips what was done"
        assert all(own)
    dealt = [sampler._assign(step.tolist(), []) for step in steps[:8]]
    for step, of_ranks in zip(steps, dealt, strict=False):
        assert sorted(pair for rank in of_ranks for part in rank for pair in part) == sorted(step.tolist())


def test_what_is_drawn_together_stands_in_one_micro_batch(pairs: PairSharing) -> None:
    sampler = sampler_of(pairs, Grouping("prompt"), ranks=4)
    step = sampler.steps(epoch=0)[0]
    homes = {pair: home for home, own in enumerate(next(sampler.bins(step[None], 4))) for pair in own.pairs}
    rows: dict[int, set[int]] = {}
    for pair, home in homes.items():
        rows.setdefault(int(pairs.prompt[pair]), set()).add(home)
    assert all(len(found) == 1 for found in rows.values())


@pytest.mark.parametrize("grouping", GROUPINGS)
def test_windows_sort_bundles_by_cost_and_keep_the_caps(pairs: PairSharing, grouping: Grouping) -> None:
    plain, windowed = (sampler_of(pairs, grouping, window=window) for window in (1, 8))
    spread = [np.std([plain.costs[step].mean() for step in own.steps(epoch=0)]) for own in (plain, windowed)]
    assert spread[1] > 3 * spread[0]
    for step in windowed.steps(epoch=0):
        assert max(np.unique(pairs.prompt[step], return_counts=True)[1]) <= 8


@pytest.mark.parametrize("ranks", [1, 4])
@pytest.mark.parametrize("grouping", GROUPINGS)
def test_micro_batches_stay_under_the_cap(pairs: PairSharing, grouping: Grouping, ranks: int) -> None:
    sampler = sampler_of(pairs, grouping, ranks)
    plan = plan_bins(sampler, 6_000, epochs=2)
    sampler.place(0, plan.grad_accum)
    sizes = [
        pairs.tree(own).total
        for epoch in (0, 1)
        for step in sampler.steps(epoch)
        for rank in sampler._assign(step.tolist(), [])
        for own in rank
    ]
    assert max(sizes) == plan.largest <= 6_000
    alone = plan_bins(sampler_of(pairs, None, ranks), 6_000, epochs=2)
    assert plan.grad_accum < 0.75 * alone.grad_accum
    with pytest.raises(TrainingError, match=r"One pair has \d+ tokens, more than tokens_per_microbatch 1000"):
        plan_bins(sampler, 1_000)


def test_what_a_pair_takes_beside_its_tree_is_counted_for_it_alone() -> None:
    sharing = coded_pairs([0, 0, 1, 1])
    further = Further(np.array([7, 0, 0, 0]), np.array([70.0, 0.0, 0.0, 0.0]))
    laid = SharedWork(sharing, MODEL, Grouping("prompt")).lay(np.array([[0, 1, 2, 3]]))
    works = [SharedWork(sharing, MODEL, Grouping("prompt"), own) for own in (None, further)]
    # Two prompts of 20 tokens with four responses of 10 each.
    assert [work.measure(work.whole(laid)).tolist() for work in works] == [[60, 60], [67, 60]]
    plain, more = (work.whole(laid).costs for work in works)
    assert (more - plain).tolist() == [70 * PARTS, 0]


def ratios(pairs: PairSharing, grouping: Grouping, ranks: int, steps: int = 40) -> tuple[float, float]:
    """Work and step time of pairs that are drawn one by one, over those of pairs that are drawn together."""
    found = []
    for sampler in (sampler_of(pairs, None), sampler_of(pairs, grouping)):
        dealt = list(sampler.bins(sampler.steps(epoch=0)[:steps], ranks))
        found.append((sum(own.cost for bins in dealt for own in bins), sum(waiting(bins, ranks) for bins in dealt)))
    (work, waited), (shared, shared_waited) = found
    return work / shared, waited / shared_waited


# Documented in docs/performance.md.
TABLE = {
    Grouping("prompt", 2): {1: 1.50, 8: 1.49, 16: 1.48, 32: 1.49, 64: 1.33},
    Grouping("prompt", 8): {1: 2.25, 8: 2.21, 16: 2.18, 32: 2.02, 64: 1.34},
    Grouping("image", 8, 16): {1: 3.11, 8: 3.04, 16: 2.77, 32: 2.29, 64: 1.51},
}


@pytest.mark.parametrize("grouping", TABLE)
def test_the_gain_over_pairs_that_are_drawn_one_by_one(grouping: Grouping) -> None:
    pairs = made_pairs(images=1000)
    found = {ranks: ratios(pairs, grouping, ranks)[1] for ranks in TABLE[grouping]}
    assert found == pytest.approx(TABLE[grouping], rel=0.07)
