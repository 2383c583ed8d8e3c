"""The reward of a response is a property of prompt and response: not of the batch, the backend or the padding."""

import dataclasses

import pytest
import torch

from basereward.encoding.collate import collate
from basereward.encoding.groups import EncodedGroup
from basereward.encoding.layout import TreeLayout
from basereward.models.checkpoint import load_reward_model, save_reward_model

TOLERANCE = 1e-5


def difference(found, expected):
    """The largest difference relative to the largest reward."""
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.fixture
def alone(rewards_of, pool):
    """The reference: every response as a sequence of its own, without shared prompt, packing or padding."""

    def compute(model, groups):
        model.use_backend("plain")
        single = [dataclasses.replace(group, responses=(answer,)) for group in groups for answer in group.responses]
        rewards = torch.cat([rewards_of(model, [group]) for group in single])
        model.use_backend("auto")
        return rewards

    return compute


def test_the_reference_tells_responses_and_images_apart(vl_model, alone, image_groups, picture):
    rewards = alone(vl_model, image_groups[:2])
    assert abs(rewards[0] - rewards[1]) > 100 * TOLERANCE * rewards.abs().max()
    other = dataclasses.replace(image_groups[0], images=(picture(84, 56, 9),))
    assert difference(alone(vl_model, [other]), rewards[:2]) > 100 * TOLERANCE


@pytest.mark.parametrize("backend", ["split", "plain"])
def test_rewards_do_not_depend_on_the_batch(model, backend, alone, rewards_of, pool):
    groups = pool(model)
    expected = alone(model, groups)
    model.use_backend(backend)
    assert model.backend == backend
    assert difference(rewards_of(model, groups), expected) <= TOLERANCE
    assert difference(torch.cat([rewards_of(model, [group]) for group in groups]), expected) <= TOLERANCE
    turned = rewards_of(model, groups[::-1]).split([len(group.responses) for group in groups[::-1]])
    assert difference(torch.cat(turned[::-1]), expected) <= TOLERANCE


@pytest.mark.parametrize("backend", ["split", "plain"])
def test_rewards_do_not_depend_on_the_order_of_responses(vl_model, backend, rewards_of, pool):
    vl_model.use_backend(backend)
    for group in pool(vl_model):
        turned = dataclasses.replace(group, responses=group.responses[::-1])
        expected = rewards_of(vl_model, [group])
        assert difference(rewards_of(vl_model, [turned]).flip(0), expected) <= TOLERANCE


def test_equal_responses_have_equal_rewards(vl_model, rewards_of, image_groups, text_groups):
    same = rewards_of(vl_model, [image_groups[2], text_groups[4]])
    assert difference(same[:3], same[:1].expand(3)) <= TOLERANCE
    assert difference(same[3:4], same[4:5]) <= TOLERANCE
    assert same[5] != same[4]


def test_rewards_survive_saving(model, rewards_of, pool, tmp_path):
    expected = rewards_of(model, pool(model))
    loaded = load_reward_model(save_reward_model(model, tmp_path)).eval()
    assert torch.equal(rewards_of(loaded, pool(model)), expected)


@pytest.mark.parametrize("backend", ["split", "plain"])
def test_padding_with_the_end_token_changes_nothing(model, backend, alone, rewards_of, pool, tmp_path):
    expected = alone(model, pool(model))
    tokenizer = model.template.tokenizer
    tokenizer.pad_token = tokenizer.eos_token
    loaded = load_reward_model(save_reward_model(model, tmp_path), backend=backend).eval()
    assert loaded.template.tokenizer.pad_token_id == loaded.template.tokenizer.eos_token_id
    assert difference(rewards_of(loaded, pool(model)), expected) <= TOLERANCE


def test_a_row_without_images_is_not_changed_by_the_dummy(vl_model, rewards_of, text_groups):
    expected = rewards_of(vl_model, text_groups)
    for backend in ("split", "plain"):
        vl_model.use_backend(backend)
        with_dummy = rewards_of(vl_model, text_groups, vl_model.template.vision)
        assert with_dummy.shape == expected.shape
        assert difference(with_dummy, expected) <= TOLERANCE


@torch.no_grad()
def test_responses_of_one_token(model, make_group):
    encoded = model.template.encode(make_group("Is it red?", ["yes", "no", "yes"]))
    pieces = tuple(suffix[:1] for suffix in encoded.suffixes)
    assert {len(piece) for piece in pieces} == {1}
    group = EncodedGroup(encoded.prefix, pieces, encoded.positions, (1, 1, 1))
    split = model(**collate([group, encoded]))
    model.use_backend("plain")
    assert difference(split, model(**collate([group, encoded]))) <= TOLERANCE
    assert difference(split[:1], split[2:3]) <= TOLERANCE
    assert split[0] != split[1]


@torch.no_grad()
def test_a_response_does_not_see_the_others(model, pool):
    batch = collate([model.template.encode(group) for group in pool(model)])
    expected = model(**batch)
    draw = torch.Generator().manual_seed(0)
    layout = TreeLayout.of(batch)
    for changed, leaf in enumerate(batch["leaves"].tolist()):
        ids = batch["input_ids"].clone()
        # Of responses that are all alike the node holds the prompt as well; its last token is theirs in any case.
        last = int(batch["nodes"][leaf, 2]) - 1
        ids[0, last] = (ids[0, last] + torch.randint(1, 400, (), generator=draw)) % 400
        rewards = model(**{**batch, "input_ids": ids})
        # Equal responses end in the same node.
        others = torch.tensor([leaf not in layout.chains[other] for other in batch["leaves"].tolist()])
        assert (rewards - expected)[others].abs().max() <= 1e-7
        assert rewards[changed] != expected[changed]


@torch.no_grad()
def test_a_group_sees_only_its_own_images(vl_model, pool):
    batch = collate([vl_model.template.encode(group) for group in pool(vl_model)])
    expected = vl_model(**batch)
    sizes = batch["image_grid_thw"].prod(-1).tolist()
    layout = TreeLayout.of(batch)
    for image in range(len(sizes)):
        pixels = [own.clone() for own in batch["pixel_values"].split(sizes)]
        pixels[image] = -pixels[image]
        rewards = vl_model(**{**batch, "pixel_values": torch.cat(pixels)})
        owned = torch.tensor([image in layout.shown(layout.chains[leaf]) for leaf in batch["leaves"].tolist()])
        assert owned.any()
        assert (rewards - expected)[~owned].abs().max() <= 1e-7
        assert (rewards - expected)[owned].abs().min() > 1e-5 * expected.abs().max()
