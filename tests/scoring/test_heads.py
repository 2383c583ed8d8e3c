"""A model with several heads: the score is their mean, and its parts are the heads and their spread."""

import statistics

import pytest
import torch

from basereward.data.outcomes import SPREAD, Failure
from basereward.models.checkpoint import new_reward_model
from basereward.models.head import HeadSettings
from basereward.models.reward_model import RewardModel
from basereward.scoring.local import LocalScorer


@pytest.fixture
def model(text_backbone):
    return new_reward_model(text_backbone, HeadSettings(heads=3), head_seed=0)


@pytest.fixture
def groups(make_group):
    return [make_group("Which colour?", ["red", "blue, I would say"]), make_group("Pick one.", ["1", "2", "3"])]


def test_parts_are_the_heads_alone_and_their_spread(model, groups):
    scores = [score for own in LocalScorer(model, "m").score(groups) for score in own]
    alone = [
        [
            score.value
            for own in LocalScorer(RewardModel(model.backbone, head, model.template), "m").score(groups)
            for score in own
        ]
        for head in model.head.heads
    ]
    for score, each in zip(scores, zip(*alone, strict=True), strict=True):
        assert score.parts == {
            **{f"head_{number}": pytest.approx(own, abs=1e-6) for number, own in enumerate(each)},
            SPREAD: pytest.approx(statistics.stdev(each), abs=1e-6),
        }
        assert score.value == pytest.approx(statistics.mean(each), abs=1e-6)


def test_a_score_is_what_the_model_itself_says(model, groups):
    scores = LocalScorer(model, "m").score(groups)
    assert [[score.value for score in own] for own in scores] == model.score_groups(groups)


def test_a_broken_head_fails_the_response(model, groups):
    with torch.no_grad():
        model.head.heads[1].layers[-1].weight.fill_(torch.nan)
    [first, *_] = LocalScorer(model, "m").score(groups)[0]
    assert isinstance(first, Failure)
    assert first.reason == "not_finite"
