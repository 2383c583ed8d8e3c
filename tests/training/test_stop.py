"""A number that is not finite stops the run before it reaches the weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from basereward.errors import TrainingError
from basereward.training.objectives import BradleyTerry
from basereward.training.run import train


class Watch(TrainerCallback):
    """Keeps the weights as they were after each step, and may poison one before a step."""

    def __init__(self, poison_before: int | None = None) -> None:
        self.poison_before = poison_before

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.model = model

    def on_step_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.before = {name: weight.clone() for name, weight in model.state_dict().items()}
        if state.global_step + 1 == self.poison_before:
            with torch.no_grad():
                model.head.layers[-1].weight[0, 0] = float("nan")


def spoil_loss(patch: pytest.MonkeyPatch, call: int, value: float) -> None:
    """Multiply the loss of one micro-batch."""
    whole, calls = BradleyTerry.loss, iter(range(1, 99))

    def loss(*args: Any, **kwargs: Any) -> Any:
        found = whole(*args, **kwargs)
        return found._replace(total=found.total * value) if next(calls) == call else found

    patch.setattr(BradleyTerry, "loss", loss)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_before_the_weights(
    value: float,
    make_recipe: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    read_state: Callable,
    read_metrics: Callable,
) -> None:
    spoil_loss(monkeypatch, call=3, value=value)
    watch = Watch()
    with pytest.raises(TrainingError, match=r"step 3 is (nan|inf)"):
        train(make_recipe(run={"save_every": 1, "keep": 9}), tmp_path / "run", callbacks=[watch])
    for name, weight in watch.model.state_dict().items():
        assert torch.equal(weight, watch.before[name]), name
        assert torch.isfinite(weight).all()
    assert [line["step"] for line in read_metrics(tmp_path / "run")] == [1, 2]
    kept = sorted(path.name for path in (tmp_path / "run" / "checkpoints").glob("checkpoint-*"))
    assert kept == ["checkpoint-1", "checkpoint-2"]
    assert all(
        torch.isfinite(t).all() for name in kept for t in read_state(tmp_path / "run/checkpoints" / name).values()
    )
    assert not (tmp_path / "run" / "model").exists()


def test_a_stopped_run_goes_on_when_the_cause_is_gone(
    make_recipe: Callable, tmp_path: Path, read_metrics: Callable, read_state: Callable
) -> None:
    recipe = make_recipe(run={"save_every": 1})
    with pytest.MonkeyPatch.context() as patch:
        spoil_loss(patch, call=3, value=float("nan"))
        with pytest.raises(TrainingError):
            train(recipe, tmp_path / "stopped")
    train(recipe, tmp_path / "stopped", resume=True)
    train(recipe, tmp_path / "whole")
    assert read_metrics(tmp_path / "stopped") == read_metrics(tmp_path / "whole")
    found, expected = (read_state(tmp_path / name / "model") for name in ("stopped", "whole"))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_poisoned_weight_stops_the_run_and_reaches_no_checkpoint(
    make_recipe: Callable, tmp_path: Path, read_state: Callable
) -> None:
    with pytest.raises(TrainingError, match="gradient norm of step 4 is nan; the weights are those of the step before"):
        train(make_recipe(run={"save_every": 1}), tmp_path / "run", callbacks=[Watch(poison_before=4)])
    folder = tmp_path / "run" / "checkpoints"
    assert sorted(path.name for path in folder.glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-3"]
    assert all(torch.isfinite(tensor).all() for tensor in read_state(folder / "checkpoint-3").values())


def test_one_bad_micro_batch_among_several_stops_the_step(
    make_recipe: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil_loss(monkeypatch, call=6, value=float("nan"))
    recipe = make_recipe(optimizer={"tokens_per_microbatch": 130})
    with pytest.raises(TrainingError, match="step 2 is nan"):
        train(recipe, tmp_path / "run")
