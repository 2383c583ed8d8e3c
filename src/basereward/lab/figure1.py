"""The paper's Figure 1 and Table 13 in miniature: the zero-coefficient regulariser and length normalisation.

Source: paper, section 3.3, Algorithm 1, Figure 1, and appendix D.5, Table 13.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from basereward.data.outcomes import About, Score, Scored
from basereward.data.schema import ResponseGroup
from basereward.lab.rows import (
    HELD_OUT_SEED,
    HeldOutRewards,
    drawn_pairs,
    held_out_rewards,
    made_backbone,
    open_row,
    row_recipe,
    trained_model,
)
from basereward.lab.tables import Claim, Column, TablePlan
from basereward.lab.world import WorldConfig, draw_pairs
from basereward.models.reward_model import RewardModel
from basereward.scoring.local import LocalScorer
from basereward.training.losses import length_normalized

# The paper goes from 0 to 0.1 and names no grid.
LAMBDAS = (0.0, 0.001, 0.01, 0.03, 0.1)
IN_LOSS, IN_BOTH = "length in the loss", "length in the loss and in scoring"
# Lengths differ, and say nothing of the label. With 30 % of the pairs padded lambda 0 is at chance after 400 steps.
WORLD = WorldConfig(padded_share=0.1)


def lambda_row(value: float) -> str:
    """Return the name of the row of a weight of the regulariser."""
    return f"lambda {value:g}"


PLAIN, STRONG = lambda_row(LAMBDAS[0]), lambda_row(LAMBDAS[-1])
ROWS: Mapping[str, dict[str, Any]] = {
    **{lambda_row(value): {"zero_coefficient": value} for value in LAMBDAS},
    IN_LOSS: {"length_normalization": True},
    IN_BOTH: {"length_normalization": True},
}
COLUMNS = (
    Column("images", "all"),
    *(Column(axis, axis) for axis in ("reasoning", "hallucination", "general", "vqa")),
    *(
        Column(key, key, is_share=False)
        for key in ("mean chosen", "mean rejected", "gap", "std chosen", "std rejected")
    ),
)
CLAIMS = (
    *(Claim(f"Accuracy falls from no regulariser to {row}", PLAIN, row, "images") for row in ROWS if row != PLAIN),
    Claim("Accuracy falls from the weakest regulariser to the strongest", lambda_row(LAMBDAS[1]), STRONG, "images"),
    Claim("The strongest regulariser makes the gap of rewards smaller", PLAIN, STRONG, "gap"),
    Claim("The strongest regulariser makes chosen rewards spread less", PLAIN, STRONG, "std chosen"),
    Claim("The strongest regulariser makes rejected rewards spread less", PLAIN, STRONG, "std rejected"),
)
NOTES = (
    "The paper does not say whether rewards are divided by the length in scoring too: the two rows of length are one "
    "model, scored in both ways. Lengths are tokens after the generation prompt.",
    "In 10 % of the pairs one response starts with filler words, the chosen one in half of them.",
    "Equal pairs, steps, seeds and learning rate for all rows; means and standard deviations are over held-out pairs.",
)


class RegularizerSizes(NamedTuple):
    """How large the runs are: optimiser steps of 48 pairs, training pairs, held-out pairs."""

    steps: int = 400
    pairs: int = 20_000
    test_pairs: int = 700


class LengthNormalized:
    """Scores with a model and divides each reward by ``log(tokens + 1)`` of its response.

    Args:
        model: in this process.
    """

    def __init__(self, model: RewardModel) -> None:
        self._scorer, self._template = LocalScorer(model, "row"), model.template
        self.about: About = self._scorer.about

    def score(self, groups: Sequence[ResponseGroup]) -> list[list[Scored]]:
        """Return the divided rewards, in order; a failure stays one."""
        found = self._scorer.score(groups)
        lengths = [self._template.encode(group).answer_lengths for group in groups]
        return [
            [_divided(*each) for each in zip(own, tokens, strict=True)]
            for own, tokens in zip(found, lengths, strict=True)
        ]


def _divided(score: Scored, tokens: int) -> Scored:
    if not isinstance(score, Score):
        return score
    return Score(float(length_normalized(torch.tensor([score.value]), torch.tensor([tokens]))[0]))


def plan_figure(sizes: RegularizerSizes = RegularizerSizes()) -> TablePlan:  # noqa: B008
    """Return the plan of the figure, as a table."""

    def run(row: str, seed: int, folder: Path) -> Mapping[str, float]:
        data = drawn_pairs(folder / "train.parquet", sizes.pairs, seed, WORLD)
        backbone = made_backbone(folder / "backbone", "qwen2_5_vl", seed)
        # Both rows of length are one model.
        name = IN_LOSS if row == IN_BOTH else row
        recipe = row_recipe(name, backbone, data, sizes.steps, seed, sizes.pairs, objective=ROWS[name])
        model = open_row(trained_model(recipe, folder / name.replace(" ", "-")))
        scorer = LengthNormalized(model) if row == IN_BOTH else model
        return measure(held_out_rewards(scorer, list(draw_pairs(sizes.test_pairs, seed + HELD_OUT_SEED, WORLD))))

    settings = {**sizes._asdict(), "lambdas": list(LAMBDAS), "padded_share": WORLD.padded_share}
    return TablePlan("figure1", "Figure 1 and Table 13", tuple(ROWS), COLUMNS, CLAIMS, NOTES, settings, run)


def measure(rewards: HeldOutRewards) -> dict[str, float]:
    """Return accuracies, and the means, the gap and the standard deviations of rewards, as in Table 13."""
    chosen, rejected = rewards.chosen, rewards.rejected
    means = {"mean chosen": np.mean(chosen), "mean rejected": np.mean(rejected), "gap": np.mean(chosen - rejected)}
    spreads = {"std chosen": np.std(chosen, ddof=1), "std rejected": np.std(rejected, ddof=1)}
    return {**rewards.accuracies(), **{name: float(value) for name, value in (means | spreads).items()}}
