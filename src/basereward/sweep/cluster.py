"""Cells as jobs of a cluster: an array job of Slurm, or jobs of Ray, as scripts that a person can read and change."""

import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined

from basereward.data.io import replacing
from basereward.errors import RecipeError, WorkError
from basereward.sweep.cells import Grid, SweepCell
from basereward.sweep.launch import PROGRAM, local_training
from basereward.sweep.work import SWEEP

Cluster = Literal["slurm", "ray"]
# How clusters are asked for GPUs, if not by --gpus-per-node.
_GPU_OPTIONS = ("gres", "gpus", "gpus-per-node", "gpus-per-task", "gpus-per-socket")


def cluster_script(cluster: Cluster, grid: Grid, cells: Sequence[SweepCell], folder: Path) -> str:
    """Return the script that hands cells to a cluster: what sbatch takes, or a shell script of ``ray job submit``.

    Raises:
        RecipeError: a run of several machines on Ray, whose jobs start on one.
    """
    launch = grid.sweep.launch
    if cluster == "ray" and launch.nodes > 1:
        raise RecipeError("A job of Ray starts on one machine; leave launch.nodes out, or use Slurm.")
    environment = Environment(
        loader=PackageLoader("basereward.sweep", ""),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"shell": shlex.quote, "pattern": _slurm_pattern}
    place = folder.resolve()
    gpus = 0 if grid.base.hardware.use_cpu else launch.processes
    if gpus and not any(key in launch.slurm for key in _GPU_OPTIONS):
        launch = launch.model_copy(update={"slurm": {"gpus-per-node": gpus, **launch.slurm}})
    return environment.get_template(f"{cluster}.sh.jinja").render(
        name=grid.sweep.name,
        cells=[cell.name for cell in cells],
        launch=launch,
        gpus=gpus,
        folder=str(place),
        sweep=str(place / SWEEP),
        here=str(Path.cwd()),
        program=shlex.join(PROGRAM),
        train_with=_slurm_training(grid) if cluster == "slurm" else local_training(launch),
    )


def collect_command(folder: Path) -> str:
    """Return the command that makes the table and the page of a sweep from what its cells hold."""
    place = folder.resolve()
    return shlex.join([*PROGRAM, "sweep", str(place / SWEEP), "--out", str(place), "--collect"])


def submit(cluster: Cluster, script: str, folder: Path) -> str:
    """Write a script into the folder of a sweep, hand it to the cluster, and return what that says.

    On Slurm a second job makes the table when the array has ended, whatever became of its tasks.

    Raises:
        WorkError: the cluster's command is not there, or refuses.
    """
    path = folder.resolve() / cluster / "submit.sh"
    with replacing(path) as temporary:
        temporary.write_text(script, encoding="utf-8")
    if cluster == "ray":
        return _call(["bash", str(path)])
    job = _call(["sbatch", "--parsable", str(path)]).strip().partition(";")[0]
    last = ["sbatch", "--parsable", f"--dependency=afterany:{job}", f"--output={path.parent}/collect-%j.log"]
    table = _call([*last, f"--chdir={Path.cwd()}", "--wrap", collect_command(folder)]).strip()
    return f"array job {job}; job {table} makes the table after it"


def _call(command: Sequence[str]) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except FileNotFoundError as error:
        raise WorkError(f"There is no {command[0]} on this machine; --plan shows the script.") from error
    except subprocess.CalledProcessError as error:
        raise WorkError(
            f"{shlex.join(command)} ended with status {error.returncode}: {error.stderr.strip()}"
        ) from error


def _slurm_training(grid: Grid) -> str | None:
    """Return what starts a training run in a task of Slurm; the shell puts in where the processes meet."""
    launch = grid.sweep.launch
    if launch.nodes == 1:
        here = local_training(launch)
        return here and _inside_quotes(here)
    # One torchrun on each machine: they find each other at the first one.
    srun = ["srun", "--nodes", str(launch.nodes), "--ntasks-per-node", "1", "--kill-on-bad-exit=1"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", str(launch.nodes)]
    torchrun += ["--nproc-per-node", str(launch.processes), "--rdzv-backend", "c10d"]
    meeting = " --rdzv-endpoint $HEAD:$PORT --rdzv-id $SLURM_JOB_ID"
    started = _inside_quotes(shlex.join([*srun, *torchrun]))
    return f"{started}{meeting} --shutdown-timeout {launch.grace} -m basereward"


def _inside_quotes(text: str) -> str:
    """Return a text as it stands between double quotes of a shell."""
    return re.sub(r'([\\"$`])', r"\\\1", text)


def _slurm_pattern(path: str) -> str:
    """Return a path as a comment of sbatch has it, which knows quotes and backslashes, in a pattern of file names."""
    return re.sub(r"""([\s\\"'#])""", r"\\\1", path).replace("%", "%%")
