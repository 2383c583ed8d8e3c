"""Pairs that share stand in one step, every pair once an epoch, and never more of a prompt or image than allowed."""

from collections import Counter

import numpy as np
import pytest
import torch

from basereward.encoding.sharing import PairSharing
from basereward.training.bundles import Bundles, Grouping, StepFiller, crowded_steps, draw_bundles
from tests.training.made_pairs import coded_pairs, made_pairs

GROUPINGS = [Grouping("prompt", 2), Grouping("prompt", 8), Grouping("image", 8, 16), Grouping("image", 3, 5)]


def draw(sharing: PairSharing, grouping: Grouping, size: int = 128, seed: int = 0) -> np.ndarray:
    bundles = draw_bundles(sharing, grouping, torch.Generator().manual_seed(seed))
    return StepFiller(bundles, sharing, grouping, size).fill()


def parts(bundles: Bundles) -> list[list[int]]:
    return [own.tolist() for own in np.split(bundles.pairs, bundles.starts[1:-1])]


@pytest.fixture(scope="module")
def pairs() -> PairSharing:
    return made_pairs(images=600)


@pytest.mark.parametrize("grouping", GROUPINGS)
def test_steps_are_full_hold_every_pair_at_most_once_and_keep_the_caps(pairs: PairSharing, grouping: Grouping) -> None:
    steps = draw(pairs, grouping)
    assert steps.shape == (len(pairs.prompt) // 128, 128)
    assert len(np.unique(steps)) == steps.size
    for step in steps:
        assert max(Counter(pairs.prompt[step].tolist()).values()) <= grouping.pairs_per_prompt
        if grouping.by == "image":
            shown = Counter(pairs.opening[step].tolist())
            assert max(count for image, count in shown.items() if image >= 0) <= grouping.pairs_per_image
    assert crowded_steps(steps, pairs, grouping) == 0


def test_what_shares_comes_together(pairs: PairSharing) -> None:
    alone = torch.randperm(len(pairs.prompt), generator=torch.Generator().manual_seed(0)).numpy()
    by_prompt, by_image = draw(pairs, Grouping("prompt")), draw(pairs, Grouping("image"))

    def distinct(codes: np.ndarray, steps: np.ndarray) -> float:
        return float(np.mean([len(np.unique(codes[step])) for step in steps]))

    singly = alone[: by_prompt.size].reshape(-1, 128)
    # A fifth are prompts of one pair; of the others three share a prompt, and seven and a half an image.
    assert distinct(pairs.prompt, singly) > 120
    assert distinct(pairs.prompt, by_prompt) == pytest.approx(128 * (0.2 + 0.8 / 3), rel=0.06)
    assert distinct(pairs.opening, by_image) - 1 == pytest.approx(128 * 0.8 / 7.5, rel=0.15)


def test_the_order_is_of_seed_and_epoch_alone_and_pairs_meet_others_in_each(pairs: PairSharing) -> None:
    for grouping in GROUPINGS:
        first = draw(pairs, grouping, seed=0)
        assert np.array_equal(first, draw(pairs, grouping, seed=0))
        assert not np.array_equal(first, draw(pairs, grouping, seed=1))
    many = coded_pairs([0] * 12 + [1] * 12)
    chunks = [
        {
            frozenset(own)
            for own in parts(draw_bundles(many, Grouping("prompt", 4), torch.Generator().manual_seed(seed)))
        }
        for seed in (0, 1)
    ]
    assert chunks[0] != chunks[1]


def test_the_pairs_of_a_prompt_are_cut_evenly() -> None:
    bundles = draw_bundles(coded_pairs([0] * 9 + [1] * 17 + [2] * 3), Grouping("prompt", 8), torch.Generator())
    assert sorted(map(len, parts(bundles))) == [3, 4, 5, 5, 6, 6]


def test_a_bundle_of_an_image_holds_no_prompt_twice() -> None:
    """Two chunks of one prompt in a bundle would be more of its pairs than a step may hold, in every step."""
    prompts = [0] * 20 + [1] * 8 + [2] * 3 + [3] * 1
    bundles = draw_bundles(coded_pairs(prompts, [7] * len(prompts)), Grouping("image", 8, 16), torch.Generator())
    found = [Counter(prompts[pair] for pair in own) for own in parts(bundles)]
    assert all(max(own.values()) <= 8 and own.total() <= 16 for own in found)
    assert sum(own.total() for own in found) == len(prompts)
    # The first chunks of all four prompts, 7 + 8 + 3 + 1, are two bundles; the others of prompt 0 stand alone.
    assert len(found) == 4


def test_a_prompt_in_every_step_up_to_its_cap() -> None:
    """Ten pairs of one prompt in five steps that hold two each: some wait until the end, and change places."""
    sharing = coded_pairs([0] * 10 + list(range(1, 31)))
    for seed in range(40):
        steps = draw(sharing, Grouping("prompt", 2), size=8, seed=seed)
        assert sorted(steps.reshape(-1).tolist()) == list(range(40))
        assert [int((sharing.prompt[step] == 0).sum()) for step in steps] == [2] * 5


def test_images_whose_prompts_fill_every_step() -> None:
    sharing = coded_pairs([place // 5 for place in range(40)], [place // 10 for place in range(40)])
    for seed in range(40):
        steps = draw(sharing, Grouping("image", 2, 3), size=8, seed=seed)
        assert sorted(steps.reshape(-1).tolist()) == list(range(40))
        assert crowded_steps(steps, sharing, Grouping("image", 2, 3)) == 0


def test_too_few_prompts_still_fill_steps_and_are_counted() -> None:
    sharing = coded_pairs([0] * 30 + [1] * 3)
    steps = draw(sharing, Grouping("prompt", 2), size=8)
    assert steps.shape == (4, 8)
    assert len(np.unique(steps)) == 32
    assert crowded_steps(steps, sharing, Grouping("prompt", 2)) == 4


def test_a_step_smaller_than_a_bundle_takes_a_part_of_it() -> None:
    sharing = coded_pairs([0] * 8 + [1] * 8)
    steps = draw(sharing, Grouping("prompt", 8), size=3)
    assert steps.shape == (5, 3)
    assert len(np.unique(steps)) == 15
