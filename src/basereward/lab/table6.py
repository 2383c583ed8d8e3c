"""The paper's Table 6 in miniature: families of backbones, each of two sizes, on the same pairs.

Source: paper, section 3.6, appendix D.6 and Table 6.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, get_args

from basereward.lab.backbone import Family, Size
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
from basereward.lab.world import WorldConfig, draw_pairs

WORLD = WorldConfig(text_share=1 / 3)
FAMILIES: tuple[Family, ...] = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "internvl")
SIZES: tuple[Size, ...] = get_args(Size)


class BackboneRow(NamedTuple):
    """A backbone of the table."""

    family: Family
    size: Size


ROWS: Mapping[str, BackboneRow] = {
    f"{family}, {size}": BackboneRow(family, size) for family in FAMILIES for size in SIZES
}
COLUMNS = (
    Column("images", "with images"),
    Column("text", "text"),
    *(Column(axis, axis) for axis in ("vqa", "general", "reasoning", "hallucination")),
    Column("arithmetic", "math"),
    Column("refusal", "safety"),
    Column("millions", "million weights", is_share=False),
)
CLAIMS = (
    *(
        Claim(f"{family} is better with images than internvl", f"{family}, demo", "internvl, demo", "images")
        for family in FAMILIES[:3]
    ),
    *(
        Claim(f"internvl is better on text than {family}", "internvl, demo", f"{family}, demo", "text")
        for family in FAMILIES[:3]
    ),
    Claim("qwen2_5_vl is better with images than qwen2_vl", "qwen2_5_vl, demo", "qwen2_vl, demo", "images"),
    *(
        Claim(f"The larger {family} is better with images", f"{family}, demo", f"{family}, test", "images")
        for family in FAMILIES
    ),
)
NOTES = (
    "Backbones of about 0.1 and 1 million weights (sizes test and demo), random at the start: the towers, positions "
    "and templates of the families, and nothing of their pretraining, which the paper's order may rest on.",
    "The paper finds that a larger backbone brings little; how little is the difference of its rows.",
    "Equal pairs, a third of them text, steps, seeds and learning rate for all rows.",
)


class BackboneSizes(NamedTuple):
    """How large the runs are: optimiser steps of 48 pairs, training pairs, held-out pairs."""

    steps: int = 400
    pairs: int = 20_000
    test_pairs: int = 1_400


def plan_table(sizes: BackboneSizes = BackboneSizes()) -> TablePlan:  # noqa: B008
    """Return the plan of the table."""

    def run(row: str, seed: int, folder: Path) -> Mapping[str, float]:
        place, (family, size) = folder / row.replace(", ", "-"), ROWS[row]
        data = drawn_pairs(folder / "train.parquet", sizes.pairs, seed, WORLD)
        backbone = made_backbone(place / "backbone", family, seed, size)
        model = open_row(trained_model(row_recipe(row, backbone, data, sizes.steps, seed, sizes.pairs), place / "run"))
        pairs = list(draw_pairs(sizes.test_pairs, seed + HELD_OUT_SEED, WORLD))
        millions = sum(weight.numel() for weight in model.parameters()) / 1e6
        return {**held_out_rewards(model, pairs).accuracies(), "millions": millions}

    return TablePlan("table6", "Table 6", tuple(ROWS), COLUMNS, CLAIMS, NOTES, sizes._asdict(), run)
