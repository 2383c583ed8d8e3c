"""The paper's Table 7 in miniature: reward models of two backbones and a text model, and how they are combined.

Source: paper, appendix B and Table 7.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

from basereward.errors import DataError
from basereward.evaluation.pairs import read_pairs
from basereward.evaluation.result import Result
from basereward.evaluation.runner import EvaluationOptions, evaluate
from basereward.lab.backbone import Family
from basereward.lab.demo import demo_recipe
from basereward.lab.rows import HELD_OUT_SEED, drawn_pairs, made_backbone, trained_model
from basereward.lab.tables import Claim, Column, TablePlan
from basereward.lab.world import TEXT_KINDS, WorldConfig
from basereward.scoring.interface import Scorer
from basereward.scoring.spec import open_scorer

TRAIN_PAIRS = 12_000
# Appendix B measures weights on as many.
VALIDATION_PAIRS = 1_000
TEST_PAIRS = 1_400
VALIDATION_SEED = 2_000_003
# Half as many pairs without images as with them, the ratio 1 : 0.5 that D.8 recommends.
WORLD = WorldConfig(text_share=1 / 3)
WORLD_OF_TEXT = WorldConfig(text_share=1)
QWEN, INTERNVL, TEXT = "qwen2.5-vl", "internvl", "qwen3"
ACCURACY, CONFIDENCE, MEAN, WITH_TEXT = "accuracy", "confidence", "mean", "mean + text"
ROWS = (QWEN, INTERNVL, ACCURACY, CONFIDENCE, MEAN, WITH_TEXT)
COLUMNS = (Column("images", "with images"), Column("text", "text"), *(Column(kind, kind) for kind in TEXT_KINDS))
CLAIMS = (
    Claim("The mean is better with images than the Qwen model", MEAN, QWEN, "images"),
    Claim("The mean is better with images than the InternVL model", MEAN, INTERNVL, "images"),
    Claim("The plain mean is better with images than weights by accuracy", MEAN, ACCURACY, "images"),
    Claim("The plain mean is better with images than weights by confidence", MEAN, CONFIDENCE, "images"),
    Claim("The plain mean is better on text than weights by accuracy", MEAN, ACCURACY, "text"),
    Claim("A text model improves the mean on text", WITH_TEXT, MEAN, "text"),
)
NOTES = (
    "Backbones of 1.0 and 0.8 million weights, random at the start; the same pairs, two thirds of them with images, "
    "for both; the text model is trained on those without images.",
    "Weights are measured on 1,000 pairs that nobody was trained on, drawn like the training pairs; confidence is the "
    "mean signed margin.",
    "The text model is left out of prompts with images, so that the last row equals the mean there.",
    "The world asks 44 different questions without an image, so that those held out were trained on; pairs with images "
    "are of other scenes.",
    "With images: the mean over the seven kinds of questions about images; text: over the two kinds without. All are "
    "shares of held-out pairs.",
)


class Arm(NamedTuple):
    """A reward model: its backbone, and the pairs that it learns from."""

    family: Family
    pairs: Literal["all", "text"]


ARMS: Mapping[str, Arm] = {
    QWEN: Arm("qwen2_5_vl", "all"),
    INTERNVL: Arm("internvl", "all"),
    TEXT: Arm("qwen3", "text"),
}


class ArmSizes(NamedTuple):
    """How long reward models are trained: optimiser steps of 48 pairs.

    Text without images is learnt to the last pair within 500 steps, and then no row can be told from another.
    """

    steps: int


def plan_table(sizes: ArmSizes) -> TablePlan:
    """Return the plan of the table."""

    def run(row: str, seed: int, folder: Path) -> Mapping[str, float]:
        members = {name: train_arm(name, arm, seed, folder, sizes) for name, arm in ARMS.items() if _needs(row, name)}
        spec = write_ensemble(row, members, _pairs(folder, "validation", VALIDATION_PAIRS, seed + VALIDATION_SEED))
        return measure(open_scorer(str(spec), device="cpu"), held_out(folder, seed), folder / "rows" / row)

    return TablePlan("table7", "Table 7", ROWS, COLUMNS, CLAIMS, NOTES, sizes._asdict(), run)


def _needs(row: str, arm: str) -> bool:
    return arm == row if row in ARMS else arm != TEXT or row == WITH_TEXT


def write_ensemble(row: str, members: Mapping[str, Path], validation: Path) -> Path:
    """Write the spec of a row beside its members' folders, and return the file."""
    listed: list[dict[str, Any]] = [{"model": str(model), "name": name} for name, model in members.items()]
    for member in listed:
        if member["name"] == TEXT:
            member["only"] = "text"
    content: dict[str, Any] = {"name": row, "members": listed}
    if row in (ACCURACY, CONFIDENCE):
        content["ensemble"] = {"weights": row, "validation": str(validation)}
    path = validation.parent / f"{row}.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def train_arm(name: str, arm: Arm, seed: int, folder: Path, sizes: ArmSizes) -> Path:
    """Return the model folder of an arm, trained if it was not before."""
    backbone = made_backbone(folder / f"{name}-backbone", arm.family, seed)
    count = TRAIN_PAIRS if arm.pairs == "all" else int(TRAIN_PAIRS * WORLD.text_share)
    data = train_pairs(folder, arm, seed, count)
    return trained_model(demo_recipe(name, backbone, data, None, sizes.steps, seed, count), folder / name)


def train_pairs(folder: Path, arm: Arm, seed: int, count: int) -> Path:
    """Return the file of an arm's pairs: those of a seed, with images and without, or without alone."""
    if arm.pairs == "all":
        return _pairs(folder, "train", count, seed)
    return _pairs(folder, "train-text", count, seed, WORLD_OF_TEXT)


def held_out(folder: Path, seed: int, pairs: Literal["all", "text"] = "all") -> Path:
    """Return the file of a seed's held-out pairs, drawn if it was not before."""
    if pairs == "all":
        return _pairs(folder, "test", TEST_PAIRS, seed + HELD_OUT_SEED)
    return _pairs(folder, "test-text", int(TEST_PAIRS * WORLD.text_share), seed + HELD_OUT_SEED, WORLD_OF_TEXT)


def _pairs(folder: Path, name: str, count: int, seed: int, world: WorldConfig = WORLD) -> Path:
    return drawn_pairs(folder / f"{name}.parquet", count, seed, world)


def measure(scorer: Scorer, test: Path, folder: Path) -> dict[str, float]:
    """Return accuracies on held-out pairs: with images and without, and of each kind without.

    Raises:
        DataError: nothing could be scored.
    """
    options = EvaluationOptions(references=False, overwrite=True)
    return read_accuracies(evaluate(scorer, read_pairs(test), folder, options))


def read_accuracies(result: Result) -> dict[str, float]:
    """Return the numbers of the table from an evaluation: means over kinds of questions, each counted alike.

    Raises:
        DataError: a pair has no score.
    """
    if result.failures:
        raise DataError(f"Pairs of the lab could not be scored: {result.failures}.")
    kinds = {name.rpartition("/")[2]: metric.value or 0.0 for name, metric in result.main.subsets.items()}
    text = {kind: kinds.pop(kind) for kind in TEXT_KINDS}
    return {"text": _mean(list(text.values())), **text, **({"images": _mean(list(kinds.values()))} if kinds else {})}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
