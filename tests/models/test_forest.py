"""Pairs of one prompt and prompts of one image in one row: as every sequence alone, and no fault goes unseen."""

from dataclasses import replace

import pytest
import torch

from basereward.encoding.collate import collate
from basereward.encoding.layout import TreeLayout
from basereward.models.checkpoint import new_reward_model
from basereward.models.head import HeadSettings

REWARDS, GRADIENTS = 1e-5, 1e-4
# A fault changes rewards by a share of the largest; rounding by less than 1e-5.
SEEN = 1e-3
MROPE = ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"]


@pytest.fixture
def family(request):
    """The family of a test; M-RoPE with windows if nothing else is asked for."""
    return getattr(request, "param", "qwen2_5_vl")


@pytest.fixture
def vision_model(family, backbone_of):
    """A fresh model of a family."""
    torch.manual_seed(0)
    return new_reward_model(backbone_of(family), HeadSettings()).eval()


@pytest.fixture
def groups(make_group, say, picture):
    """Three pairs of one prompt, two more prompts of its image, another image of one size, text first, text alone."""
    one, twin, wide = picture(84, 84, 1), picture(84, 84, 2), picture(140, 56, 3)
    asked = "What do you see in the picture?"
    behind = [(say("user", f"{text} ", None, "?"),) for text in ("Is there a circle in", "Look at this:")]
    both = (say("user", None, " or ", None, "?"),)
    return [
        make_group(asked, ["a red circle", "a blue square"], [one]),
        make_group(asked, ["a blue square", "nothing at all"], [one]),
        make_group(asked, ["a red circle", "nothing at all"], [one]),
        make_group("How many?", ["one", "two, I think", "one or two"], [one]),
        make_group("What do you see?", ["a circle", "a circle and a square"], [one]),
        make_group(asked, ["a red circle", "a blue square"], [twin]),
        make_group(behind[0], ["yes", "no"], [one]),
        make_group(behind[1], ["yes, a circle", "no"], [one]),
        make_group(both, ["the first", "the second"], [one, wide]),
        make_group(both, ["the first", "the second"], [one, twin]),
        make_group("What color is grass?", ["green", "red"]),
    ]


@pytest.fixture
def encoded(vision_model, groups):
    """The groups of a row as ids."""
    return [vision_model.template.encode(group) for group in groups]


@pytest.fixture
def alone(vision_model, encoded):
    """The reward of every response in a row of its own, computed plainly."""
    vision_model.use_backend("plain")
    with torch.no_grad():
        singles = [group.take([place]) for group in encoded for place in range(len(group.suffixes))]
        rewards = torch.cat([vision_model(**collate([single])) for single in singles])
    vision_model.use_backend("split")
    return rewards


def difference(found, expected):
    """The largest difference, relative to the largest reward."""
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("family", [*MROPE, "internvl"], indirect=True)
def test_rewards_and_gradients_are_those_of_every_sequence_alone(
    vision_model, encoded, alone, gradients, worst_difference
):
    batch = collate(encoded)
    layout = TreeLayout.of(batch)
    assert max(map(len, layout.chains)) >= 4
    assert sum(layout.sizes) < 0.7 * sum(group.tokens for group in encoded)
    for backend in ("split", "plain"):
        vision_model.use_backend(backend)
        with torch.no_grad():
            assert difference(vision_model(**batch), alone) <= REWARDS
    vision_model.use_backend("expand", scoring=True)
    with torch.inference_mode():
        assert difference(vision_model(**batch), alone) <= REWARDS
    expected = gradients(vision_model, batch, "plain")
    assert worst_difference(gradients(vision_model, batch, "split"), expected) <= GRADIENTS
    vision_model.enable_checkpointing()
    vision_model.train()
    assert worst_difference(gradients(vision_model, batch, "split"), expected) <= GRADIENTS


@torch.no_grad()
def test_the_order_of_groups_and_other_groups_change_nothing(vision_model, encoded, alone):
    sizes = [len(group.suffixes) for group in encoded]
    own = dict(enumerate(alone.split(sizes)))
    for order in ([*range(len(encoded))][::-1], [3, 0], [9, 5, 7], [10]):
        found = vision_model(**collate([encoded[place] for place in order]))
        assert difference(found, torch.cat([own[place] for place in order])) <= REWARDS * 5


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl", "internvl"], indirect=True)
@torch.no_grad()
def test_the_tower_sees_every_image_once(vision_model, encoded, groups):
    seen = []
    tower = vision_model.backbone.get_submodule(vision_model.family.vision_module)
    tower.register_forward_pre_hook(
        lambda module, inputs, options: seen.append(len(inputs[0] if inputs else options["pixel_values"])),
        with_kwargs=True,
    )
    batch = collate(encoded)
    vision_model(**batch)
    once = [group.images.tensors["pixel_values"] for group in (encoded[0], encoded[5], encoded[8])]
    # The third holds the first image again, and one that is wide.
    assert seen == [len(once[1]) + len(once[2])]
    assert len(batch["image_rows"]) == 3
    # Once behind the common beginning, twice behind text, and twice in front of another.
    assert batch["image_items"].tolist().count(0) == 3 + (len(batch["image_items"]) > 7)


