"""A tiny reward model, rollouts, and a judge that prefers longer answers."""

from dataclasses import dataclass, field

import pytest

from basereward.data.outcomes import About, Verdict
from basereward.rl.rewards import Rollouts


@pytest.fixture(scope="session")
def checkpoint(vl_backbone, tmp_path_factory):
    """The folder of a tiny reward model with random weights, whose rewards are far enough apart to tell."""
    import torch

    from basereward.models.checkpoint import new_reward_model, save_reward_model

    model = new_reward_model(vl_backbone)
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.mul_(6)
    return str(save_reward_model(model, tmp_path_factory.mktemp("rl") / "model"))


@pytest.fixture(scope="session")
def reward_model(checkpoint):
    """The same model."""
    from basereward.models.reward_model import RewardModel

    return RewardModel.from_pretrained(checkpoint, device="cpu")


@pytest.fixture
def rollouts(make_group):
    """``rollouts(responses, answer, ...)``: one prompt with responses."""
    return lambda responses, answer=None, images=(), **known: Rollouts(
        make_group("Q?", responses, images), answer, **known
    )


@dataclass
class LongerJudge:
    """Prefers the longer of two answers, and remembers what it was asked."""

    asked: list = field(default_factory=list)

    @property
    def about(self):
        return About("longer judge", sees_images=False)

    def compare(self, questions):
        self.asked += questions
        lengths = [[len(said[0].text) for said in question.responses] for question in questions]
        return [Verdict("tie" if one == other else int(other > one), "") for one, other in lengths]


@pytest.fixture
def longer_judge():
    """A judge."""
    return LongerJudge()
