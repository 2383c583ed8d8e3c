"""docs/sweeps.md and docs/cluster.md: commands run as they stand, sweeps resolve, torchrun knows its options."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch.distributed.run import get_args_parser

from basereward.configuration import parse_configuration
from basereward.data.storage import write_rows
from basereward.lab.backbone import write_backbone
from basereward.lab.world import WorldConfig, draw_rows
from basereward.sweep import launch
from basereward.sweep.cells import resolve
from basereward.sweep.recipe import SweepRecipe, load_sweep
from tests.cli.conftest import call

ROOT = Path(__file__).parents[2]
SWEEPS, CLUSTER = ((ROOT / "docs" / name).read_text() for name in ("sweeps.md", "cluster.md"))


def blocks(text: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_commands_run(world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    monkeypatch.setattr(launch, "_start", lambda *_: pytest.fail("24 runs are too long for a test"))
    commands = [line for block in blocks(SWEEPS, "bash") for line in block.splitlines()]
    assert [line.split()[1] for line in commands] == ["lab", "lab", "lab", *["sweep"] * 4]
    write_backbone(Path("runs/tiny-backbone"), "qwen2_5_vl", "test")
    for name in ("train", "test"):
        path = Path(f"runs/world/{name}.parquet")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_rows(draw_rows(8, 0, WorldConfig(text_share=0.9)), path)
    for line in commands:
        if "--plan" in line:
            assert call(*shlex.split(line)[1:]) == 0
    printed = capsys.readouterr().out
    assert "24 cells, 24 to run; measured on runs/world/test.parquet" in printed
    assert "#SBATCH --array=0-3%1" in printed
    assert printed.count("ray job submit --no-wait --entrypoint-num-gpus 8") == 4
    with pytest.raises(pytest.fail.Exception):
        call(*shlex.split(commands[4])[1:])


def test_sweeps_resolve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    sizes = []
    for block in blocks(SWEEPS, "yaml"):
        assert parse_configuration(SweepRecipe, yaml.safe_load(block))
        (tmp_path / "sweep.yaml").write_text(block)
        sizes.append(len(resolve(load_sweep(tmp_path / "sweep.yaml")).cells))
    assert sizes == [12, 2]


def test_torchrun_knows_the_options(monkeypatch: pytest.MonkeyPatch):
    [job] = [yaml.safe_load(block) for block in blocks(CLUSTER, "yaml")]
    [container] = job["spec"]["template"]["spec"]["containers"]
    lines = [
        found.replace("\\\n", " ") for block in blocks(CLUSTER, "text") for found in [block[block.index("torchrun") :]]
    ]
    # A number of machines that Slurm tells.
    lines = [line.replace('"$SLURM_NNODES"', "8") for line in lines]
    for words in [container["command"], *map(shlex.split, lines)]:
        assert words[0] == "torchrun"
        found = get_args_parser().parse_args(words[1:])
        assert (found.nproc_per_node, found.shutdown_timeout, found.rdzv_backend) == ("8", 600, "c10d")
        assert (found.training_script, found.training_script_args[0]) == ("basereward", "train")
        assert "--resume" in found.training_script_args
    assert get_args_parser().parse_args(["x"]).max_restarts == 0
