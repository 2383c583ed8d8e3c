"""How often a critic is right by its own critiques, and what of these no run may end on."""

import pytest
import torch

from basereward.data.judging.critiques import REQUESTS, with_critiques
from basereward.data.parsing import parse_pair
from basereward.errors import RowError, TemplateError
from basereward.models.checkpoint import new_reward_model
from basereward.models.facts import CriticRole
from basereward.models.inputs import TemplateSettings
from basereward.scoring.critics import CriticScorer
from basereward.scoring.local import LocalScorer
from basereward.training.own_critiques import own_accuracy

ROLE = CriticRole(request="short", max_tokens=12)
PAIRS = [
    parse_pair({"prompt": f"Which color, {number}?", "chosen": "red", "rejected": f"blue {number}"}, str(number))
    for number in range(6)
]


def critic(backbone, max_length=None):
    torch.manual_seed(2)
    return new_reward_model(backbone, template=TemplateSettings(max_length=max_length), role=ROLE).eval()


def test_it_is_the_accuracy_of_the_critic_as_a_scorer(text_backbone):
    model = critic(text_backbone)
    right = 0
    for comparison in (pair.comparison() for pair in PAIRS):
        scores = [
            score.value for own in CriticScorer(LocalScorer(model, "critic")).score(comparison.groups) for score in own
        ]
        right += scores[comparison.chosen] > scores[comparison.rejected]
    assert own_accuracy(model, ROLE, PAIRS) == right / len(PAIRS)
    assert 0 < right < len(PAIRS)


def test_a_critique_that_becomes_too_long_ends_no_run(text_backbone):
    """The pairs fit, and so does what is asked; only with what the critic itself writes they do not."""
    whole = critic(text_backbone).template
    asked = [
        with_critiques(group, REQUESTS.get("short"), [""] * 2) for pair in PAIRS for group in pair.comparison().groups
    ]
    longest = max(len(group.prefix) + max(map(len, group.suffixes)) for group in map(whole.encode, asked))
    model = critic(text_backbone, longest)
    for group in asked:
        model.template.encode(group)
    with pytest.raises(RowError, match="more than max_length"):
        model.template.encode(
            with_critiques(PAIRS[0].comparison().groups[0], REQUESTS.get("short"), ["word " * 40] * 2)
        )
    assert own_accuracy(model, ROLE, PAIRS) == 0.0


def test_a_critique_that_the_template_cannot_hold_ends_no_run(text_backbone, monkeypatch):
    model = critic(text_backbone)

    def lose(groups, **_):
        raise TemplateError("The chat template loses text.")

    monkeypatch.setattr(model, "score_groups", lose)
    assert own_accuracy(model, ROLE, PAIRS) == 0.0
