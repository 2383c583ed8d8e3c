"""The whole way in miniature: draw a world, train the paper's Naive-RM on it, evaluate it, write the page."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from basereward.data.images import image_bytes, pack_image
from basereward.data.io import write_json
from basereward.data.storage import write_rows
from basereward.errors import DataError, TrainingError
from basereward.evaluation.blind import IMAGE_BLIND
from basereward.evaluation.pairs import read_pairs
from basereward.evaluation.result import RESULT
from basereward.evaluation.runner import evaluate
from basereward.lab.backbone import write_backbone
from basereward.lab.world import ODD_SHARES, WorldConfig, draw_rows
from basereward.models.reward_model import RewardModel
from basereward.reporting.plots import require_matplotlib
from basereward.reporting.reports import write_report
from basereward.reporting.runs import EVALUATION
from basereward.scoring.local import LocalScorer
from basereward.training.recipe import Recipe, parse_recipe
from basereward.training.run import train

TRAIN_PAIRS = 20_000
TEST_PAIRS = 700
PICTURE = "scene.png"
Say = Callable[[str], None]


def run_demo(folder: Path, steps: int = 600, seed: int = 0, say: Say = lambda text: None) -> dict[str, Any]:
    """Draw, train, evaluate and report; return what ``result.json`` holds.

    Args:
        folder: the run folder; must not hold a run.
        steps: optimiser steps of 48 pairs.
        seed: of the world, the weights and the order of data.
        say: told what happens next.

    Raises:
        MissingExtraError: matplotlib, which the page needs, is not installed.
        TrainingError: the folder already holds a run.
    """
    start = time.perf_counter()
    require_matplotlib()
    if any((folder / name).exists() for name in ("result.json", "metrics.jsonl", "model")):
        raise TrainingError(f"{folder} already holds a run; choose another --out or delete it.")
    say(f"drawing {TRAIN_PAIRS:,} pairs to train on and {TEST_PAIRS} held-out pairs")
    data, test = folder / "data" / "train.parquet", folder / "data" / "test.parquet"
    data.parent.mkdir(parents=True, exist_ok=True)
    rows = draw_rows(TRAIN_PAIRS, seed, WorldConfig(odd_share=ODD_SHARES.get("varied")))
    write_rows(tqdm(rows, "draw", TRAIN_PAIRS, file=sys.stderr, unit="pair"), data)
    write_rows(draw_rows(TEST_PAIRS, seed + 1_000_003), test)
    _write_picture(folder / PICTURE, seed)
    backbone = write_backbone(folder / "backbone", size="demo", seed=seed)
    say(f"training a Naive-RM on a tiny Qwen2.5-VL for {steps} steps")
    run = train(demo_recipe(folder.name, backbone, data, test, steps, seed), folder)
    say("evaluating on the held-out pairs, with the right images and with those of other pairs")
    scorer = LocalScorer(RewardModel.from_pretrained(run.model_folder, device="cpu"), "model")
    with tqdm(desc="evaluate", file=sys.stderr, unit="pair") as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        found = evaluate(scorer, read_pairs(test), folder / EVALUATION, on_progress=show)
    summaries = found.main.summaries
    accuracies = {name: own.metrics["accuracy"].value for name, own in summaries.items()}
    if accuracies["model"] is None:
        raise DataError(f"No held-out pair could be scored: {found.failures}; see {folder / EVALUATION}.")
    result = {
        "accuracy": accuracies["model"],
        "image_blind_accuracy": accuracies.get(IMAGE_BLIND),
        "pairs": found.n,
        "seconds": time.perf_counter() - start,
        "training": run.facts,
        "evaluations": {name: own.model_dump(mode="json") for name, own in summaries.items()},
    }
    write_json(folder / RESULT, result)
    write_report(folder)
    return result


def _write_picture(file: Path, seed: int) -> None:
    """Write a picture of the held-out pairs, to try the model with."""
    row = next(row for row in draw_rows(TEST_PAIRS, seed + 1_000_003) if row["images"])
    file.write_bytes(image_bytes(pack_image(row["images"][0], file.parent)))


def demo_recipe(
    name: str, backbone: Path, data: Path, test: Path | None, steps: int, seed: int, pairs: int = TRAIN_PAIRS
) -> Recipe:
    """Return the demo's recipe: that of the paper but for size, learning rate and pairs a step.

    Args:
        test: pairs that are evaluated during training, if any.
        pairs: how many pairs the data holds; they are passed over as often as the steps need.
    """
    return parse_recipe(
        {
            "name": name,
            "model": {"backbone": str(backbone)},
            "data": {"train": [str(data)], "validation": [str(test)] if test else []},
            "optimizer": {
                "learning_rate": 5e-4,
                "pairs_per_step": 48,
                "epochs": -(-steps * 48 // pairs),
                "max_steps": steps,
                "warmup_share": 0.06,
                "weight_decay": 0.01,
            },
            "hardware": {"precision": "fp32", "workers": 1, "use_cpu": True},
            "run": {"seed": seed, "log_every": 20, "eval_every": 100},
        }
    )
