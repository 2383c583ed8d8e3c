"""What pairs share is counted, and what drawing them together would save is told for the ranks at hand."""

import numpy as np
import pytest

from basereward.encoding.groups import GroupLength
from basereward.encoding.packing import CostModel, NodeLength, TreeLength
from basereward.encoding.sharing import Further, PairSharing
from basereward.models.flops import measure_backbone
from basereward.models.shapes import backbone_config
from basereward.training.bundles import Grouping
from basereward.training.gains import GroupGain, Simulation, count_shared, gain_lines
from tests.training.made_pairs import MODEL, coded_pairs, made_pairs

GROUPINGS = [Grouping("prompt"), Grouping("image")]


def simulation(pairs: PairSharing, cap: int | None = None) -> Simulation:
    tokens = pairs.sequence_tokens.sum(axis=1) - pairs.prompt_tokens
    nothing = Further(np.zeros_like(tokens), np.zeros(len(tokens)))
    return Simulation(tokens, pairs.nodes(MODEL).sum(axis=1), pairs, nothing, MODEL, 128, 0, 1, cap)


def test_prompts_images_responses_and_verdicts_are_counted() -> None:
    """Prompt 0 is asked about twice and answered by three responses, with the opposite and a repetition of a pair."""
    sides = [(0, 1), (1, 0), (0, 1), (2, 0), (0, 1), (3, 3)]
    facts = count_shared(coded_pairs([0, 0, 0, 0, 1, 2], [4, 4, 4, 4, 4, -1], sides))
    assert (facts.pairs, facts.prompts, facts.image_prompts, facts.images, facts.responses) == (6, 3, 2, 1, 3 + 2 + 1)
    # A response of the same code to another prompt is another response, and contradicts nothing.
    assert (facts.repeated, facts.contradicting) == (1, 3)
    lines = dict(facts.lines())
    assert lines["pairs share"] == "2.0 pairs a prompt, 1.00 responses a pair, 2.0 prompts an image"
    assert lines["pairs judged again"] == "1 repeat a pair, 3 contradict one"


def test_gains_are_those_of_the_sampler_and_fewer_ranks_are_tried() -> None:
    gains = simulation(made_pairs(images=800)).gains(64, GROUPINGS)
    assert [(gain.group, gain.ranks) for gain in gains] == [
        (by, ranks) for by in ("prompt", "image") for ranks in (8, 16, 64)
    ]
    by_image = {gain.ranks: gain for gain in gains if gain.group == "image"}
    assert by_image[8].step_time == pytest.approx(3.0, rel=0.07)
    assert by_image[8].step_time > by_image[16].step_time > by_image[64].step_time > 1.3
    # On the same ranks hours and time are one; fewer also wait less for each other.
    assert by_image[64].gpu_hours == pytest.approx(by_image[64].step_time)
    assert by_image[8].gpu_hours > by_image[8].step_time
    assert by_image[64].work > by_image[64].step_time


def test_a_cap_of_tokens_holds_in_what_is_simulated() -> None:
    [gain] = simulation(made_pairs(images=300), cap=6_000).gains(8, GROUPINGS[:1])
    assert 1.5 < gain.step_time < 2.6


def test_pairs_that_share_nothing_gain_nothing_and_are_told_so() -> None:
    count = 600
    gains = simulation(coded_pairs(list(range(count)))).gains(4, GROUPINGS)
    # Whole parts of a token are a little off.
    assert all((gain.work, gain.step_time, gain.gpu_hours) == pytest.approx((1, 1, 1), rel=1e-3) for gain in gains)
    assert all(value.endswith(": little, because the pairs share little") for _, value in gain_lines(gains, 4, 128))


def test_two_pairs_a_rank_are_told_to_be_too_few() -> None:
    gains = (GroupGain("prompt", 64, 1.4, 1.05, 1.05), GroupGain("prompt", 8, 2.2, 2.1, 2.4))
    [own, fewer] = gain_lines(gains, 64, 128)
    assert own[0] == "with group: prompt"
    assert own[1].endswith("little, because a rank has 2 pairs of a step, and what shares has to be cut")
    assert fewer == ("", "on 8 ranks steps 2.10 times as fast, 2.40 times fewer GPU-hours than now")


def test_flops_of_a_tree_are_those_of_its_group() -> None:
    size = measure_backbone(backbone_config("Qwen/Qwen2.5-VL-3B-Instruct"))
    tree = TreeLength(
        (NodeLength(1026, 0), NodeLength(174, 1026), NodeLength(200, 1200), NodeLength(90, 1200)), (1024,)
    )
    assert size.tree_flops(tree) == pytest.approx(size.forward_flops(GroupLength(1200, (200, 90), 1024)))
    assert CostModel().of(tree) == tree.total == 1490
