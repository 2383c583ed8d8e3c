"""The paper's Tables 5 and 8 in miniature: a reward model trained on one axis of the world, tested on all.

Source: paper, section 3.4, Tables 5 and 8.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from basereward.lab.questions import KINDS
from basereward.lab.rows import (
    HELD_OUT_SEED,
    drawn_pairs,
    held_out_rewards,
    made_backbone,
    open_row,
    row_recipe,
    trained_model,
)
from basereward.lab.tables import Claim, Column, TablePlan
from basereward.lab.world import QUICK_KINDS, TEXT_KINDS, WorldConfig, draw_pairs

TEST_WORLD = WorldConfig(text_share=1 / 3)
IMAGE_AXES = ("vqa", "general", "reasoning", "hallucination")
IMAGES, TEXT, ALL = "all with images", "all text", "all"
ROWS: Mapping[str, WorldConfig] = {
    **{axis: WorldConfig(kinds=tuple(k for k in QUICK_KINDS if KINDS.get(k).axis == axis)) for axis in IMAGE_AXES},
    IMAGES: WorldConfig(),
    **{kind: WorldConfig(text_kinds=(kind,), text_share=1) for kind in TEXT_KINDS},
    TEXT: WorldConfig(text_share=1),
    ALL: TEST_WORLD,
}
COLUMNS = (
    Column("images", "with images"),
    Column("text", "text"),
    *(Column(axis, axis) for axis in IMAGE_AXES),
    Column("arithmetic", "math"),
    Column("refusal", "safety"),
)
CLAIMS = (
    Claim(
        "Pairs against hallucination are better at it than those of reasoning",
        "hallucination",
        "reasoning",
        "hallucination",
    ),
    Claim(
        "Pairs of reasoning are better at it than those against hallucination",
        "reasoning",
        "hallucination",
        "reasoning",
    ),
    Claim(
        "Text alone is as good with images as pairs against hallucination, or better", TEXT, "hallucination", "images"
    ),
    *(Claim(f"Text alone is better on text than pairs of {axis}", TEXT, axis, "text") for axis in IMAGE_AXES),
    Claim("Text brings safety, pairs with images do not", TEXT, IMAGES, "refusal"),
    Claim("Text brings math, pairs with images do not", TEXT, IMAGES, "arithmetic"),
    Claim("Text beside pairs with images improves the mean with images", ALL, IMAGES, "images"),
)
NOTES = (
    "Sources of the paper are axes of the world: a row has the pairs of one axis alone, or of all with images, of "
    "text, or of both, a third of them text. Of the paper's sources none is here, nor is coding.",
    "Equal pairs and steps for every row, whatever the paper's sources have; pairs of few questions are learned to the "
    "last one.",
    "Backbones have random weights: what text pairs bring to questions about images in the paper may rest on "
    "pretraining, which is not here.",
    "Columns beside the means are Table 8's groups: means over kinds of questions.",
)


class SourceSizes(NamedTuple):
    """How large the runs are: optimiser steps of 48 pairs, training pairs, held-out pairs."""

    steps: int = 300
    pairs: int = 12_000
    test_pairs: int = 1_400


def plan_table(sizes: SourceSizes = SourceSizes()) -> TablePlan:  # noqa: B008
    """Return the plan of the table."""

    def run(row: str, seed: int, folder: Path) -> Mapping[str, float]:
        place = folder / row.replace(" ", "-")
        data = drawn_pairs(place / "train.parquet", sizes.pairs, seed, ROWS[row])
        backbone = made_backbone(folder / "backbone", "qwen2_5_vl", seed)
        recipe = row_recipe(row, backbone, data, sizes.steps, seed, sizes.pairs)
        model = open_row(trained_model(recipe, place / "run"))
        return held_out_rewards(
            model, list(draw_pairs(sizes.test_pairs, seed + HELD_OUT_SEED, TEST_WORLD))
        ).accuracies()

    return TablePlan("table5", "Tables 5 and 8", tuple(ROWS), COLUMNS, CLAIMS, NOTES, sizes._asdict(), run)
