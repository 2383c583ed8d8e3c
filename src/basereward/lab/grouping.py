"""Whether drawing the pairs of a prompt or of an image together costs accuracy, at equally many pairs and steps.

The paper draws pairs one by one; that all pairs of a prompt belong in one batch is from InstructGPT (arXiv 2203.02155,
section 3.5), and of prompts of one image nobody has said it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from basereward.data.io import read_json
from basereward.data.pairs import pair_row
from basereward.data.storage import write_rows
from basereward.errors import DataError
from basereward.evaluation.pairs import read_pairs
from basereward.evaluation.runner import EvaluationOptions, evaluate
from basereward.lab.rows import HELD_OUT_SEED, made_backbone, row_recipe, trained_model
from basereward.lab.scenes import PAIRS, draw_scene_pairs
from basereward.lab.tables import Claim, Column, TablePlan
from basereward.scoring.spec import open_scorer
from basereward.training.folder import FACTS

ROWS = ("pair", "prompt", "image")
KINDS = ("color1", "shape1", "size1", "pos1")
COLUMNS = (
    Column("accuracy", "held-out pairs"),
    *(Column(kind, kind) for kind in KINDS),
    Column("seconds", "seconds of training", is_share=False),
)
CLAIMS = (
    Claim("Pairs of a prompt drawn together are as good as pairs drawn alone, or better", "prompt", "pair", "accuracy"),
    Claim("Pairs of an image drawn together are as good as pairs drawn alone, or better", "image", "pair", "accuracy"),
)
NOTES = (
    "No finding of the paper: it draws pairs one by one. A negative difference says that a group costs accuracy.",
    "A scene has four prompts and six pairs; at 48 pairs a step there are about 48 scenes in a step of pairs, 32 of "
    "prompts and 8 of images.",
    "Equal pairs, steps, seeds and learning rate for all rows; a learning rate for each might be fairer to the groups.",
    "Accuracy is the mean over the four kinds of questions, of scenes that were not trained on.",
)


class GroupingSizes(NamedTuple):
    """How many scenes there are, and optimiser steps of 48 pairs."""

    steps: int = 600
    scenes: int = 3_300
    test_scenes: int = 250


def plan_grouping(sizes: GroupingSizes) -> TablePlan:
    """Return the plan of the table."""

    def run(row: str, seed: int, folder: Path) -> Mapping[str, float]:
        data = _pairs(folder / "train.parquet", sizes.scenes, seed)
        backbone = made_backbone(folder / "backbone", "qwen2_5_vl", seed)
        recipe = row_recipe(row, backbone, data, sizes.steps, seed, sizes.scenes * PAIRS, group=row)
        model = trained_model(recipe, folder / row)
        test = _pairs(folder / "test.parquet", sizes.test_scenes, seed + HELD_OUT_SEED)
        options = EvaluationOptions(references=False, overwrite=True)
        scorer = open_scorer(str(model), device="cpu")
        result = evaluate(scorer, read_pairs(test), folder / "rows" / row, options)
        if result.failures:
            raise DataError(f"Pairs of the lab could not be scored: {result.failures}.")
        kinds = {name.rpartition("/")[2]: metric.value or 0.0 for name, metric in result.main.subsets.items()}
        return {
            "accuracy": sum(kinds.values()) / len(kinds),
            **kinds,
            "seconds": read_json(folder / row / FACTS)["seconds"],
        }

    return TablePlan("grouping", "section 4.1", ROWS, COLUMNS, CLAIMS, NOTES, sizes._asdict(), run)


def _pairs(path: Path, scenes: int, seed: int) -> Path:
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_rows(map(pair_row, draw_scene_pairs(scenes, seed)), path)
    return path
