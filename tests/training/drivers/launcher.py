"""Runs ``train`` in forked processes that can die at a chosen place: one JSON job a line, its exit codes as answer.

A job names ``recipe`` (YAML text), ``folder``, ``resume``, ``ranks`` and ``kill``. What rank R prints lies beside the
folder in ``NAME.R.out`` and ``NAME.R.err``; what it saw of its own weights in ``NAME.R.json``.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback

from basereward.models import saving
from basereward.training import checkpoints, resume, run, trainer
from basereward.training.callbacks import MetricsFile
from basereward.training.objectives import BradleyTerry
from basereward.training.recipe import parse_recipe

KILLED = 9
SECONDS = 180


def die(*args: Any, **kwargs: Any) -> None:
    """End the process as a kill does: no cleanup, no flush."""
    os._exit(KILLED)


class KillAfterStep(TrainerCallback):
    """Dies after the update of a step, before its log line."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            die()


class SignalInStep(TrainerCallback):
    """Sends SIGTERM in the third step: to one rank, or to the process group of a run."""

    def __init__(self, rank: int | None) -> None:
        self.rank = rank

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step != 2:
            return
        if self.rank is None:
            # By another process: torch's loaders take that of their parent for a polite one.
            command = ["kill", "-TERM", "--", f"-{os.getpgrp()}"]
            subprocess.run(command, start_new_session=True, check=True)
        elif int(os.environ["RANK"]) == self.rank:
            os.kill(os.getpid(), signal.SIGTERM)


class Witness(TrainerCallback):
    """Writes what weights and rewards are inside the run."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.rewards: set[str] = set()

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        # A model that writes gives what it says of words too; a judge has no rewards.
        numbers = lambda output: output if isinstance(output, torch.Tensor) else output.targets  # noqa: E731
        model.register_forward_hook(lambda module, inputs, output: self.rewards.add(str(numbers(output).dtype)))

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        weights = list(model.parameters())
        parts = [weight.to_local() if isinstance(weight, DTensor) else weight for weight in weights]
        seen = {
            "dtensors": all(isinstance(weight, DTensor) for weight in weights),
            "local_share": sum(part.numel() for part in parts) / sum(weight.numel() for weight in weights),
            "dtypes": sorted({str(weight.dtype) for weight in weights}),
            "head_dtypes": sorted(
                {str(weight.dtype) for name, weight in model.named_parameters() if name.startswith("head.")}
            ),
            "reward_dtypes": sorted(self.rewards),
        }
        self.file.write_text(json.dumps(seen))


def arm(kill: str, folder: Path) -> list[TrainerCallback]:
    """Put a deadly function at the place that ``kill`` names, such as ``after-step:3`` or ``in-deletion``."""
    place, _, step = kill.partition(":")
    if place == "after-step":
        return [KillAfterStep(int(step))]
    if place == "signal-to-rank":
        return [SignalInStep(int(step))]
    if place == "signal-to-group":
        os.setpgrp()
        return [SignalInStep(None)]
    if place == "in-save":  # weights are written, the optimiser's state is not
        save = trainer.RewardTrainer._save_optimizer_and_scheduler
        patched = _deadly(save, lambda self, *_: self.state.global_step == int(step))
        trainer.RewardTrainer._save_optimizer_and_scheduler = patched  # type: ignore[method-assign]
    elif place == "before-rename":  # everything is written, under the temporary name
        checkpoints.publish = _deadly(checkpoints.publish, lambda staged, *_: staged.name.endswith(f"-{step}"))
    elif place == "in-deletion":
        resume.shutil = HalfDeleter()  # type: ignore[assignment]
    elif place == "in-line":
        _die_in_line(int(step))
    elif place == "in-final-save":
        write = saving._write_config
        saving._write_config = _deadly(write, lambda model, to, *_: to == folder / ".incomplete" / "model")
    elif place == "nan-on-rank":
        _spoil_loss(rank=int(step))
    else:
        raise ValueError(kill)
    return []


def _deadly(function: Any, is_here: Callable[..., bool]) -> Any:
    return lambda *args: die() if is_here(*args) else function(*args)


class HalfDeleter:
    """Stands for ``shutil``: a deletion removes the weights and dies."""

    def rmtree(self, folder: Path, ignore_errors: bool = False) -> None:
        """Remove a part of the folder."""
        if ignore_errors:
            shutil.rmtree(folder, ignore_errors=True)
            return
        (folder / "model.safetensors").unlink(missing_ok=True)
        die()


def _die_in_line(step: int) -> None:
    whole = MetricsFile.on_log

    def on_log(self: MetricsFile, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if state.global_step == step:
            with self.file.open("a") as opened:
                opened.write('{"step": 3, "lo')
            die()
        whole(self, args, state, control, logs, **kwargs)

    MetricsFile.on_log = on_log  # type: ignore[method-assign]


def _spoil_loss(rank: int) -> None:
    whole = BradleyTerry.loss

    def spoiled(*args: Any, **kwargs: Any) -> Any:
        loss = whole(*args, **kwargs)
        is_here = int(os.environ.get("RANK", "0")) == rank
        return loss._replace(total=loss.total * float("nan")) if is_here else loss

    BradleyTerry.loss = spoiled  # type: ignore[method-assign]


def run_rank(job: dict[str, Any], rank: int, port: int) -> None:
    """Train as one rank."""
    folder = Path(job["folder"])
    for number, suffix in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{folder}.{rank}.{suffix}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if job["ranks"] > 1:
        place = {
            "RANK": rank,
            "LOCAL_RANK": rank,
            "WORLD_SIZE": job["ranks"],
            "LOCAL_WORLD_SIZE": job["ranks"],
            "MASTER_PORT": port,
        }
        os.environ.update({name: str(value) for name, value in place.items()}, MASTER_ADDR="127.0.0.1")
    callbacks: list[TrainerCallback] = [Witness(Path(f"{folder}.{rank}.json"))]
    if job["kill"]:
        callbacks += arm(job["kill"], folder)
    run.train(parse_recipe(yaml.safe_load(job["recipe"])), folder, job["resume"], callbacks)


def launch(job: dict[str, Any]) -> list[int] | None:
    """Fork all ranks and return their exit codes; None in a forked process, when it has trained."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children: list[int] = []
    for rank in range(job["ranks"]):
        child = os.fork()
        if child == 0:
            run_rank(job, rank, port)
            return None
        children.append(child)
    signal.signal(signal.SIGALRM, lambda *_: [os.kill(child, signal.SIGKILL) for child in children])
    signal.alarm(SECONDS)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    signal.alarm(0)
    return codes


def main() -> None:
    """Serve jobs until stdin ends."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        codes = launch(json.loads(line))
        if codes is None:
            return
        answers.write(json.dumps(codes) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
