"""Two FSDP2 processes compute what one does, for every family that reads images."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch


@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen2_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "internvl"])
def test_fsdp2_computes_what_one_process_does(
    family: str,
    backbone_of: Callable[[str], Path],
    make_recipe: Callable,
    launch: Callable,
    read_metrics: Callable,
    read_state: Callable,
    tmp_path: Path,
) -> None:
    model, optimizer = {"backbone": str(backbone_of(family))}, {"epochs": 1, "schedule": "constant"}
    lines, states = [], []
    for ranks, sharding in ((1, "none"), (2, "fsdp2")):
        recipe = make_recipe(model=model, optimizer=optimizer, hardware={"sharding": sharding})
        run = launch(recipe, tmp_path / sharding, ranks)
        assert run.codes == [0] * ranks, run.printed(0, "err")
        lines.append([line for line in read_metrics(run.folder) if "loss" in line])
        states.append(read_state(run.folder / "model"))
    assert run.seen()["dtensors"]
    assert len(lines[0]) == len(lines[1]) > 1
    for one, two in zip(*lines, strict=True):
        assert [two[name] for name in one] == pytest.approx([one[name] for name in one], rel=1e-5, abs=2e-6)
    assert states[0].keys() == states[1].keys()
    for name, weight in states[0].items():
        torch.testing.assert_close(states[1][name], weight, rtol=0, atol=1e-5, msg=name)
