"""Cells in processes, as tasks of Slurm and as jobs of Ray: the scripts run here, with programs that stand in."""

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from basereward.configuration import dump_configuration
from basereward.errors import RecipeError, WorkError
from basereward.sweep import cluster, launch
from basereward.sweep.cells import resolve
from basereward.sweep.cluster import cluster_script, submit
from basereward.sweep.launch import run_processes, share_devices
from basereward.sweep.recipe import load_sweep
from basereward.sweep.work import CELL, CELLS, SWEEP, open_sweep, read_failure
from tests.cli.conftest import call
from tests.sweep.drivers import write_cluster

RATE = "optimizer.learning_rate"
# In place of basereward: says how it was called, and ends as the name of its cell says.
WORKER = """
import json, os, pathlib, signal, sys, time
words = sys.argv[1:]
with pathlib.Path(os.environ["FAKE_LOG"]).open("a") as file:
    print("worker", os.environ.get("CUDA_VISIBLE_DEVICES", "-"), *words[2:], file=file)
if "--collect" in words:
    sys.exit()
place = pathlib.Path(words[words.index("--out") + 1]) / "cells" / words[words.index("--cell") + 1]
place.mkdir(parents=True, exist_ok=True)
rate = next((word for word in place.name.split(",") if word.startswith("optimizer")), "base").rpartition("=")[2]
if rate == "1e-05":
    os.kill(os.getpid(), signal.SIGKILL)
if rate == "1e-06" and not (place / "once").exists():
    (place / "once").touch()
    def save(*_):
        time.sleep(0.2)  # a checkpoint takes a while
        sys.exit(143)
    signal.signal(signal.SIGTERM, save)
    # Slurm tells the shell alone.
    os.kill(os.getppid(), signal.SIGTERM)
    signal.pause()
if rate == "3e-07":
    (place / "failure.json").write_text(json.dumps({"kind": "TrainingError", "message": "it diverged"}))
    sys.exit(1)
(place / "cell.json").write_text(json.dumps({"evaluations": {}}))
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cluster and a basereward that stand in; the path of what they were asked."""
    worker, log = tmp_path / "worker.py", tmp_path / "log.txt"
    worker.write_text(WORKER)
    log.touch()
    monkeypatch.setenv("PATH", write_cluster(tmp_path / "bin"))
    monkeypatch.setenv("FAKE_LOG", str(log))
    monkeypatch.setattr(launch, "PROGRAM", (sys.executable, str(worker)))
    monkeypatch.setattr(cluster, "PROGRAM", (sys.executable, str(worker)))
    return log


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines()


