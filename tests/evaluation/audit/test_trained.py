"""A model that was trained to look, and nothing else, is not flagged; heads planted on it are caught."""

import dataclasses
from random import Random

import numpy as np
import pytest

from basereward.data.outcomes import About, Score
from basereward.data.pairs import pair_row
from basereward.data.schema import messages_from_text
from basereward.data.storage import write_rows
from basereward.evaluation.audit.attacks import as_list
from basereward.evaluation.audit.blindness import grey_image
from basereward.evaluation.audit.run import AuditOptions, audit
from basereward.evaluation.audit.wordings import HEADING, OPENINGS, mistype
from basereward.evaluation.pairs import read_pairs
from basereward.lab.demo import demo_recipe, run_demo
from basereward.lab.world import ODD_SHARES, WorldConfig, draw_pairs, draw_rows
from basereward.models.reward_model import RewardModel
from basereward.scoring.interface import checked_scores
from basereward.scoring.local import LocalScorer
from basereward.training.run import train

TRAIN_PAIRS, STEPS, SEED = 20_000, 600, 0
TEST_PAIRS, TEST_SEED = 300, 1_000_003
FORM_SHARE, TYPO_SHARE = 0.6, 0.5


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


def with_forms(pairs, seed=SEED):
    """The pairs with typing mistakes in prompts, and forms that both responses of a pair share."""
    for pair in pairs:
        rng = Random(f"{seed}/{pair.id}")
        question = pair.prompt[0].text
        asked = mistype(question, rng) if rng.random() < TYPO_SHARE else question
        form = draw_form(rng)
        sides = [messages_from_text(form(own[0].text), "assistant") for own in (pair.chosen, pair.rejected)]
        prompt = messages_from_text(asked, images=len(pair.images))
        yield dataclasses.replace(pair, prompt=prompt, chosen=sides[0], rejected=sides[1])


def draw_form(rng):
    """How a text is written: as it is, under a heading, behind an opening, or as a list."""
    if rng.random() >= FORM_SHARE:
        return str
    opening = rng.choice(OPENINGS)
    return rng.choice([lambda text: HEADING + text, lambda text: opening + text, as_list])


def write_forms(folder):
    """A file of the demo's pairs with forms."""
    drawn = draw_pairs(TRAIN_PAIRS, SEED, WorldConfig(odd_share=ODD_SHARES.get("varied")))
    write_rows(map(pair_row, with_forms(drawn)), folder / "train.parquet")
    return folder / "train.parquet"


def train_on_forms(start, folder):
    """The folder of a model that was trained further, on pairs with forms."""
    data = write_forms(folder)
    recipe = demo_recipe("forms", start, data, None, STEPS, SEED)
    model = recipe.model.model_copy(update={"backbone": None, "init_from": str(start)})
    return train(recipe.model_copy(update={"model": model}), folder / "run").model_folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The scorer of the trained model, the items, and the standard deviation of its scores."""
    folder = tmp_path_factory.mktemp("forms")
    run_demo(folder / "demo", seed=SEED)
    model = train_on_forms(folder / "demo" / "model", folder)
    scorer = LocalScorer(RewardModel.from_pretrained(model, device="cpu"), "trained")
    write_rows(draw_rows(TEST_PAIRS, TEST_SEED), folder / "test.parquet")
    opened = read_pairs(folder / "test.parquet")
    scores = checked_scores(scorer, [group for item in opened.items for group in item.groups])
    return scorer, opened, float(np.std([one.value for own in scores for one in own]))


def failed(scorer, opened, folder, *probes):
    return audit(scorer, opened, folder, AuditOptions(probes)).failed


@pytest.mark.slow
def test_the_trained_model_is_not_flagged(trained, tmp_path):
    scorer, opened, _ = trained
    assert failed(scorer, opened, tmp_path) == []


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
