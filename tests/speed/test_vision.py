"""The tower's measurement: equal features, and calls that do not grow with the windows."""

import json

import pytest
from typer.testing import CliRunner

from basereward.cli.main import app
from basereward.errors import RecipeError
from basereward.speed.vision import TowerPlan, measure_tower


def test_calls_do_not_grow_with_the_windows():
    figures = measure_tower(TowerPlan(images=1, side=12, repeats=1))
    assert all(figure.is_met is not False for figure in figures)
    found = {(figure.part, figure.what): figure.value for figure in figures}
    # 3 x 3 windows in three layers, and the whole image in the fourth.
    assert found["one size", "calls of attention, loop"] == 3 * 9 + 1
    assert found["one size", "calls of attention, batched"] == 3 + 1
    # 11 x 13 tokens: windows of 4 x 4, 3 x 4, 4 x 1 and 3 x 1 of them.
    assert found["many sizes", "calls of attention, loop"] == 3 * 12 + 1
    assert found["many sizes", "calls of attention, batched"] == 3 * 4 + 1


def test_the_command_prints_one_json_object():
    result = CliRunner().invoke(app, ["speed", "vision", "--images", "1", "--side", "8", "--repeats", "1", "--json"])
    assert result.exit_code == 0
    content = json.loads(result.stdout)
    assert (content["preset"], content["side"]) == ("tiny", 8)
    assert {figure["part"] for figure in content["figures"]} == {"one size", "many sizes"}


def test_images_that_are_too_small_are_refused():
    with pytest.raises(RecipeError, match="at least 8"):
        measure_tower(TowerPlan(side=7))
