"""Tiny worlds to train in: backbones, data, recipes, and a launcher whose processes may die."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import pytest
import torch
from safetensors.torch import load_file

from basereward.data.storage import write_rows
from basereward.lab.backbone import write_backbone
from basereward.lab.world import WorldConfig, draw_rows
from basereward.training.recipe import Recipe, dump_recipe, parse_recipe

LAUNCHER = Path(__file__).parent / "drivers" / "launcher.py"
# What depends on the clock, and nothing else that is logged.
TIMING = ("_per_second", "_runtime", "data_wait_share", "mfu")


class World(NamedTuple):
    """A folder with a backbone and with pairs, half of which have an image."""

    folder: Path
    backbone: Path
    train: Path
    validation: Path


class Outcome(NamedTuple):
    """How a launched run ended."""

    codes: list[int]
    folder: Path

    def printed(self, rank: int = 0, stream: str = "out") -> str:
        """What a rank wrote on stdout (``out``) or stderr (``err``)."""
        return Path(f"{self.folder}.{rank}.{stream}").read_text()

    def seen(self, rank: int = 0) -> dict[str, Any]:
        """What a rank saw of its own weights."""
        return json.loads(Path(f"{self.folder}.{rank}.json").read_text())


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
        backbone = write_backbone(folder / "backbone", "qwen2_5_vl", "test")
        config = WorldConfig(text_share=0.5, padded_share=0.4)
        write_rows(draw_rows(30, 0, config), folder / "train.jsonl")
        write_rows(draw_rows(11, 1, config), folder / "validation.jsonl")
        yield World(folder, backbone, folder / "train.jsonl", folder / "validation.jsonl")


@pytest.fixture(scope="session")
def make_recipe(world: World) -> Callable[..., Recipe]:
    """Build a recipe of 7 pairs a step in fp32 on the CPU; keyword arguments are sections to change."""

    def make(**sections: dict[str, Any]) -> Recipe:
        content: dict[str, dict[str, Any]] = {
            "model": {"backbone": str(world.backbone)},
            "data": {"train": [str(world.train)]},
            "optimizer": {"pairs_per_step": 7, "learning_rate": 1e-3, "warmup_share": 0.0, "epochs": 2},
            "hardware": {"precision": "fp32", "workers": 0, "use_cpu": True},
            "run": {"log_every": 1},
        }
        for name, section in sections.items():
            content[name] = content.get(name, {}) | section
        return parse_recipe({"name": "test", **content})

    return make


@pytest.fixture(scope="session")
def launch(world: World) -> Iterator[Callable[..., Outcome]]:
    """Train in processes of their own; the launcher imports torch once for all of them."""
    environment = os.environ | {
        "HF_DATASETS_CACHE": str(world.folder / "cache"),
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
    }
    command = [sys.executable, str(LAUNCHER)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdin is not None
        assert server.stdout is not None

        def run(recipe: Recipe, folder: Path, ranks: int = 1, resume: bool = False, kill: str | None = None) -> Outcome:
            job = {"folder": str(folder), "ranks": ranks, "resume": resume, "kill": kill}
            server.stdin.write(json.dumps(job | {"recipe": dump_recipe(recipe)}) + "\n")
            server.stdin.flush()
            return Outcome(json.loads(server.stdout.readline()), folder)

        yield run
        server.stdin.close()


@pytest.fixture(scope="session")
def read_metrics() -> Callable[[Path], list[dict[str, Any]]]:
    """Return the lines of ``metrics.jsonl`` without what depends on the clock."""

    def read(folder: Path) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        return [{key: value for key, value in line.items() if not key.endswith(TIMING)} for line in lines]

    return read


@pytest.fixture(scope="session")
def read_state() -> Callable[[Path], dict[str, torch.Tensor]]:
    """Return all weights that lie in a folder."""

    def read(folder: Path) -> dict[str, torch.Tensor]:
        files = sorted(folder.glob("*.safetensors"))
        return {name: tensor for file in files for name, tensor in load_file(file).items()}

    return read
