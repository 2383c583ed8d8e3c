"""Whether heads on a frozen backbone rank design choices as full training does: the same heads, pairs and seeds."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch

from basereward.evaluation.frozen.features import frozen_pairs
from basereward.evaluation.frozen.fit import FitSettings, FittedHead, fit_head
from basereward.evaluation.frozen.ranks import RankAgreement, rank_agreement
from basereward.evaluation.frozen.run import FEATURES
from basereward.lab.demo import demo_recipe
from basereward.lab.rows import HELD_OUT_SEED, drawn_pairs, made_backbone, trained_model
from basereward.lab.tables import Column, LabTable, TablePlan
from basereward.lab.world import WorldConfig
from basereward.models.head import HeadSettings
from basereward.scoring.folders import open_encoder
from basereward.training.objectives import BradleyTerry

FULL, FROZEN = "full", "frozen"
COLUMNS = (Column(FULL, "full training"), Column(FROZEN, "frozen features"))
TEXT = WorldConfig(text_share=1)


class HeadChoice(NamedTuple):
    """A head and its regulariser."""

    head: HeadSettings
    coefficient: float = 0.0


CHOICES: Mapping[str, HeadChoice] = {
    "1:none": HeadChoice(HeadSettings(layers=1, activation="none")),
    "2:tanh": HeadChoice(HeadSettings(layers=2, activation="tanh")),
    "2:silu": HeadChoice(HeadSettings()),
    "3:silu": HeadChoice(HeadSettings(layers=3)),
    "5:silu": HeadChoice(HeadSettings(layers=5)),
    "2:silu, lambda 0.1": HeadChoice(HeadSettings(), 0.1),
}
NOTES = (
    "A Qwen2 with random weights, the smallest of the lab, on questions without an image, of which the world has 44: "
    "what is measured is how fast they are learned.",
    "Features are those of the backbone from which full training starts: random ones. Pretrained ones say more.",
    "Both columns of a seed have the same backbone, pairs and held-out pairs; rows differ in the head alone.",
)


class FrozenSizes(NamedTuple):
    """How long models are trained, in steps of 48 pairs, and how many pairs there are."""

    steps: int = 60
    pairs: int = 1_920
    test_pairs: int = 400


def plan_frozen(sizes: FrozenSizes) -> TablePlan:
    """Return the plan of the comparison, as a table."""

    def run(row: str, seed: int, folder: Path) -> Mapping[str, float]:
        choice = CHOICES[row]
        backbone = made_backbone(folder / "backbone", "qwen2", seed, "test")
        data = drawn_pairs(folder / "train.parquet", sizes.pairs, seed, TEXT)
        test = drawn_pairs(folder / "test.parquet", sizes.test_pairs, seed + HELD_OUT_SEED, TEXT)
        encoder = open_encoder(str(backbone), "float32", "cpu")
        seen, held_out = (frozen_pairs(encoder, str(path), folder / FEATURES) for path in (data, test))
        frozen = fit_head(seen, choice.head, choice.coefficient, FitSettings(), seed).accuracy(held_out)
        name = row.replace(":", "-").replace(", ", "-").replace(" ", "-")
        recipe = demo_recipe(name, backbone, data, None, sizes.steps, seed, sizes.pairs)
        recipe = recipe.model_copy(
            update={
                "model": recipe.model.model_copy(update={"head": choice.head}),
                "objective": BradleyTerry(zero_coefficient=choice.coefficient),
                "hardware": recipe.hardware.model_copy(update={"workers": 0}),
            }
        )
        model = trained_model(recipe, folder / name)
        return {FULL: _accuracy(model, test, folder / FEATURES), FROZEN: frozen}

    return TablePlan("frozen", "Table 2", tuple(CHOICES), COLUMNS, (), NOTES, sizes._asdict(), run)


def table_agreement(table: LabTable) -> RankAgreement:
    """Return the rank correlations of the two columns over the rows, seed by seed."""
    measured = {(cell.row, cell.seed): cell.values for cell in table.cells}
    full, frozen = (
        [[measured[row, seed][column] for row in table.rows] for seed in table.seeds] for column in (FULL, FROZEN)
    )
    return rank_agreement(full, frozen)


def _accuracy(model: Path, test: Path, features: Path) -> float:
    """Return the share of held-out pairs that a trained model ranks right: its own head on its own features."""
    encoder = open_encoder(str(model), "float32", "cpu")
    width = encoder.model.config.get_text_config().hidden_size
    own = FittedHead(encoder.model.head, torch.zeros(width), torch.ones(width))
    return own.accuracy(frozen_pairs(encoder, str(test), features))
