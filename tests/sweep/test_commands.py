"""The command in processes of its own: killed and resumed on this machine, and over two machines of Slurm."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from basereward.sweep.run import run_sweep
from basereward.sweep.work import CELLS
from tests.cli.conftest import call
from tests.sweep.conftest import PAPER
from tests.sweep.drivers import write_cluster
from tests.sweep.test_sweep import weights

STEPS = {"optimizer.max_steps": 30, "optimizer.epochs": 20, "run.save_every": 2}


def write_sweep(folder: Path, world: Any, **changes: Any) -> Path:
    """Write a sweep of the paper's grid over the tiny recipe."""
    (folder / "base.yaml").write_text(yaml.safe_dump(world.recipe))
    content = {**yaml.safe_load(PAPER.read_text()), "recipe": "base.yaml", "measure": {}, "launch": {}, **changes}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(content))
    return folder / "sweep.yaml"


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "basereward", "sweep", *map(str, words)]


def wait_for(found: Callable[[], bool], process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 500
    while not found():
        assert process.poll() is None, process.returncode
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_the_paper_grid_in_one_command_killed_and_resumed(world, make_grid, tmp_path):
    sweep, out = write_sweep(tmp_path, world, changes=STEPS), tmp_path / "out"
    second = out / CELLS / "base,seed=0"
    with subprocess.Popen(command(sweep, "--out", out), start_new_session=True) as process:
        wait_for(lambda: (second / "run" / "checkpoints" / "checkpoint-4").is_dir(), process)
        process.send_signal(signal.SIGKILL)
    # The kernel ends its cell with it, so that the next call finds no lock held.
    ended = subprocess.run(command(sweep, "--out", out, "--json"), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "cell 1 of 3: base,seed=0" in ended.stderr
    log = (second / "log.txt").read_text()
    assert log.count("base,seed=0 failed") == 0
    assert not list((second / "run" / "checkpoints").glob(".incomplete*"))
    whole = tmp_path / "whole"
    expected = run_sweep(make_grid(changes=STEPS), whole)
    found = json.loads(ended.stdout)
    assert {**found, "files": None} == {**expected.model_dump(mode="json"), "files": None}
    reference = weights(whole)
    assert all(value.equal(reference[name]) for name, value in weights(out).items())
    assert [Path(file).name for file in found["files"]] == ["report.html", "report.md"]


@pytest.mark.slow
def test_sigterm_saves_and_says_so(world, tmp_path):
    sweep, out = write_sweep(tmp_path, world, changes=STEPS), tmp_path / "out"
    first = out / CELLS / "optimizer.learning_rate=1e-05,seed=0"
    with subprocess.Popen(command(sweep, "--out", out)) as process:
        wait_for(lambda: (first / "run" / "checkpoints" / "checkpoint-2").is_dir(), process)
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 143
    assert "SIGTERM ended the run after step" in (first / "log.txt").read_text()
    assert not (first / "failure.json").exists()


@pytest.mark.slow
def test_a_run_over_two_machines_of_slurm(world, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", write_cluster(tmp_path / "bin"))
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log.txt"))
    grid = {"optimizer.learning_rate": [1e-5]}
    sweep = write_sweep(tmp_path, world, grid=grid, launch={"nodes": 2}, changes={"run.seed": 3}, seeds=[4])
    out = tmp_path / "out"
    monkeypatch.chdir(tmp_path)
    assert call("sweep", sweep, "--out", out, "--launcher", "slurm", "--plan") == 0
    assert not out.exists()
    assert call("sweep", sweep, "--out", out, "--launcher", "slurm") == 0
    facts = json.loads((out / CELLS / "optimizer.learning_rate=1e-05,seed=4" / "run" / "train.json").read_text())
    assert facts["ranks"] == 2
    # The job behind the array has made the table.
    assert (out / "sweep.json").is_file()
    assert (out / "report.html").is_file()
    assert call("sweep", sweep, "--out", out, "--launcher", "slurm", "--json") == 0
