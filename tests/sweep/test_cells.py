"""Every cell is resolved, checked and named before any of them runs."""

from typing import Any

import pytest

from basereward.configuration import parse_configuration
from basereward.errors import BaseRewardError
from basereward.sweep.cells import measured_name, resolve
from basereward.sweep.recipe import SweepRecipe, load_sweep
from tests.sweep.conftest import PAPER

RATE = "optimizer.learning_rate"


def test_the_paper_grid_is_shipped():
    grid = resolve(load_sweep(PAPER))
    assert grid.axes == {RATE: [1e-5, 3e-6, 1e-6, 3e-7]}
    assert grid.baseline == "learning_rate 3e-06"
    assert [cell.recipe.optimizer.learning_rate for cell in grid.cells] == [1e-5, 3e-6, 1e-6, 3e-7]
    assert {cell.recipe.optimizer.pairs_per_step for cell in grid.cells} == {128}
    tiny = resolve(load_sweep(PAPER.with_name("learning-rates-tiny.yaml")))
    assert {1e-5, 3e-6, 1e-6, 3e-7} < set(tiny.axes[RATE])
    assert len(tiny.cells) == 24


def test_names_stay_when_a_grid_grows(make_grid):
    small = {cell.name: cell for cell in make_grid().cells}
    grid = {RATE: ["3e-7", 1e-6, 3e-6, 1e-5, 1e-4], "optimizer.weight_decay": [0.1, 0.0]}
    large = {cell.name: cell for cell in make_grid(grid=grid, seeds=[1, 0]).cells}
    assert len(large) == 20
    assert small.keys() < large.keys()
    assert all(large[name].recipe == cell.recipe for name, cell in small.items())
    assert "base,seed=0" in small
    assert f"{RATE}=1e-05,seed=0" in small


def test_an_axis_may_be_a_section(make_grid):
    heads = [{"layers": 1, "activation": "none"}, {"layers": 2}]
    grid = make_grid(grid={"model.head": heads})
    assert [cell.recipe.model.head.layers for cell in grid.cells] == [1, 2]
    assert grid.baseline == grid.cells[1].point
    assert all(len(cell.name) < 100 and "/" not in cell.name for cell in grid.cells)


def test_names_of_folders_are_short_enough_for_a_disk():
    assert measured_name("/data/held/a.jsonl:test") == "data-held-a.jsonl-test"
    places = [f"/{'d' * 300}/{name}/{'e' * 70}.jsonl" for name in "ab"]
    assert len({measured_name(place) for place in places}) == 2
    assert max(len(measured_name(place)) for place in places) < 100


def test_sections_may_be_nested_and_override(make_grid):
    grid = make_grid(grid={RATE: [1e-5], "optimizer": {"learning_rate": [1e-4, 1e-3], "schedule": ["linear"]}})
    assert grid.axes == {RATE: [1e-4, 1e-3], "optimizer.schedule": ["linear"]}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"grid": {"optimizer.learning_rat": [1]}}, r"Unknown key 'optimizer.learning_rat'.*learning_rate"),
        ({"grid": {RATE: [1e-5, -1]}}, r"The cell optimizer.learning_rate=-1 is no recipe.*greater than 0"),
        ({"grid": {RATE: ["1e-5", 0.00001]}}, "has the cell optimizer.learning_rate=1e-05,seed=0 twice"),
        ({"grid": {"run.seed": [0, 1]}}, "give the seeds under seeds"),
        ({"grid": {"data.validation": [["a"], ["b"]]}}, "cells are compared on the same pairs"),
        ({"grid": {"hardware.workers": [0, 1]}}, "train the same weights"),
        ({"grid": {"model.head": [{}], "model.head.layers": [1]}}, "stands inside model.head"),
        ({"grid": {RATE: [1e-5]}, "baseline": {RATE: 1}}, "is no point of the grid"),
        ({"seeds": [1, 1]}, "one twice"),
        ({"grid": {"run": [{"push_to_hub": "me/rewards"}]}}, "Every cell would push its model"),
        ({"changes": {"run.push_to_hub": "me/rewards"}}, "Every cell would push its model"),
        ({"changes": {"data.validation": []}}, "nothing to measure on"),
        ({"launch": {"slurm": {"array": "0-3"}}}, "the script sets --array itself"),
        ({"measure": {"data": ["a/b.jsonl", "a-b.jsonl"]}}, "Two places would have one folder of results"),
    ],
)
def test_what_is_no_sweep_is_refused(changes: dict[str, Any], told: str, world: Any):
    content = {"name": "a", "recipe": world.recipe, "grid": {RATE: [1e-5, 1e-4]}, **changes}
    with pytest.raises(BaseRewardError, match=told):
        resolve(parse_configuration(SweepRecipe, content))


def test_a_base_recipe_is_beside_the_sweep_or_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inner").mkdir()
    sweep = tmp_path / "inner" / "sweep.yaml"
    sweep.write_text("name: a\nrecipe: base.yaml\ngrid: {optimizer.learning_rate: [1e-5]}\n")
    with pytest.raises(BaseRewardError, match=r"there is no base.yaml, neither beside"):
        load_sweep(sweep)
    (tmp_path / "base.yaml").write_text("name: here\n")
    assert load_sweep(sweep).recipe == {"name": "here"}
    (tmp_path / "inner" / "base.yaml").write_text("name: beside\n")
    with pytest.raises(BaseRewardError, match="may be any of"):
        load_sweep(sweep)
