"""Steps depend on seed and epoch alone, hold every pair once, and cost the same on all ranks."""

import itertools

import numpy as np
import pytest

from basereward.encoding.groups import GroupLength
from basereward.encoding.packing import CostModel
from basereward.errors import TrainingError
from basereward.training.sampler import PairSampler, plan_bins

GRID = list(itertools.product((1, 2, 4), (1, 2)))


def mixed_lengths(count: int, seed: int = 0) -> list[GroupLength]:
    """Prompts of text, or with one image of up to 2,560 tokens, and two responses of any length."""
    random = np.random.default_rng(seed)
    images = random.integers(256, 2560, count) * (random.random(count) < 0.6)
    prompts = np.exp(random.normal(4.5, 0.8, count)).astype(int) + 20
    answers = np.exp(random.normal(5.0, 0.8, (count, 2))).astype(int) + 1
    return [
        GroupLength(int(prompt + image), tuple(map(int, both)), int(image))
        for prompt, image, both in zip(prompts, images, answers, strict=True)
    ]


def work(count: int, seed: int = 0) -> tuple[list[int], list[float]]:
    """Tokens and costs, with the attention and vision shares of a 7B model."""
    cost = CostModel(attention=1.5e-5, image=0.35)
    lengths = mixed_lengths(count, seed)
    return [length.total for length in lengths], [cost.of(length) for length in lengths]


def collect(ranks: int, bins: int, seed: int = 0, epoch: int = 0) -> list[list[list[list[int]]]]:
    """The pairs of a run of 100 pairs, 16 a step, as [step][rank][micro-batch]."""
    tokens, costs = work(100)
    dealt = []
    for rank in range(ranks):
        sampler = PairSampler(tokens, costs, 16, ranks, bins, seed, rank)
        sampler.set_epoch(epoch)
        own = list(sampler)
        assert len(own) == len(sampler)
        dealt.append([own[at : at + bins] for at in range(0, len(own), bins)])
    return [list(step) for step in zip(*dealt, strict=True)]


def flat(step: list[list[list[int]]]) -> list[int]:
    return [pair for rank in step for own in rank for pair in own]


@pytest.mark.parametrize(("ranks", "bins"), GRID)
def test_every_step_is_full_and_every_pair_comes_at_most_once(ranks: int, bins: int) -> None:
    steps = collect(ranks, bins)
    assert [len(flat(step)) for step in steps] == [16] * 6
    assert all(own for step in steps for rank in step for own in rank)
    everything = [pair for step in steps for pair in flat(step)]
    assert len(set(everything)) == 96
    assert set(everything) <= set(range(100))


@pytest.mark.parametrize(("ranks", "bins"), GRID)
def test_steps_do_not_depend_on_ranks_or_micro_batches(ranks: int, bins: int) -> None:
    alone = [set(flat(step)) for step in collect(1, 1, epoch=1)]
    assert [set(flat(step)) for step in collect(ranks, bins, epoch=1)] == alone


def test_seeds_and_epochs_have_an_order_of_their_own() -> None:
    first = [sorted(flat(step)) for step in collect(1, 1)]
    assert [sorted(flat(step)) for step in collect(1, 1)] == first
    assert [sorted(flat(step)) for step in collect(1, 1, seed=1)] != first
    assert [sorted(flat(step)) for step in collect(1, 1, epoch=1)] != first


def test_two_seeds_do_not_share_epochs() -> None:
    """Seed 0 in its second epoch must not repeat seed 1 in its first: three seeds are three orders."""
    shifted = [sorted(flat(step)) for step in collect(1, 1, seed=1)]
    assert [sorted(flat(step)) for step in collect(1, 1, epoch=1)] != shifted


def test_pairs_left_out_of_one_epoch_come_in_another() -> None:
    seen = {pair for epoch in range(6) for step in collect(1, 1, epoch=epoch) for pair in flat(step)}
    assert seen == set(range(100))


