"""Sharded runs begin with the weights that one process begins with, and write what one process writes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from basereward.data.storage import write_rows
from basereward.errors import CheckpointError
from basereward.lab.reasons import with_reasons
from basereward.lab.world import WorldConfig, draw_rows
from basereward.models.reward_model import RewardModel
from basereward.training.recipe import Recipe
from basereward.training.run import train
from tests.cli.conftest import call

# So small that it changes nothing.
TINY_STEP = {"max_steps": 1, "learning_rate": 1e-12}
LORA = {"lora": {"rank": 4, "alpha": 8}}
STARTS: dict[str, dict[str, Any]] = {
    "lora": LORA,
    "lora on bf16": {**LORA, "frozen_dtype": "bfloat16"},
    "head alone": {"freeze_backbone": True},
    "head alone on bf16": {"freeze_backbone": True, "frozen_dtype": "bfloat16"},
    "still tower": {"freeze_vision": True, "checkpointing": True},
    "heads": {"head": {"heads": 3}},
    "seed": {"head": {"layers": 3, "width": 5}, "head_seed": 7},
    "own": {"backbone": None, "init_from": "OWN"},
    "foreign": {"backbone": None, "init_from": "FOREIGN"},
    "critic": {},
}


def write_foreign(backbone: Path, folder: Path) -> Path:
    """A sequence classifier of one label on the tiny backbone."""
    shutil.copytree(backbone, folder)
    weights = load_file(folder / "model.safetensors")
    weights.pop("lm_head.weight")
    weights["score.weight"] = torch.randn(1, 32, generator=torch.Generator().manual_seed(0))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def recipe_of(
    make_recipe: Callable[..., Recipe], world: Any, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], Recipe]:
    """``recipe_of(start, sharding)``: one step from that start."""
    folder = tmp_path_factory.mktemp("starts")
    reasons = folder / "pairs.parquet"
    write_rows(with_reasons(draw_rows(8, 0, WorldConfig()), 0), reasons)
    places = {
        "OWN": str(train(make_recipe(optimizer={"max_steps": 1}), folder / "own").model_folder),
        "FOREIGN": str(write_foreign(world.backbone, folder / "foreign")),
    }

    def make(start: str, sharding: str) -> Recipe:
        model = {key: places.get(str(value), value) for key, value in STARTS[start].items()}
        sections: dict[str, Any] = {"model": model, "optimizer": TINY_STEP, "hardware": {"sharding": sharding}}
        if "frozen_dtype" in model:
            sections["hardware"]["precision"] = "bf16"
        if start == "critic":
            sections["objective"] = {"kind": "critic", "request": "short", "max_tokens": 32}
            sections["data"] = {"train": [str(reasons)]}
        return make_recipe(**sections)

    return make


@pytest.mark.ranks
@pytest.mark.parametrize("start", STARTS)
def test_a_sharded_run_begins_with_the_weights_of_one_process(
    start: str, recipe_of: Callable[[str, str], Recipe], launch: Callable, tmp_path: Path, read_state: Callable
) -> None:
    train(recipe_of(start, "none"), tmp_path / "none")
    sharded = launch(recipe_of(start, "fsdp2"), tmp_path / "fsdp2", 2)
    assert sharded.codes == [0, 0], sharded.printed(0, "err")
    assert "UserWarning" not in sharded.printed(0, "err")
    assert sharded.seen(1)["local_share"] == pytest.approx(0.5, abs=0.03)
    expected, found = (read_state(tmp_path / name / "model") for name in ("none", "fsdp2"))
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, rtol=0, atol=1e-9, msg=name)
    configs = [json.loads((tmp_path / name / "model/config.json").read_text()) for name in ("none", "fsdp2")]
    assert configs[0] == configs[1]


@pytest.mark.ranks
def test_a_checkpoint_of_a_sharded_run_is_in_parts_and_merges_to_the_model(
    make_recipe: Callable[..., Recipe],
    launch: Callable,
    tmp_path: Path,
    read_state: Callable,
    capsys: pytest.CaptureFixture,
) -> None:
    recipe = make_recipe(optimizer={"max_steps": 2}, run={"save_every": 2}, hardware={"sharding": "fsdp2"})
    assert launch(recipe, tmp_path / "run", 2).codes == [0, 0]
    checkpoint, model, merged = tmp_path / "run/checkpoints/checkpoint-2", tmp_path / "run/model", tmp_path / "merged"
    assert not list(checkpoint.glob("*.safetensors"))
    for part in ("shards", "optimizer"):
        sizes = [file.stat().st_size for file in sorted((checkpoint / part).glob("*.distcp"))]
        assert len(sizes) == 2
        assert max(sizes) < 0.6 * sum(sizes)
    with pytest.raises(CheckpointError, match=r"parts.*basereward merge .*checkpoint-2"):
        RewardModel.from_pretrained(checkpoint)
    assert call("merge", str(checkpoint), "--out", str(merged)) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert told.out.splitlines()[0] == f"model    {merged}"
    names = [{file.name for file in folder.iterdir()} for folder in (merged, model)]
    # The card of the model also says what the whole run was.
    assert names[0] == names[1] - {"card.yaml"}
    for name in names[0] - {"README.md"}:
        assert (merged / name).read_bytes() == (model / name).read_bytes(), name
    (checkpoint / "shards" / "__1_0.distcp").unlink()
    assert call("merge", str(checkpoint), "--out", str(tmp_path / "other")) == 1
    assert "__1_0.distcp is missing" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["merged", "run"]