@torch.no_grad()
def test_a_node_moves_what_continues_it_and_nothing_else(vision_model, encoded):
    batch = collate(encoded)
    layout, pads = TreeLayout.of(batch), set(vision_model.template.vision.pad_ids)
    expected = vision_model(**batch)
    leaves = batch["leaves"].tolist()
    for node, span in enumerate(layout.spans):
        ids = batch["input_ids"].clone()
        text = [place for place in range(*span) if int(ids[0, place]) not in pads]
        ids[0, text[-1]] = (ids[0, text[-1]] + 7) % 400
        moved = (vision_model(**{**batch, "input_ids": ids}) - expected).abs()
        below = torch.tensor([node in layout.chains[leaf] for leaf in leaves])
        assert below.any()
        assert (moved[below] > 0).all()
        assert not below.logical_not().any() or moved[~below].max() <= 1e-7


def images_of_one_size_merged(encoded, batch):
    first, twin = encoded[0], encoded[5]
    merged = replace(twin, keys=first.keys, images=twin.images._replace(keys=first.images.keys))
    return collate([*encoded[:5], merged, *encoded[6:]])


def prompts_without_their_image(encoded, batch):
    layout, nodes = TreeLayout.of(batch), batch["nodes"].clone()
    holders = {node for node, _ in layout.images}
    nodes[:, 0] = torch.tensor([-1 if parent in holders else parent for parent in layout.parents])
    return {**batch, "nodes": nodes}


def response_under_a_sibling(encoded, batch):
    layout, nodes = TreeLayout.of(batch), batch["nodes"].clone()
    # The last response of a row stands below the last of its grandparent's children.
    leaf = batch["leaves"].tolist()[-1]
    parent = layout.parents[leaf]
    siblings = [node for node, above in enumerate(layout.parents) if above == layout.parents[parent] and node < parent]
    nodes[leaf, 0] = siblings[0]
    return {**batch, "nodes": nodes}


def token_places(batch):
    layout = TreeLayout.of(batch)
    ends = [len(layout.tokens(node)) for node in range(len(layout.spans))]
    return [torch.arange(end - size, end) for end, size in zip(ends, layout.sizes, strict=True)]


def positions_counted_in_tokens(encoded, batch):
    counted = torch.cat(token_places(batch))
    return {**batch, "position_ids": counted.expand_as(batch["position_ids"]).clone()}


def positions_restarted_in_nodes(encoded, batch):
    layout, positions = TreeLayout.of(batch), batch["position_ids"].clone()
    for (start, end), parent in zip(layout.spans, layout.parents, strict=True):
        if parent >= 0:
            positions[:, :, start:end] -= positions[:, :, start:end].min()
    return {**batch, "position_ids": positions}


def images_not_in_row_order(encoded, batch):
    items = batch["image_items"].clone()
    # Of one size: the first and the one that stands behind the same question.
    one, twin = 0, int(items[(items != 0).nonzero()[0]])
    items[batch["image_items"] == one], items[batch["image_items"] == twin] = twin, one
    return {**batch, "image_items": items}


FAULTS = [
    images_of_one_size_merged,
    prompts_without_their_image,
    response_under_a_sibling,
    positions_counted_in_tokens,
    positions_restarted_in_nodes,
    images_not_in_row_order,
]


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"], indirect=True)
@torch.no_grad()
def test_every_fault_of_a_forest_is_seen(vision_model, encoded, alone):
    """What a wrong forest would do silently: same shapes, finite rewards, and other values."""
    encoded, alone = encoded[:8], alone[: sum(len(group.suffixes) for group in encoded[:8])]
    batch = collate(encoded)
    assert difference(vision_model(**batch), alone) <= REWARDS
    for fault in FAULTS:
        found = vision_model(**fault(encoded, batch))
        assert difference(found, alone) > SEEN, fault.__name__
