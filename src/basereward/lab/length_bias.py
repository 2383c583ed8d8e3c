"""The paper's Table 12 in miniature: what a length bias of the training pairs costs, and what resampling brings back.

Source: paper, appendix D.4 and Table 12.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from basereward.benchmarks.summary import summarize
from basereward.curation.lengths import balance_lengths
from basereward.data.io import write_json
from basereward.data.pairs import pair_row
from basereward.data.schema import Messages, PreferencePair
from basereward.data.storage import write_rows
from basereward.evaluation.pairs import read_pairs
from basereward.evaluation.runner import score_items
from basereward.lab.backbone import write_backbone
from basereward.lab.demo import demo_recipe
from basereward.lab.world import WorldConfig, draw_pairs, draw_rows
from basereward.models.reward_model import RewardModel
from basereward.reporting.tables import Table, count, percent
from basereward.scoring.local import LocalScorer
from basereward.training.run import train

TRAIN_PAIRS = 20_000
TEST_PAIRS = 600
# Most pairs have no filler words: where all have, length blocks learning for long, with or without a bias.
PADDED_SHARE = 0.3
BIAS = 0.9
ARMS = ("unbiased", "biased", "resampled")
TESTS = {
    "equal": WorldConfig(),
    "longer is right": WorldConfig(padded_share=1, length_bias=1),
    "shorter is right": WorldConfig(padded_share=1, length_bias=0),
}
CONFLICT = "shorter is right"
Say = Callable[[str], None]


def run_length_bias(
    folder: Path, steps: int = 1000, seeds: Sequence[int] = (0, 1, 2), say: Say = lambda text: None
) -> dict[str, Any]:
    """Train on unbiased, biased and resampled pairs at equal steps; return and write what ``result.json`` holds.

    In 30 % of the training pairs one response starts with filler words: the chosen one in half of them (``unbiased``)
    or in 90 % (``biased``). ``resampled`` is the biased set after ``balance_lengths``. A run that is done is not done
    again.

    Args:
        folder: gets a folder for each arm and seed.
        steps: optimiser steps of 48 pairs; the gap shrinks with steps, so all arms take the same.
        seeds: of the world, the weights and the order of data.
        say: told what happens next.
    """
    runs = {
        arm: [_run_arm(folder / f"{arm}-{steps}-steps-seed-{seed}", arm, steps, seed, say) for seed in seeds]
        for arm in ARMS
    }
    accuracies = {arm: {test: [run["accuracy"][test] for run in own] for test in TESTS} for arm, own in runs.items()}
    result = {
        "steps": steps,
        "seeds": list(seeds),
        "train_pairs": {arm: [run["train_pairs"] for run in own] for arm, own in runs.items()},
        "test_pairs": TEST_PAIRS,
        "accuracy": accuracies,
        "recovered": recovered_share(accuracies),
    }
    write_json(folder / "result.json", result)
    return result


def recovered_share(accuracies: Mapping[str, Mapping[str, Sequence[float]]]) -> float | None:
    """Return ``(resampled - biased) / (unbiased - biased)`` of the mean accuracies where the shorter answer is right.

    None if the bias costs nothing.
    """
    unbiased, biased, resampled = (fmean(accuracies[arm][CONFLICT]) for arm in ARMS)
    return (resampled - biased) / (unbiased - biased) if unbiased > biased else None


def length_bias_table(result: Mapping[str, Any]) -> Table:
    """Return one row for each arm: its pairs, and the mean accuracy and range over the seeds on each test set."""
    rows = []
    for arm, tests in result["accuracy"].items():
        cells = [f"{percent(fmean(own))} ({100 * min(own):.1f} to {100 * max(own):.1f})" for own in tests.values()]
        rows.append((arm, count(round(fmean(result["train_pairs"][arm]))), *cells))
    rows.append(("share of the drop recovered", "", "", "", percent(result["recovered"])))
    return Table(("training pairs", "pairs", *TESTS), rows)


def _run_arm(folder: Path, arm: str, steps: int, seed: int, say: Say) -> dict[str, Any]:
    done = folder / "arm.json"
    if done.is_file():
        return json.loads(done.read_text(encoding="utf-8"))
    say(f"seed {seed}: {arm} pairs")
    pairs = training_pairs(arm, seed)
    data = folder / "train.parquet"
    data.parent.mkdir(parents=True, exist_ok=True)
    write_rows(map(pair_row, pairs), data)
    backbone = write_backbone(folder / "backbone", size="demo", seed=seed)
    recipe = demo_recipe(arm, backbone, data, None, steps, seed, len(pairs))
    model = RewardModel.from_pretrained(train(recipe, folder / "run", resume=True).model_folder, device="cpu")
    accuracy = {}
    for number, (name, config) in enumerate(TESTS.items()):
        test = folder / f"test-{number}.parquet"
        write_rows(draw_rows(TEST_PAIRS, seed + 1_000_003, config), test)
        opened = read_pairs(test)
        records = score_items(LocalScorer(model, arm), opened.items)
        accuracy[name] = summarize(name, opened.protocols[0], records).metrics["accuracy"].value
    result = {"accuracy": accuracy, "train_pairs": len(pairs)}
    write_json(done, result)
    return result


def training_pairs(arm: str, seed: int) -> list[PreferencePair]:
    """Return the training pairs of an arm; all arms show the same scenes and ask the same questions."""
    bias = 0.5 if arm == "unbiased" else BIAS
    pairs = list(draw_pairs(TRAIN_PAIRS, seed, WorldConfig(padded_share=PADDED_SHARE, length_bias=bias)))
    if arm != "resampled":
        return pairs
    lengths = [np.array([_length(getattr(pair, side)) for pair in pairs]) for side in ("chosen", "rejected")]
    return [pairs[place] for place in np.flatnonzero(balance_lengths(lengths[0], lengths[1], seed))]


def _length(messages: Messages) -> int:
    return sum(len(message.text) for message in messages)
