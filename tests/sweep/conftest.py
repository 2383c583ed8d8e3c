"""A tiny world for sweeps: a backbone, pairs, and the paper's grid over a recipe of two steps."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import pytest

from basereward.data.storage import write_rows
from basereward.lab.backbone import write_backbone
from basereward.lab.world import WorldConfig, draw_rows
from basereward.sweep.cells import Grid, resolve
from basereward.sweep.recipe import SweepRecipe, load_sweep

PAPER = Path(__file__).parents[2] / "recipes" / "sweeps" / "learning-rates.yaml"


class World(NamedTuple):
    """A folder with a backbone and pairs, and a recipe of two steps on them."""

    folder: Path
    recipe: dict[str, Any]
    validation: Path


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("sweeps")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
        patch.setenv("HF_DATASETS_CACHE", str(folder / "cache"))
        backbone = write_backbone(folder / "backbone", "qwen2_5_vl", "test")
        config = WorldConfig(text_share=0.9)
        write_rows(draw_rows(8, 0, config), folder / "train.jsonl")
        write_rows(draw_rows(12, 1, config), folder / "validation.jsonl")
        recipe = {
            "name": "tiny",
            "model": {"backbone": str(backbone)},
            "data": {"train": [str(folder / "train.jsonl")], "validation": [str(folder / "validation.jsonl")]},
            "optimizer": {"pairs_per_step": 4, "warmup_share": 0.0, "max_steps": 2},
            "hardware": {"precision": "fp32", "workers": 0, "use_cpu": True},
            "run": {"log_every": 1, "save_every": 1},
        }
        yield World(folder, recipe, folder / "validation.jsonl")


@pytest.fixture(scope="session")
def make_grid(world: World) -> Callable[..., Grid]:
    """Resolve the paper's grid of learning rates over the tiny recipe; keywords change the sweep."""

    def make(**changes: Any) -> Grid:
        paper = load_sweep(PAPER).model_dump(include={"name", "grid", "seeds"})
        return resolve(SweepRecipe.model_validate({**paper, "recipe": world.recipe, **changes}))

    return make
