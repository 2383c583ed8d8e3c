"""What rows of the lab's tables share: pairs drawn once, models trained once, and rewards of held-out pairs by kind."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from basereward.data.outcomes import Score
from basereward.data.schema import PreferencePair
from basereward.data.storage import write_rows
from basereward.errors import DataError
from basereward.lab.backbone import Family, Size, write_backbone
from basereward.lab.demo import demo_recipe
from basereward.lab.questions import KINDS
from basereward.lab.world import WorldConfig, draw_rows
from basereward.lab.written import is_written
from basereward.models.reward_model import RewardModel
from basereward.scoring.interface import Scorer, checked_scores
from basereward.scoring.local import LocalScorer
from basereward.training.folder import FACTS, MODEL
from basereward.training.recipe import Recipe, parse_recipe
from basereward.training.run import train

HELD_OUT_SEED = 1_000_003


class HeldOutRewards(NamedTuple):
    """Rewards of held-out pairs and the kind of question of each."""

    kinds: Sequence[str]
    chosen: Float[np.ndarray, " pair"]
    rejected: Float[np.ndarray, " pair"]

    def accuracies(self) -> dict[str, float]:
        """Return the shares of pairs whose chosen response has the higher reward; a tie is none.

        Of each axis of questions about images, of each kind of text, and the means of either, in which kinds count
        alike.
        """
        is_right = self.chosen > self.rejected
        kinds = {kind: float(is_right[np.array(self.kinds) == kind].mean()) for kind in sorted(set(self.kinds))}
        about = [kind for kind in kinds if KINDS.get(kind).has_image]
        text = [kind for kind in kinds if kind not in about]
        axes = {KINDS.get(kind).axis for kind in about}
        values: dict[str, float] = {
            axis: fmean(kinds[kind] for kind in about if KINDS.get(kind).axis == axis) for axis in sorted(axes)
        }
        values |= {kind: kinds[kind] for kind in text}
        if about:
            values["images"] = fmean(kinds[kind] for kind in about)
        if text:
            values["text"] = fmean(kinds[kind] for kind in text)
        return values


def drawn_pairs(path: Path, count: int, seed: int, world: WorldConfig) -> Path:
    """Return the file of the first pairs of a seed, drawn if it was not before."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_rows(draw_rows(count, seed, world), path)
    return path


def made_backbone(folder: Path, family: Family, seed: int, size: Size = "demo") -> Path:
    """Return the folder of a backbone with random weights, written if it was not before."""
    if not is_written(folder):
        write_backbone(folder, family, size, seed)
    return folder


def row_recipe(
    name: str,
    backbone: Path,
    data: Path,
    steps: int,
    seed: int,
    pairs: int,
    model: Mapping[str, Any] | None = None,
    objective: Mapping[str, Any] | None = None,
    group: str = "pair",
) -> Recipe:
    """Return the demo's recipe with other settings of the model and the objective.

    Args:
        pairs: how many the data holds.
        model: what takes the place of the backbone, or stands beside it.
        objective: settings of Bradley-Terry, or of another kind.
        group: what ``data.group`` draws together.
    """
    recipe = demo_recipe(name, backbone, data, None, steps, seed, pairs).model_dump(mode="json")
    if model:
        kept = {} if "init_from" in model else {"backbone": str(backbone)}
        recipe["model"] = {**kept, **model}
    recipe["data"]["group"] = group
    recipe["objective"] = {"kind": "bradley_terry", **(objective or {})}
    return parse_recipe(recipe)


def trained_model(recipe: Recipe, folder: Path) -> Path:
    """Return the model folder of a run, trained if it was not before; a run that was killed goes on."""
    if not (folder / FACTS).is_file():
        train(recipe, folder, resume=True)
    return folder / MODEL


def open_row(model: Path) -> RewardModel:
    """Return a trained reward model of a row, on the CPU."""
    return RewardModel.from_pretrained(model, device="cpu")


def held_out_rewards(model: RewardModel | Scorer, pairs: Sequence[PreferencePair]) -> HeldOutRewards:
    """Return the rewards of pairs of the world.

    Raises:
        DataError: a response has no reward.
    """
    scorer = LocalScorer(model, "row") if isinstance(model, RewardModel) else model
    compared = [pair.comparison() for pair in pairs]
    scores = checked_scores(scorer, [each.groups[0] for each in compared])
    if failed := [one for own in scores for one in own if not isinstance(one, Score)]:
        raise DataError(f"{len(failed)} responses of the lab could not be scored, the first of them: {failed[0]}.")
    values = [[one.value for one in own if isinstance(one, Score)] for own in scores]
    rows = [(own[each.chosen], own[each.rejected]) for own, each in zip(values, compared, strict=True)]
    chosen, rejected = np.array(rows, dtype=np.float64).reshape(-1, 2).T
    return HeldOutRewards([str(pair.extra["kind"]) for pair in pairs], chosen, rejected)