def test_cells_run_in_processes(make_grid: Callable, fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(launch, "visible_devices", lambda _: ["2", "5"])
    grid = make_grid(grid={RATE: [1e-5, 3e-7, 3e-6]}, seeds=[0, 1])
    said: list[str] = []
    run_processes(grid, grid.cells, tmp_path / "out", 2, None, said.append)
    called = [line.split() for line in lines(fake)]
    assert {words[1] for words in called} == {"2", "5"}
    assert sorted(words[-1] for words in called) == sorted(cell.name for cell in grid.cells)
    for cell in grid.cells:
        place, failed = tmp_path / "out" / CELLS / cell.name, read_failure(tmp_path / "out" / CELLS / cell.name)
        assert (place / CELL).is_file() == cell.name.startswith("base")
        kinds = {1e-5: "SIGKILL", 3e-7: "TrainingError", 3e-6: None}
        assert (failed and failed.kind) == kinds[cell.recipe.optimizer.learning_rate]
    assert sum("failed; see" in line for line in said) == 4
    assert sum(line.endswith(": done") for line in said) == 2


def test_gpus_are_shared_out():
    assert share_devices([], 2, 1) == [None, None]
    assert share_devices(["0", "1"], 3, 1) == ["0", "1", "0"]
    assert share_devices(["0", "1", "2", "3"], 2, 2) == ["0,1", "2,3"]
    with pytest.raises(RecipeError, match="need 4 GPUs, and there are 3"):
        share_devices(["0", "1", "2"], 2, 2)


def test_a_script_of_slurm_runs_every_cell(make_grid: Callable, fake: Path, tmp_path: Path):
    options = {"partition": "gpu", "time": "12:00:00"}
    grid = make_grid(launch={"slurm": options, "jobs": 2, "setup": ["export OWN=1"]})
    folder = tmp_path / "the out"
    script = cluster_script("slurm", grid, grid.cells, folder)
    for line in ("--array=0-3%2", "--partition=gpu", "--time=12:00:00", "--requeue", "--signal=B:TERM@180"):
        assert f"#SBATCH {line}\n" in script
    assert "gpus" not in script
    assert "\nexport OWN=1\n" in script
    said = submit("slurm", script, folder)
    assert said == "array job 42; job 43 makes the table after it"
    asked = lines(fake)
    # Three cells once, and the one that was preempted again, behind its requeue.
    worked = [line.rpartition("--cell ")[2] for line in asked if "--cell" in line]
    preempted = f"{RATE}=1e-06,seed=0"
    assert sorted(worked) == sorted([*(cell.name for cell in grid.cells), preempted])
    assert worked.count(preempted) == 2
    assert "scontrol requeue 1002" in asked
    assert f"{folder}/slurm/collect-%j.log" in asked[-2]
    assert "--dependency=afterany:42" in asked[-2]
    assert asked[-1] == f"worker - --out {folder} --collect"


def test_several_machines_meet_at_the_first(make_grid: Callable, tmp_path: Path):
    grid = make_grid(launch={"nodes": 8, "processes": 8}, changes={"hardware.use_cpu": False})
    script = cluster_script("slurm", grid, grid.cells, tmp_path)
    assert "#SBATCH --nodes=8\n#SBATCH --ntasks-per-node=1\n" in script
    assert "#SBATCH --gpus-per-node=8\n" in script
    told = "--nnodes 8 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint $HEAD:$PORT --rdzv-id $SLURM_JOB_ID"
    assert told in script
    assert '--train-with "$TRAIN"' in script
    with pytest.raises(RecipeError, match="starts on one machine"):
        cluster_script("ray", grid, grid.cells, tmp_path)


def test_paths_of_any_kind_stand_in_a_script(make_grid: Callable, fake: Path, tmp_path: Path, monkeypatch):
    """Quotes, dollars and spaces in the folder and in the place of Python; a comment of sbatch has its own rules."""
    odd = tmp_path / """it's $HOME "50 %" #1"""
    grid = make_grid(grid={RATE: [3e-6]}, launch={"processes": 2})
    monkeypatch.setattr(launch.sys, "executable", f"{odd}/python")
    script = cluster_script("slurm", grid, grid.cells, odd)
    assert """/it\\'s\\ $HOME\\ \\"50\\ %%\\"\\ \\#1/slurm/%A_%a.log\n""" in script
    shown = script.partition("TRAIN=")[2].partition("\n")[0]
    told = subprocess.run(["bash", "-c", f'TRAIN={shown}; echo "$TRAIN"'], capture_output=True, text=True, check=True)
    assert shlex.split(told.stdout)[0] == f"{odd}/python"
    submit("slurm", script, odd)
    assert (odd / CELLS / grid.cells[0].name / CELL).is_file()


def test_jobs_of_ray_run_every_cell(make_grid: Callable, fake: Path, tmp_path: Path):
    grid = make_grid(grid={RATE: [3e-6, 1e-4]}, launch={"processes": 1})
    submit("ray", cluster_script("ray", grid, grid.cells, tmp_path / "out"), tmp_path / "out")
    jobs = [line for line in lines(fake) if line.startswith("ray")]
    assert jobs == ["ray job submit --no-wait --entrypoint-num-gpus 0"] * 2
    assert all((tmp_path / "out" / CELLS / cell.name / CELL).is_file() for cell in grid.cells)


def test_a_cluster_that_is_not_here_is_named(make_grid: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(WorkError, match="There is no sbatch on this machine; --plan shows the script"):
        submit("slurm", "#!/bin/bash\n", tmp_path)


def test_a_table_is_made_of_what_there_is(make_grid: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    grid = make_grid()
    assert call("sweep", tmp_path / SWEEP, "--out", tmp_path, "--collect") == 1
    with open_sweep(grid, tmp_path):
        pass
    assert call("sweep", tmp_path / SWEEP, "--out", tmp_path, "--collect") == 1
    assert "holds no cells of a sweep" in capsys.readouterr().err
    (tmp_path / CELLS / grid.cells[0].name / "run").mkdir(parents=True)
    assert call("sweep", tmp_path / SWEEP, "--out", tmp_path, "--collect", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert [cell["error"] for cell in found["cells"]] == ["begun", *["not begun"] * 3]
    assert (found["places"], found["highest"]) == ([], None)
    assert "Unfinished cells: 4 of 4" in (tmp_path / "report.md").read_text()


def test_a_job_that_starts_later_reads_what_was_asked_for(make_grid: Callable, world: Any, tmp_path: Path):
    grid = make_grid()
    with open_sweep(grid, tmp_path):
        pass
    # The base recipe is inside: whatever becomes of its file, the cells are the same.
    again = resolve(load_sweep(tmp_path / SWEEP))
    assert again.cells == grid.cells
    assert (tmp_path / SWEEP).read_text() == dump_configuration(grid.sweep)
    assert json.loads(json.dumps(again.sweep.recipe)) == world.recipe
