"""Weight decay shrinks matrices, and neither norms nor biases, whatever the families call them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from basereward.training.run import train

RATE, DECAY = 1e-3, 20.0


class Keeper(TrainerCallback):
    """Keeps the weights of the beginning and of the end."""

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.before = {name: weight.detach().clone() for name, weight in model.named_parameters()}

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.after = {name: weight.detach().clone() for name, weight in model.named_parameters()}


@pytest.mark.parametrize("family", ["qwen2_5_vl", "internvl"])
def test_the_first_step_differs_by_the_decay_of_matrices(
    family: str, make_recipe: Callable, tmp_path: Path, backbone_of: Callable
) -> None:
    kept = []
    for decay in (0.0, DECAY):
        optimizer = {"learning_rate": RATE, "weight_decay": decay, "max_steps": 1, "pairs_per_step": 4}
        recipe = make_recipe(model={"backbone": str(backbone_of(family))}, optimizer=optimizer)
        kept.append(Keeper())
        train(recipe, tmp_path / str(decay), callbacks=[kept[-1]])
    still = {name: (kept[0].after[name] - kept[1].after[name]).abs().max() for name in kept[0].before}
    norms = {name for name in still if any(part in name for part in ("norm", "ln_q", "bias", "lambda_"))}
    assert any(part in name for name in norms for part in ("norm1", "ln_q", "layernorm_before"))
    assert all(still[name] == 0 for name in norms)
    for name in still.keys() - norms:
        shrunk = kept[0].after[name] - kept[1].after[name]
        if shrunk.abs().max() > 0:  # what no gradient reaches is left alone by the optimiser
            torch.testing.assert_close(shrunk, RATE * DECAY * kept[0].before[name], rtol=1e-3, atol=1e-6)
    assert sum(still[name] > 0 for name in still.keys() - norms) > 0.9 * len(still.keys() - norms)
