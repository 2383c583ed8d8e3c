"""A run that is told to end saves where it is, says how to go on, and goes on to the same weights."""

import os
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from basereward.errors import StoppedError
from basereward.training import trainer
from basereward.training.recipe import load_recipe
from basereward.training.resume import find_checkpoint
from basereward.training.run import train


class Signal(TrainerCallback):
    """Sends this process a signal at the beginning of a step."""

    def __init__(self, number: int, step: int) -> None:
        self.number = number
        self.step = step

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step + 1 == self.step:
            os.kill(os.getpid(), self.number)


@pytest.fixture(scope="module")
def whole(make_recipe: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing stops."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(make_recipe(), folder)
    return folder


@pytest.fixture
def check_equal(whole: Path, read_state: Callable) -> Callable[[Path], None]:
    def check(folder: Path) -> None:
        found, expected = read_state(folder / "model"), read_state(whole / "model")
        assert [name for name in expected if not torch.equal(found[name], expected[name])] == []

    return check


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_a_checkpoint_that_nobody_asked_for(
    number: int,
    status: int,
    make_recipe: Callable,
    tmp_path: Path,
    check_equal: Callable,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder, before = tmp_path / "a run", signal.getsignal(number)
    with pytest.raises(StoppedError) as caught:
        train(make_recipe(), folder, callbacks=[Signal(number, 3)])
    assert caught.value.status == status
    told = f"ended the run after step 3 of 8, which is saved. Go on: basereward train {shlex.quote(str(folder))} --out"
    assert told in str(caught.value)
    assert "saving a checkpoint after this step" in capfd.readouterr().err
    assert signal.getsignal(number) == before
    assert find_checkpoint(folder / "checkpoints").path == folder / "checkpoints" / "checkpoint-3"
    assert not (folder / "model").exists()
    assert not (folder / "train.json").exists()
    train(load_recipe(folder), folder, resume=True)
    check_equal(folder)


def test_a_second_signal_ends_the_run_at_once(make_recipe: Callable, tmp_path: Path) -> None:
    twice = [Signal(signal.SIGINT, 3), Signal(signal.SIGINT, 3)]
    with pytest.raises(KeyboardInterrupt):
        train(make_recipe(), tmp_path / "run", callbacks=twice)
    assert find_checkpoint(tmp_path / "run" / "checkpoints").path is None


def test_a_signal_during_an_evaluation_does_not_wait_for_its_end(
    make_recipe: Callable, world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check_equal: Callable
) -> None:
    batches, seen = trainer.ValidationPairs.batches, []
    monkeypatch.setattr(trainer.ValidationPairs, "batches", lambda *args: [[pair] for pair in range(11)])
    prepare = trainer.RewardTrainer._prepare_inputs

    def count(self: Any, inputs: Any) -> Any:
        if len(inputs["pairs"]) == 1:
            seen.append(1)
            os.kill(os.getpid(), signal.SIGTERM)
        return prepare(self, inputs)

    monkeypatch.setattr(trainer.RewardTrainer, "_prepare_inputs", count)
    recipe = make_recipe(data={"validation": [str(world.validation)]}, run={"eval_every": 2})
    with pytest.raises(StoppedError, match="after step 2 of 8"):
        train(recipe, tmp_path / "run")
    assert len(seen) == 1
    monkeypatch.setattr(trainer.ValidationPairs, "batches", batches)
    monkeypatch.setattr(trainer.RewardTrainer, "_prepare_inputs", prepare)
    train(recipe, tmp_path / "run", resume=True)
    check_equal(tmp_path / "run")


def test_ranks_that_were_not_told_stop_at_the_same_step(
    make_recipe: Callable, launch: Callable, tmp_path: Path
) -> None:
    stopped = launch(make_recipe(), tmp_path / "run", 2, kill="signal-to-rank:1")
    assert stopped.codes == [1, 1]
    for rank in (0, 1):
        assert "StoppedError: SIGTERM ended the run after step 3 of 8" in stopped.printed(rank, "err")
        assert "torchrun --nproc-per-node 2 -m basereward train" in stopped.printed(rank, "err")
    assert find_checkpoint(tmp_path / "run" / "checkpoints").path == tmp_path / "run" / "checkpoints" / "checkpoint-3"


def test_a_signal_to_all_processes_does_not_reach_the_loaders(
    make_recipe: Callable, launch: Callable, tmp_path: Path, check_equal: Callable
) -> None:
    """Terminals and schedulers send it to the whole process group, and a loader that dies of it breaks the step."""
    recipe = make_recipe(hardware={"workers": 1})
    stopped = launch(recipe, tmp_path / "run", kill="signal-to-group")
    assert stopped.codes == [1]
    assert "StoppedError: SIGTERM ended the run after step 3 of 8" in stopped.printed(stream="err")
    train(recipe, tmp_path / "run", resume=True)
    check_equal(tmp_path / "run")
