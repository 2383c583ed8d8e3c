"""Appendix D.9.2 in miniature: rewards of descriptions with no, one, two and three errors, which should fall.

Source: paper, appendix D.9.2 and Figure 4.
"""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from basereward.data.outcomes import Score
from basereward.data.schema import Response, ResponseGroup, messages_from_text
from basereward.errors import DataError
from basereward.lab.descriptions import ATTRIBUTES, Facts, describe, read_facts
from basereward.lab.rows import HELD_OUT_SEED, drawn_pairs, made_backbone, open_row, row_recipe, trained_model
from basereward.lab.tables import Claim, Column, TablePlan
from basereward.lab.world import WorldConfig, draw_pair
from basereward.models.reward_model import RewardModel
from basereward.scoring.interface import checked_scores
from basereward.scoring.local import LocalScorer

OPEN_KIND = "describe1"
WORLD = WorldConfig(kinds=(OPEN_KIND,))
ROWS = ("no error", "one error", "two errors", "three errors")
COLUMNS = (
    Column("below", "below the row above"),
    Column("reward", "mean reward", is_share=False),
    Column("spread", "standard deviation", is_share=False),
)
CLAIMS = tuple(
    Claim(f"{worse.capitalize()} cost more than {better}", better, worse, "reward") for better, worse in pairwise(ROWS)
)
NOTES = (
    "Every row is the same model and the same pictures of one object, described with so many of size, colour and shape "
    "wrong, in wordings drawn at random; it learned from pairs with one error alone.",
    "D.9.2 shows one question about a spectrum, answered during reinforcement learning; here are as many as held out.",
)


class SeveritySizes(NamedTuple):
    """How large the runs are: optimiser steps of 48 pairs, training pairs, held-out pictures."""

    steps: int = 600
    pairs: int = 20_000
    test_pairs: int = 400


def plan_severity(sizes: SeveritySizes = SeveritySizes()) -> TablePlan:  # noqa: B008
    """Return the plan of the table."""

    def run(row: str, seed: int, folder: Path) -> Mapping[str, float]:
        data = drawn_pairs(folder / "train.parquet", sizes.pairs, seed, WORLD)
        backbone = made_backbone(folder / "backbone", "qwen2_5_vl", seed)
        recipe = row_recipe("severity", backbone, data, sizes.steps, seed, sizes.pairs)
        rewards = graded_rewards(open_row(trained_model(recipe, folder / "run")), seed, sizes.test_pairs)
        errors = ROWS.index(row)
        own = rewards[:, errors]
        below = {"below": float((own < rewards[:, errors - 1]).mean())} if errors else {}
        return {**below, "reward": float(own.mean()), "spread": float(own.std(ddof=1))}

    return TablePlan("severity", "Figure 4 (D.9.2)", ROWS, COLUMNS, CLAIMS, NOTES, sizes._asdict(), run)


def graded_rewards(model: RewardModel, seed: int, pictures: int) -> Float[np.ndarray, "picture error"]:
    """Return the rewards of descriptions of held-out pictures with 0 to 3 errors.

    Raises:
        DataError: a description has no reward.
    """
    groups = [graded_group(index, seed + HELD_OUT_SEED) for index in range(pictures)]
    scores = checked_scores(LocalScorer(model, "row"), groups)
    if failed := [one for own in scores for one in own if not isinstance(one, Score)]:
        raise DataError(f"{len(failed)} descriptions could not be scored, the first of them: {failed[0]}.")
    return np.array([[one.value for one in own if isinstance(one, Score)] for own in scores], dtype=np.float64)


def graded_group(index: int, seed: int) -> ResponseGroup:
    """Return a picture with four descriptions: of k attributes in a random order the k-th has the first k wrong."""
    pair, rng = draw_pair(index, seed, WORLD), Random(f"{seed}/{index}/errors")
    facts = [read_facts(str(pair.extra["truth"]))]
    for name in rng.sample(list(ATTRIBUTES), len(ATTRIBUTES)):
        facts.append(_wrong(facts[-1], name, rng))
    responses = [
        Response(f"{errors}", messages_from_text(describe(one, rng), "assistant")) for errors, one in enumerate(facts)
    ]
    return ResponseGroup(pair.id, pair.prompt, tuple(responses), pair.images)


def _wrong(facts: Facts, name: str, rng: Random) -> Facts:
    return facts._replace(**{name: rng.choice([word for word in ATTRIBUTES[name] if word != getattr(facts, name)])})