@pytest.mark.parametrize(("ranks", "window", "limit"), [(8, 1, 1.05), (64, 32, 1.10)])
def test_ranks_have_equal_loads(ranks: int, window: int, limit: float) -> None:
    tokens, costs = work(128 * 64)
    sampler = PairSampler(tokens, costs, 128, ranks, window=window)
    steps = sampler.steps(epoch=0)
    loads = np.array([[sum(costs[pair] for pair in rank[0]) for rank in sampler._assign(step, [])] for step in steps])
    assert loads.shape == (64, ranks)
    assert (loads.max(axis=1) / loads.mean(axis=1)).mean() <= limit
    assert plan_bins(sampler, None).balance == pytest.approx((loads.mean(axis=1) / loads.max(axis=1)).mean())


def test_a_window_keeps_the_pairs_of_an_epoch_and_sorts_them_by_cost() -> None:
    tokens, costs = work(100)
    plain, windowed = (PairSampler(tokens, costs, 16, window=window).steps(epoch=0) for window in (1, 6))
    assert sorted(itertools.chain(*windowed)) == sorted(itertools.chain(*plain))
    spans = sorted((min(own), max(own)) for own in ([costs[pair] for pair in step] for step in windowed))
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


def test_micro_batches_of_one_round_are_alike_on_all_ranks() -> None:
    tokens, costs = work(128 * 8)
    sampler = PairSampler(tokens, costs, 128, 4, 4)
    dealt = [sampler._assign(step, []) for step in sampler.steps(epoch=0)]
    loads = np.array([[[sum(costs[pair] for pair in own) for own in rank] for rank in step] for step in dealt])
    assert (loads.max(axis=1) / loads.mean(axis=1)).mean() <= 1.05


@pytest.mark.parametrize("cap", [4_000, 8_000, 20_000])
@pytest.mark.parametrize("ranks", [1, 4])
def test_micro_batches_stay_under_the_cap_and_are_as_few_as_possible(cap: int, ranks: int) -> None:
    tokens, costs = work(200)
    keep = [pair for pair in range(200) if tokens[pair] <= 3_500]
    tokens, costs = [tokens[pair] for pair in keep], [costs[pair] for pair in keep]
    sampler = PairSampler(tokens, costs, 32, ranks, seed=3)
    plan = plan_bins(sampler, cap, epochs=3)

    def largest(bins: int) -> int:
        sizes = []
        for rank in range(ranks):
            sampler.place(rank, bins)
            for epoch in range(3):
                sampler.set_epoch(epoch)
                sizes += [sum(tokens[pair] for pair in own) for own in sampler]
        return max(sizes)

    assert plan.largest == largest(plan.grad_accum) <= cap
    assert all(largest(fewer) > cap for fewer in range(1, plan.grad_accum))


def test_without_a_cap_a_step_is_one_micro_batch() -> None:
    assert plan_bins(PairSampler([5, 6, 7, 8], [1.0] * 4, 4), None) == (1, 26, 1.0)


def test_a_pair_above_the_cap_is_refused() -> None:
    with pytest.raises(TrainingError, match="One pair has 90 tokens, more than tokens_per_microbatch 80"):
        plan_bins(PairSampler([10, 90, 20], [1.0] * 3, 2), 80)


def test_a_step_that_cannot_be_cut_finely_enough_is_refused() -> None:
    # Costs that say nothing about tokens: a rank's two pairs are 100 tokens in some step, whatever the cut.
    with pytest.raises(TrainingError, match="3 pairs on 2 ranks do not fit micro-batches of 60 tokens"):
        plan_bins(PairSampler([50] * 6, [1.0] * 6, 3, dp_size=2), 60)


def test_too_few_pairs_for_one_step_are_refused() -> None:
    with pytest.raises(TrainingError, match="Found 3 usable pairs, fewer than pairs_per_step 4"):
        PairSampler([1] * 3, [1.0] * 3, 4)


def test_too_few_pairs_for_ranks_and_micro_batches_are_refused() -> None:
    with pytest.raises(TrainingError, match="4 pairs a step cannot fill 8 ranks x 1 micro-batches"):
        PairSampler([1] * 9, [1.0] * 9, 4, dp_size=8)
    with pytest.raises(TrainingError, match="4 pairs a step cannot fill 2 ranks x 3 micro-batches"):
        PairSampler([1] * 9, [1.0] * 9, 4, dp_size=2).place(rank=0, grad_accum=3)
