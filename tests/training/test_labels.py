"""What labels are worth: ratings as margins and weights, and labels that are the wrong way round."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from basereward.data.pairs import pair_row
from basereward.data.storage import write_rows
from basereward.errors import RecipeError
from basereward.lab.world import WorldConfig, draw_pairs
from basereward.training.collator import PreferenceCollator
from basereward.training.labels import FlippedLabels
from basereward.training.losses import bradley_terry, noisy_bradley_terry
from basereward.training.objectives import BradleyTerry
from basereward.training.prepare import prepare_data, prepare_template

DIFFERENCES = torch.linspace(-4, 4, 9, dtype=torch.float64)
NOTHING = torch.zeros(9, dtype=torch.float64)


def test_smooth_targets_are_reached_at_their_odds() -> None:
    best = torch.logit(torch.tensor([0.8], dtype=torch.float64)).requires_grad_()
    noisy_bradley_terry(best, 0.2).sum().backward()
    assert float(best.grad) == pytest.approx(0.0, abs=1e-12)
    plain = bradley_terry(DIFFERENCES, NOTHING)
    torch.testing.assert_close(noisy_bradley_terry(DIFFERENCES, 0.2), plain + 0.2 * DIFFERENCES)


def test_the_mean_over_flips_of_the_unbiased_loss_is_that_of_true_labels() -> None:
    rate = 0.3
    right, wrong = (noisy_bradley_terry(sign * DIFFERENCES, rate, unbiased=True) for sign in (1, -1))
    torch.testing.assert_close((1 - rate) * right + rate * wrong, bradley_terry(DIFFERENCES, NOTHING))


def test_the_objective_takes_labels_to_be_flipped_behind_the_margin() -> None:
    batch = {
        "rewards": torch.tensor([2.0, 0.5, -1.0, 0.0]),
        "pairs": torch.tensor([(0, 1), (2, 3)]),
        "margins": torch.tensor([1.0, 0.0]),
        "weights": torch.tensor([1.0, 3.0]),
        "answer_lengths": torch.ones(4, dtype=torch.long),
    }
    objective = BradleyTerry(use_margin=True, flipped=FlippedLabels(rate=0.1, correction="unbiased"))
    each = noisy_bradley_terry(torch.tensor([0.5, -1.0]), 0.1, unbiased=True)
    torch.testing.assert_close(objective.loss(**batch).total, each[0] + 3 * each[1])


@pytest.mark.parametrize(("use", "key"), [("margin", "margins"), ("weight", "weights")])
def test_ratings_set_margins_or_weights_and_pairs_without_are_dropped(
    use: str, key: str, make_recipe: Callable, tmp_path: Path
) -> None:
    drawn = list(draw_pairs(9, 0, WorldConfig(text_share=1.0)))
    scores = [(5.0, 1.0), (2.0, 1.0), (), (1.0, 1.0), (1.0, 4.0), *[(3.0, 1.0)] * 4]
    rated = [replace(pair, scores=own) for pair, own in zip(drawn, scores, strict=True)]
    write_rows(map(pair_row, rated), tmp_path / "pairs.jsonl")
    data = {"train": [str(tmp_path / "pairs.jsonl")], "validation": [str(tmp_path / "pairs.jsonl")]}
    recipe = make_recipe(data=data, objective={"ratings": {"use": use, "scale": 0.5}})
    prepared = prepare_data(recipe, prepare_template(recipe))
    assert prepared.train.drops["reasons"]["unrated"]["count"] == 3
    batch = PreferenceCollator(prepare_template(recipe), recipe.objective)(list(prepared.train.pairs))
    assert batch[key].tolist() == [2.0, 0.5, 1.0, 1.0, 1.0, 1.0]
    # Validation compares rewards, and needs no ratings.
    assert len(prepared.validation[""].pairs) == 9


def test_a_margin_is_said_once(make_recipe: Callable) -> None:
    with pytest.raises(RecipeError, match="use_margin and ratings both set the margin"):
        make_recipe(objective={"use_margin": True, "ratings": {"use": "margin"}})
