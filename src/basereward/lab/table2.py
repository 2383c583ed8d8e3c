"""The paper's Table 2 in miniature: heads of one to five layers, with and without activations, and their dead units.

Source: paper, section 3.2, Table 2 and appendix D.3.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from basereward.data.schema import PreferencePair
from basereward.lab.rows import (
    HELD_OUT_SEED,
    HeldOutRewards,
    drawn_pairs,
    held_out_rewards,
    made_backbone,
    open_row,
    row_recipe,
    trained_model,
)
from basereward.lab.tables import Claim, Column, TablePlan
from basereward.lab.world import WorldConfig, draw_pairs
from basereward.models.checkpoint import new_reward_model, save_reward_model
from basereward.models.head import HeadSettings, RewardHead
from basereward.models.reward_model import RewardModel

# With a smaller derivative a unit passes nothing on to speak of.
FLAT = 0.01
# Of pairs that nobody trains on or is tested on: they measure how far apart rewards are before training.
SPREAD_SEED, SPREAD_PAIRS = 3_000_017, 48
BEST = "2 silu"


class HeadRow(NamedTuple):
    """A head, and whether its rewards start as far apart as those of the paper's best head."""

    layers: int
    activation: str
    equal_start: bool = False


ROWS: Mapping[str, HeadRow] = {
    "1 none": HeadRow(1, "none"),
    "2 none": HeadRow(2, "none"),
    "2 tanh": HeadRow(2, "tanh"),
    "2 relu": HeadRow(2, "relu"),
    BEST: HeadRow(2, "silu"),
    **{f"{layers} silu": HeadRow(layers, "silu") for layers in (3, 4, 5)},
    "1 none, equal start": HeadRow(1, "none", True),
    **{f"{layers} silu, equal start": HeadRow(layers, "silu", True) for layers in (3, 4, 5)},
}
COLUMNS = (
    Column("images", "all"),
    *(Column(axis, axis) for axis in ("reasoning", "hallucination", "general", "vqa")),
    Column("dead", "dead units"),
    Column("flat", "flat units, mean over responses"),
    Column("start", "spread of rewards at the start", is_share=False),
)
CLAIMS = (
    *(Claim(f"Two layers with SiLU are better than {row}", BEST, row, "images") for row in ROWS if row != BEST),
    *(Claim(f"One linear layer is worse than {row}", row, "1 none", "images") for row in ("2 none", "5 silu")),
    Claim("ReLU leaves more units dead than SiLU", "2 relu", BEST, "dead"),
    Claim("Tanh leaves more units flat than SiLU", "2 tanh", BEST, "flat"),
)
NOTES = (
    "A unit of an inner layer is flat for a response where its activation has a derivative below 0.01 in size, dead if "
    "it is for every held-out response; of heads without an activation no unit is. ReLU is flat wherever it is 0.",
    "The paper has no ReLU row; D.3 argues against it without a measurement, and says of tanh that it bounds rewards: "
    "here, as in a head whose last layer is linear, it bounds hidden units.",
    "Rewards of a new head spread less the deeper it is. Rows with an equal start have the last layer scaled so that "
    "the standard deviation of rewards over 48 other pairs is that of the head of two layers with SiLU.",
    "Equal pairs, steps, seeds and learning rate for all rows; inner layers are as wide as the hidden state, of 128.",
)


class HeadSizes(NamedTuple):
    """How large the runs are: optimiser steps of 48 pairs, training pairs, held-out pairs."""

    steps: int = 400
    pairs: int = 20_000
    test_pairs: int = 700


class UnitShares(NamedTuple):
    """Shares of the units of a head's inner layers."""

    dead: float
    flat: float


def plan_table(sizes: HeadSizes = HeadSizes()) -> TablePlan:  # noqa: B008
    """Return the plan of the table."""

    def run(row: str, seed: int, folder: Path) -> Mapping[str, float]:
        return _run(row, seed, folder, sizes)

    return TablePlan("table2", "Table 2", tuple(ROWS), COLUMNS, CLAIMS, NOTES, sizes._asdict(), run)


