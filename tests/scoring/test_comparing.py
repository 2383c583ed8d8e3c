"""A model that compares responses: groups are scored whole or not at all, and nothing stands for another group."""

from dataclasses import replace

import pytest
import torch

from basereward.data.outcomes import Failure, Score
from basereward.models.checkpoint import new_reward_model
from basereward.models.head import HeadSettings
from basereward.scoring.cache import cached
from basereward.scoring.local import PARTNER, LocalScorer


@pytest.fixture(scope="module")
def model(vl_backbone):
    torch.manual_seed(0)
    made = new_reward_model(vl_backbone, HeadSettings(cross_response=2)).eval()
    torch.nn.init.normal_(made.head.layers[-1].weight, std=0.3)
    return made


@pytest.fixture(scope="module")
def groups(make_group, picture):
    return [
        make_group("Which colour?", ["red", "blue, I would say", "neither"]),
        make_group("What is this?", ["noise", "a very long answer " * 6, "noise"], [picture(56, 84, 1)]),
        make_group("Which colour?", ["red", "green"]),
        make_group("Alone?", ["yes"]),
    ]


def values(scores):
    return [torch.tensor([one.value for one in own]) for own in scores]


@pytest.mark.parametrize("backend", ["split", "plain", "expand"])
@pytest.mark.parametrize("row_tokens", [1, 16384])
def test_a_group_is_never_cut(model, groups, row_tokens, backend):
    expected = [torch.tensor(own) for group in groups for own in model.score_groups([group])]
    model.use_backend(backend, scoring=True)
    scorer = LocalScorer(model, "m", row_tokens)
    assert scorer.about.compares
    for found in (values(scorer.score(groups)), values(scorer.score(groups[::-1]))[::-1]):
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    # The same response to the same prompt, among others.
    assert abs(expected[0][0] - expected[2][0]) > 1e-3
    model.use_backend("auto")


def test_the_responses_of_a_group_fail_together(model, groups, make_group, monkeypatch):
    monkeypatch.setattr(model.template, "max_length", 100)
    failed, whole = LocalScorer(model, "m").score([make_group("?", ["yes", "no " * 200, "well"]), groups[0]])
    assert [one.reason for one in failed if isinstance(one, Failure)] == [PARTNER, "too_long", PARTNER]
    assert all(isinstance(one, Score) for one in whole)


def test_no_cache_answers_for_another_group(model):
    class Known(LocalScorer):
        """Has an identity, as a model from files has."""

        @property
        def about(self):
            return replace(super().about, identity={"weights": "1"})

    scorer = Known(model, "m")
    assert cached(scorer) is scorer
