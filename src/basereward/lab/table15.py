"""The paper's Tables 15 and 16 in miniature: text pairs beside a fixed number of pairs with images.

Source: paper, appendix D.8, Tables 15 and 16.
"""

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from basereward.data.storage import write_rows
from basereward.lab.rows import HELD_OUT_SEED, held_out_rewards, made_backbone, open_row, row_recipe, trained_model
from basereward.lab.tables import Claim, Column, TablePlan
from basereward.lab.world import WorldConfig, draw_pairs, draw_rows

PAIRS_PER_STEP = 48
TEXT_SEED = 5_000_011
TEST_WORLD = WorldConfig(text_share=1 / 3)
# Text pairs for each pair with images.
RATIOS = {"1 : 0": 0.0, "1 : 0.5": 0.5, "1 : 1": 1.0, "1 : 2": 2.0}
NONE, HALF, ONE, TWO = RATIOS
COLUMNS = (
    Column("images", "with images"),
    Column("text", "text"),
    *(Column(axis, axis) for axis in ("hallucination", "vqa", "general", "reasoning")),
    Column("arithmetic", "math"),
    Column("refusal", "safety"),
)
CLAIMS = (
    *(Claim(f"With images 1 : 0.5 is better than {row}", HALF, row, "images") for row in (NONE, ONE, TWO)),
    Claim("Half as much text improves text", HALF, NONE, "text"),
    Claim("As much text improves it further", ONE, HALF, "text"),
    Claim("Twice as much text improves it further", TWO, ONE, "text"),
    Claim("Text costs accuracy against hallucination", NONE, TWO, "hallucination"),
    Claim("Half as much text improves questions about what is seen", HALF, NONE, "vqa"),
    Claim("Half as much text improves math", HALF, NONE, "arithmetic"),
    Claim("As much text improves safety", ONE, NONE, "refusal"),
)
NOTES = (
    "The pairs with images are the same in all rows, as in D.8, and each row passes over its pairs once: more text is "
    "more steps. The paper does not say which it holds equal.",
    "The world's math is arithmetic without an image; the paper's is a task of a multimodal benchmark.",
    "The world asks 44 questions without an image, so that those held out were trained on.",
    "Backbones have random weights: language that text pairs could improve is not there before.",
)


class RatioSizes(NamedTuple):
    """How large the runs are: pairs with images in every row, and held-out pairs."""

    image_pairs: int = 12_000
    test_pairs: int = 1_400


def plan_table(sizes: RatioSizes = RatioSizes()) -> TablePlan:  # noqa: B008
    """Return the plan of the table."""

    def run(row: str, seed: int, folder: Path) -> Mapping[str, float]:
        place, texts = folder / row.replace(" : ", "-"), round(sizes.image_pairs * RATIOS[row])
        data = place / "train.parquet"
        if not data.is_file():
            place.mkdir(parents=True, exist_ok=True)
            write_rows(_mixed(sizes.image_pairs, texts, seed), data)
        count = sizes.image_pairs + texts
        steps = max(1, count // PAIRS_PER_STEP)
        backbone = made_backbone(folder / "backbone", "qwen2_5_vl", seed)
        model = open_row(trained_model(row_recipe(row, backbone, data, steps, seed, count), place / "run"))
        return held_out_rewards(
            model, list(draw_pairs(sizes.test_pairs, seed + HELD_OUT_SEED, TEST_WORLD))
        ).accuracies()

    return TablePlan("table15", "Tables 15 and 16", tuple(RATIOS), COLUMNS, CLAIMS, NOTES, sizes._asdict(), run)


def _mixed(images: int, texts: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield pairs with images, then those of text; more text begins with the same."""
    return chain(draw_rows(images, seed), draw_rows(texts, seed + TEXT_SEED, WorldConfig(text_share=1)))