def _run(row: str, seed: int, folder: Path, sizes: HeadSizes) -> Mapping[str, float]:
    place = folder / row.replace(", ", "-").replace(" ", "-")
    data = drawn_pairs(folder / "train.parquet", sizes.pairs, seed, WorldConfig())
    backbone = made_backbone(folder / "backbone", "qwen2_5_vl", seed)
    start = new_head(backbone, ROWS[row], seed)
    spread = reward_spread(start, seed)
    settings: dict[str, Any] = {"init_from": str(save_reward_model(start, place / "start"))}
    recipe = row_recipe(row, backbone, data, sizes.steps, seed, sizes.pairs, settings)
    model = open_row(trained_model(recipe, place / "run"))
    pairs = list(draw_pairs(sizes.test_pairs, seed + HELD_OUT_SEED, WorldConfig()))
    rewards, units = measure_units(model, pairs)
    return {**rewards.accuracies(), **units._asdict(), "start": spread}


def new_head(backbone: Path, row: HeadRow, seed: int) -> RewardModel:
    """Return a backbone under the head of a row, drawn from the seed and scaled if the row says so."""
    model = _drawn(backbone, row, seed)
    if row.equal_start:
        aim, found = reward_spread(_drawn(backbone, ROWS[BEST], seed), seed), reward_spread(model, seed)
        with torch.no_grad():
            # The last layer is linear without a bias, so that rewards scale with it.
            last: Any = _head(model).layers[-1]
            last.weight.mul_(aim / found)
    return model


def _drawn(backbone: Path, row: HeadRow, seed: int) -> RewardModel:
    settings = HeadSettings.model_validate({"layers": row.layers, "activation": row.activation})
    return new_reward_model(backbone, settings, head_seed=seed)


def reward_spread(model: RewardModel, seed: int) -> float:
    """Return the standard deviation of a model's rewards over the responses of pairs of the world."""
    rewards = held_out_rewards(model, list(draw_pairs(SPREAD_PAIRS, seed + SPREAD_SEED)))
    return float(torch.tensor([*rewards.chosen, *rewards.rejected]).std())


def measure_units(model: RewardModel, pairs: Sequence[PreferencePair]) -> tuple[HeldOutRewards, UnitShares]:
    """Return the rewards of pairs, and which units of the head are flat for their responses."""
    head = _head(model)
    with _recorded(head.between) as inputs:
        rewards = held_out_rewards(model, pairs)
    inner = len(head.layers) - 1
    if not inner:
        return rewards, UnitShares(0.0, 0.0)
    # The head calls one activation between all its layers, in order: every inner-th call is of one layer.
    layers = [torch.cat(inputs[layer::inner]) for layer in range(inner)]
    return rewards, unit_shares(head.between, layers)


def unit_shares(activation: nn.Module, inputs: Sequence[Tensor]) -> UnitShares:
    """Return the shares of units that are flat for all responses, and of flat units in the mean over responses.

    Args:
        activation: an elementwise function.
        inputs: what it was given in each layer, of shape (response, unit).
    """
    flat = [_slopes(activation, given).abs() < FLAT for given in inputs]
    dead = torch.cat([own.all(dim=0) for own in flat])
    return UnitShares(float(dead.double().mean()), float(torch.cat([own.flatten() for own in flat]).double().mean()))


def _slopes(activation: nn.Module, given: Tensor) -> Tensor:
    # A clone made here is no inference tensor, which autograd refuses.
    with torch.inference_mode(False), torch.enable_grad():
        leaf = given.clone().requires_grad_()
        return torch.autograd.grad(activation(leaf).sum(), leaf)[0]


@contextmanager
def _recorded(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what a module is given, in the order of its calls."""
    given: list[Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, arguments: given.append(arguments[0].detach().clone()))
    try:
        yield given
    finally:
        handle.remove()


def _head(model: RewardModel) -> RewardHead:
    assert isinstance(model.head, RewardHead)
    return model.head
