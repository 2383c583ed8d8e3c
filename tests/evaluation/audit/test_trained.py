"""The demo's model is flagged for what it never learnt and for nothing else; heads planted on it are caught."""

import dataclasses

import numpy as np
import pytest

from basereward.data.outcomes import About, Score
from basereward.data.storage import write_rows
from basereward.evaluation.audit.blindness import grey_image
from basereward.evaluation.audit.run import AuditOptions, audit
from basereward.evaluation.pairs import read_pairs
from basereward.lab.demo import run_demo
from basereward.lab.world import draw_rows
from basereward.models.reward_model import RewardModel
from basereward.scoring.interface import checked_scores
from basereward.scoring.local import LocalScorer

TEST_PAIRS, TEST_SEED = 300, 1_000_003
# The demo trains on bare answers to questions without mistakes; docs/audit.md says what that costs.
NEVER_SEEN = {"format", "length", "typo"}


class Headed:
    """A scorer whose scores get something more, and which may be shown other images."""

    def __init__(self, scorer, extra=lambda text: 0.0, change_image=None):
        self.about = About("headed", sees_images=True)
        self.scorer, self.extra, self.change_image = scorer, extra, change_image

    def score(self, groups):
        if self.change_image:
            groups = [dataclasses.replace(own, images=tuple(map(self.change_image, own.images))) for own in groups]
        found = checked_scores(self.scorer, groups)
        return [
            [Score(one.value + self.extra(own.text)) for one, own in zip(scores, group.responses, strict=True)]
            for scores, group in zip(found, groups, strict=True)
        ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The scorer of the demo's model, the items, and the standard deviation of its scores."""
    folder = tmp_path_factory.mktemp("trained")
    run_demo(folder / "demo")
    scorer = LocalScorer(RewardModel.from_pretrained(folder / "demo" / "model", device="cpu"), "trained")
    write_rows(draw_rows(TEST_PAIRS, TEST_SEED), folder / "test.parquet")
    opened = read_pairs(folder / "test.parquet")
    scores = checked_scores(scorer, [group for item in opened.items for group in item.groups])
    return scorer, opened, float(np.std([one.value for own in scores for one in own]))


def failed(scorer, opened, folder, *probes):
    return audit(scorer, opened, folder, AuditOptions(probes)).failed


@pytest.mark.slow
def test_the_trained_model_is_flagged_for_nothing_but_forms_that_it_never_saw(trained, tmp_path):
    scorer, opened, _ = trained
    assert set(failed(scorer, opened, tmp_path)) <= NEVER_SEEN


@pytest.mark.slow
def test_heads_planted_on_it_are_caught(trained, tmp_path):
    scorer, opened, spread = trained
    likes_length = Headed(scorer, lambda text: spread / 20 * len(text))
    assert failed(likes_length, opened, tmp_path / "length", "verbosity") == ["verbosity"]
    likes_lists = Headed(scorer, lambda text: 4 * spread * text.startswith("- "))
    assert failed(likes_lists, opened, tmp_path / "list", "list") == ["list"]
    blind = Headed(scorer, change_image=grey_image)
    names = ["image_blind", "image_swap"]
    assert failed(blind, opened, tmp_path / "blind", *names) == names
