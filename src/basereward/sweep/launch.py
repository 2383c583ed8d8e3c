"""Cells as processes of this machine: each in one of its own, so that one that dies takes no other with it."""

import ctypes
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from basereward.data.work import open_work
from basereward.errors import RecipeError, StoppedError, TrainingError, WorkError
from basereward.sweep.cells import Grid, SweepCell
from basereward.sweep.recipe import Launch
from basereward.sweep.work import CELL, CELLS, FAILURE, LOG, RECIPE, SWEEP, Failed, record_failure
from basereward.training.recipe import Recipe

Say = Callable[[str], None]
PROGRAM = (sys.executable, "-m", "basereward")
_POLL_SECONDS = 0.2
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)
_STOPPED = (128 + signal.SIGTERM, 128 + signal.SIGINT)
_LAST_CHARACTERS = 2000


class _Started(NamedTuple):
    cell: SweepCell
    devices: str | None
    process: subprocess.Popen[bytes]


def worker_command(cell: str, folder: Path, train_with: str | None) -> list[str]:
    """Return the command that runs one cell of a sweep whose folder is written."""
    extra = ["--train-with", train_with] if train_with else []
    return [*PROGRAM, "sweep", str(folder / SWEEP), "--out", str(folder), "--cell", cell, *extra]


def local_training(launch: Launch) -> str | None:
    """Return what starts a training run of several processes on this machine, None for a run of one."""
    if launch.processes == 1:
        return None
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        str(launch.processes),
    ]
    return shlex.join([*torchrun, "--shutdown-timeout", str(launch.grace), "-m", "basereward"])


def share_devices(found: Sequence[str], jobs: int, processes: int) -> list[str | None]:
    """Return the GPUs of each of so many runs at once, as ``CUDA_VISIBLE_DEVICES`` has them; None where there are none.

    Raises:
        RecipeError: runs of several processes, which cannot share a GPU, need more than there are.
    """
    if not found:
        return [None] * jobs
    if processes == 1:
        return [found[job % len(found)] for job in range(jobs)]
    if jobs * processes > len(found):
        raise RecipeError(
            f"{jobs} runs at once of {processes} processes need {jobs * processes} GPUs, and there are {len(found)}; "
            "give less --workers, or less launch.processes."
        )
    return [",".join(found[job * processes : (job + 1) * processes]) for job in range(jobs)]


def visible_devices(use_cpu: bool) -> list[str]:
    """Return the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    if use_cpu:
        return []
    import torch

    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = given.split(",") if given else [str(number) for number in range(torch.cuda.device_count())]
    return names[: torch.cuda.device_count()]


def run_processes(
    grid: Grid, cells: Sequence[SweepCell], folder: Path, jobs: int, train_with: str | None, say: Say
) -> None:
    """Run cells in processes, so many at once, and wait for all of them; their output goes to ``log.txt`` of each.

    A process that a signal ended, as the kernel does when memory is short, is recorded as the failure of its cell.
    Whatever ends this process ends them too: SIGTERM and Ctrl-C are passed on, so that they save where they are.
    """
    waiting, running = list(cells), list[_Started]()
    free = share_devices(visible_devices(grid.base.hardware.use_cpu), jobs, grid.sweep.launch.processes)
    ended = 0
    try:
        while waiting or running:
            while waiting and free:
                cell, devices = waiting.pop(0), free.pop(0)
                say(f"cell {ended + len(running) + 1} of {len(cells)}: {cell.name}")
                running.append(_Started(cell, devices, _start(cell, folder, train_with, devices)))
            time.sleep(_POLL_SECONDS)
            for own in [one for one in running if one.process.poll() is not None]:
                running.remove(own)
                free.append(own.devices)
                ended += 1
                _tell_end(own, folder, say)
    finally:
        _stop(running)


def train_by(command: str, place: Path) -> Callable[[Recipe, Path], None]:
    """Return a training that runs ``COMMAND train RECIPE --out RUN --resume`` and waits for it.

    Args:
        command: starts basereward in as many processes and on as many machines as the run has, as torchrun does.
        place: folder of the cell, with its recipe.
    """

    def train(recipe: Recipe, folder: Path) -> None:
        whole = [*shlex.split(command), "train", str(place / RECIPE), "--out", str(folder), "--resume"]
        # torchrun needs a signal that it can pass on.
        with subprocess.Popen(whole, preexec_fn=_ends_with_parent("SIGTERM")) as process:
            try:
                status = process.wait()
            finally:
                _terminate([process])
        if status in _STOPPED or -status in (signal.SIGTERM, signal.SIGINT):
            number = status - 128 if status > 0 else -status
            raise StoppedError(number, f"{signal.Signals(number).name} ended the training of {folder}.")
        if status:
            raise TrainingError(
                f"{shlex.join(whole)} ended with status {status}; see {place / LOG} and what it printed."
            )

    return train


def _start(cell: SweepCell, folder: Path, train_with: str | None, devices: str | None) -> subprocess.Popen[bytes]:
    place = folder / CELLS / cell.name
    place.mkdir(parents=True, exist_ok=True)
    with (place / LOG).open("ab") as log:
        return subprocess.Popen(
            worker_command(cell.name, folder, train_with),
            env=os.environ if devices is None else {**os.environ, "CUDA_VISIBLE_DEVICES": devices},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # A killed sweep leaves no run behind that holds the lock of its cell.
            preexec_fn=_ends_with_parent("SIGKILL"),
        )


def _ends_with_parent(name: str) -> Callable[[], None] | None:
    """Return what makes the kernel send a signal to a process when the one that started it dies; Linux alone can."""
    if sys.platform != "linux":
        return None
    # By name: Windows has no SIGKILL.
    prctl, number = ctypes.CDLL(None).prctl, signal.Signals[name]
    return lambda: prctl(_DEATH_SIGNAL, number)


def _tell_end(own: _Started, folder: Path, say: Say) -> None:
    place, status = folder / CELLS / own.cell.name, own.process.returncode
    if status < 0:
        name = signal.Signals(-status).name
        failed = Failed(kind=name, message=f"{name} ended the process, as the kernel does when memory is short.")
        try:
            with open_work(place, place):
                record_failure(place, failed)
        except WorkError:
            say(f"{own.cell.name}: another process has gone on with it")
    if (place / CELL).is_file():
        say(f"{own.cell.name}: done")
    elif (place / FAILURE).is_file():
        say(f"{own.cell.name}: failed; see {place / LOG}")
    else:
        say(f"{own.cell.name}: not done ({_last_line(place / LOG)})")


def _last_line(log: Path) -> str:
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    lines = text[-_LAST_CHARACTERS:].strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _stop(running: Sequence[_Started]) -> None:
    _terminate([own.process for own in running])


def _terminate(processes: Sequence["subprocess.Popen[bytes]"]) -> None:
    """Send SIGTERM to what still runs, and wait: a run saves a checkpoint first."""
    alive = [process for process in processes if process.poll() is None]
    for process in alive:
        process.send_signal(signal.SIGTERM)
    for process in alive:
        process.wait()
