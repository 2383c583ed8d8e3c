"""Reward models on the tiny backbones, a pool of every kind of group, and how gradients are compared."""

import math

import pytest
import torch

from basereward.encoding.collate import collate
from basereward.models.checkpoint import new_reward_model
from basereward.models.head import HeadSettings


@pytest.fixture
def vl_model(vl_backbone):
    """A fresh reward model that reads images."""
    torch.manual_seed(0)
    return new_reward_model(vl_backbone, HeadSettings()).eval()


@pytest.fixture
def text_model(text_backbone):
    """A fresh reward model that reads text only."""
    torch.manual_seed(0)
    return new_reward_model(text_backbone, HeadSettings()).eval()


@pytest.fixture(params=["vl", "text"])
def model(request):
    """Each of the two."""
    return request.getfixturevalue(f"{request.param}_model")


@pytest.fixture(scope="session")
def text_groups(make_group):
    """Two answers, one of them as a prefix of the other, a single one, five, and equal ones."""
    return [
        make_group("What color is the object?", ["It is red.", "It is blue, I think."]),
        make_group("Which shape?", ["circle", "circle and square"]),
        make_group("How many objects are there in all?", ["three"]),
        make_group("Is the circle red?", ["yes", "no", "It is.", "I cannot say", "yes, the circle is red"]),
        make_group("Same?", ["the same", "the same", "other"]),
    ]


@pytest.fixture(scope="session")
def image_groups(make_group, say, picture):
    """One image, two images between texts, and three equal answers about one image."""
    between = (say("user", "Here ", None, " and there ", None, ": same color?"),)
    return [
        make_group("What color is the object?", ["red", "It is blue."], [picture(84, 56, 1)]),
        make_group(between, ["yes", "no, they differ", "yes"], [picture(56, 56, 2), picture(60, 120, 3)]),
        make_group("Shape?", ["circle"] * 3, [picture(56, 56, 4)]),
    ]


@pytest.fixture(scope="session")
def rewards_of():
    """``rewards_of(model, groups)``: the rewards of all responses, computed in one row."""

    @torch.no_grad()
    def compute(model, groups, vision=None):
        return model(**collate([model.template.encode(group) for group in groups], vision))

    return compute


@pytest.fixture(scope="session")
def pool(text_groups, image_groups):
    """``pool(model)``: the groups that a model can read, images and texts in turn."""

    def choose(model):
        mixed = [text_groups[0], image_groups[0], text_groups[1], image_groups[1], *text_groups[2:], image_groups[2]]
        return mixed if model.template.vision else text_groups

    return choose


@pytest.fixture(scope="session")
def gradients():
    """``gradients(model, batch, backend)`` of a loss in which every reward has a weight, as pairs and rankings do."""

    def compute(model, batch, backend):
        model.use_backend(backend)
        model.zero_grad()
        rewards = model(**batch)
        weights = torch.linspace(-1, 1, len(rewards)) + 0.1
        (torch.nn.functional.softplus(rewards * 3) * weights).sum().backward()
        return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}

    return compute


@pytest.fixture
def shared(family):
    """The backend that computes the prompts of a family once for their rewards."""
    return "expand" if family.startswith("qwen3_5") else "split"


@pytest.fixture
def trained(family):
    """The backend that ``auto`` takes for gradients of a family."""
    return "plain" if family.startswith("qwen3_5") else "split"


@pytest.fixture(scope="session")
def worst_difference():
    """The worst ``||a - b|| / max(||b||, 1e-6 ||all||)`` over parameters: some gradients are zero in theory."""

    def compare(found, expected):
        assert found.keys() == expected.keys()
        floor = 1e-6 * math.sqrt(sum(float(own.norm()) ** 2 for own in expected.values()))
        return max(float((found[name] - own).norm()) / max(float(own.norm()), floor) for name, own in expected.items())

    return compare
