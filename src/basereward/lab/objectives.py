"""Objectives beside each other: trained on the same rankings, tested on the same rankings; which fall behind?

No table of the paper, which has Bradley-Terry alone. Every row has the pairs of a prompt in one step.
"""

from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from basereward.data.pairs import pair_row
from basereward.data.schema import PreferencePair
from basereward.data.storage import write_rows
from basereward.lab.descriptions import ATTRIBUTES
from basereward.lab.rows import made_backbone, open_row, row_recipe, trained_model
from basereward.lab.severity import graded_group, graded_rewards
from basereward.lab.tables import Claim, Column, TablePlan

WRONG_LABELS = 0.2
PAIRS = 6


class ObjectiveRow(NamedTuple):
    """Settings of the objective of a row, and whether it sees wrong labels."""

    objective: Mapping[str, Any]
    is_noisy: bool = False


BASELINE = "Bradley-Terry"
NOISY_BASELINE = f"Bradley-Terry, {WRONG_LABELS:.0%} wrong"
ROWS: Mapping[str, ObjectiveRow] = {
    BASELINE: ObjectiveRow({}),
    "Plackett-Luce": ObjectiveRow({"kind": "listwise", "form": "plackett_luce"}),
    "best of the ranking": ObjectiveRow({"kind": "listwise", "form": "best"}),
    "every two of the ranking": ObjectiveRow({"kind": "listwise", "form": "pairwise"}),
    "ratings as margin": ObjectiveRow({"ratings": {"use": "margin"}}),
    "ratings as weight": ObjectiveRow({"ratings": {"use": "weight"}}),
    NOISY_BASELINE: ObjectiveRow({}, is_noisy=True),
    f"smoothed, {WRONG_LABELS:.0%} wrong": ObjectiveRow(
        {"flipped": {"rate": WRONG_LABELS, "correction": "smooth"}}, is_noisy=True
    ),
    f"unbiased, {WRONG_LABELS:.0%} wrong": ObjectiveRow(
        {"flipped": {"rate": WRONG_LABELS, "correction": "unbiased"}}, is_noisy=True
    ),
}
COLUMNS = (
    Column("pairs", "pairs in order"),
    Column("best", "best first"),
    Column("one error apart", "one error apart"),
    Column("spread", "standard deviation", is_share=False),
)
NOTES = (
    "No finding of the paper: it trains with Bradley-Terry. A negative difference is an objective that falls behind.",
    "A prompt is a picture of one object with four descriptions that have 0 to 3 errors, rated 3 to 0: a ranking "
    "without ties, six pairs. A step has the 48 pairs of eight prompts.",
    f"Where labels are wrong, chosen and rejected of {WRONG_LABELS:.0%} of the training pairs are exchanged, with "
    "their ratings, and the loss is told this share.",
    "Equal pairs, steps and learning rate in all rows; losses differ in scale, so that a rate of its own might be "
    "fairer to some.",
)


class ObjectiveSizes(NamedTuple):
    """How large the runs are: optimiser steps of 48 pairs, pictures to train on, held-out pictures."""

    steps: int = 600
    pictures: int = 3_200
    test_pictures: int = 400


def plan_objectives(sizes: ObjectiveSizes = ObjectiveSizes()) -> TablePlan:  # noqa: B008
    """Return the plan of the table."""

    def run(row: str, seed: int, folder: Path) -> Mapping[str, float]:
        chosen = ROWS[row]
        data = folder / ("noisy.parquet" if chosen.is_noisy else "train.parquet")
        if not data.is_file():
            data.parent.mkdir(parents=True, exist_ok=True)
            wrong = WRONG_LABELS if chosen.is_noisy else 0.0
            write_rows(map(pair_row, ranked_pairs(sizes.pictures, seed, wrong)), data)
        backbone = made_backbone(folder / "backbone", "qwen2_5_vl", seed)
        name = row.replace(" ", "-").replace(",", "").replace("%", "")
        pairs = sizes.pictures * PAIRS
        recipe = row_recipe(name, backbone, data, sizes.steps, seed, pairs, objective=chosen.objective, group="prompt")
        model = open_row(trained_model(recipe, folder / name))
        return ranking_shares(graded_rewards(model, seed, sizes.test_pictures))

    claims = tuple(
        Claim(f"{row} is as good as {baseline}, or better", row, baseline, "pairs")
        for row, own in ROWS.items()
        for baseline in (NOISY_BASELINE if own.is_noisy else BASELINE,)
        if row != baseline
    )
    return TablePlan("objectives", "section 4.1", tuple(ROWS), COLUMNS, claims, NOTES, sizes._asdict(), run)


def ranked_pairs(pictures: int, seed: int, wrong: float = 0.0) -> Iterator[PreferencePair]:
    """Draw all pairs of so many pictures with descriptions of 0 to 3 errors, rated by what is right in them.

    Args:
        wrong: the share of pairs, drawn at random, whose chosen and rejected response are exchanged.
    """
    rng = Random(f"{seed}/wrong")
    for number in range(pictures):
        group = graded_group(number, seed)
        for better, worse in combinations(range(len(group.responses)), 2):
            first, second = (worse, better) if rng.random() < wrong else (better, worse)
            yield PreferencePair(
                id=f"{group.id}-{better}-{worse}",
                source="lab/rankings",
                prompt=group.prompt,
                chosen=group.responses[first].messages,
                rejected=group.responses[second].messages,
                images=group.images,
                scores=(_rating(better), _rating(worse)),
            )


def _rating(errors: int) -> float:
    return float(len(ATTRIBUTES) - errors)


def ranking_shares(rewards: Float[np.ndarray, "picture error"]) -> dict[str, float]:
    """Return the share of pairs in order, of pictures whose best description is first, and the spread; a tie is wrong.

    Args:
        rewards: of the descriptions of each picture, the better ones first.
    """
    gaps = [rewards[:, better] - rewards[:, worse] for better, worse in combinations(range(rewards.shape[1]), 2)]
    neighbours = rewards[:, :-1] - rewards[:, 1:]
    return {
        "pairs": float((np.stack(gaps) > 0).mean()),
        "best": float((rewards[:, :1] > rewards[:, 1:]).all(axis=1).mean()),
        "one error apart": float((neighbours > 0).mean()),
        "spread": float(rewards.std(ddof=1)),
    }
