"""A run that starts from a reward model keeps its head, and says what it was trained on before."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from basereward.data.record import DataRecord, TrainedOn, continued_record, read_record
from basereward.errors import CheckpointError
from basereward.training.recipe import Recipe
from basereward.training.run import train

TINY_STEP = {"max_steps": 1, "learning_rate": 1e-12}


@pytest.fixture(scope="module")
def first(make_recipe: Callable[..., Recipe], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained reward model with an unusual head."""
    folder = tmp_path_factory.mktemp("first") / "run"
    head = {"head": {"layers": 3, "activation": "tanh", "width": 7}}
    return train(make_recipe(model=head, optimizer={"max_steps": 2}), folder).model_folder


def start_from(model: Path) -> dict[str, Any]:
    return {"backbone": None, "init_from": str(model)}


def test_head_and_weights_are_those_of_the_model(
    first: Path, make_recipe: Callable, tmp_path: Path, read_state: Callable
) -> None:
    found = train(make_recipe(model=start_from(first), optimizer=TINY_STEP), tmp_path / "run").model_folder
    state, expected = read_state(found), read_state(first)
    assert state.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(state[name], expected[name], rtol=0, atol=1e-9, msg=name)


def test_the_record_holds_the_data_of_both_runs(first: Path, make_recipe: Callable, tmp_path: Path) -> None:
    before = read_record(first)
    after = read_record(train(make_recipe(model=start_from(first), optimizer=TINY_STEP), tmp_path / "run").model_folder)
    assert before is not None
    assert after is not None
    assert after.inputs == before.inputs * 2
    assert after.fingerprint != before.fingerprint


def test_nothing_is_known_of_what_a_model_without_a_record_has_seen(first: Path) -> None:
    record = DataRecord(
        fingerprint="b", inputs=(TrainedOn(name="n", manifest_sha256="s", sources=("x",)),), contamination=None
    )
    after = continued_record("owner/foreign", None, record)
    assert [(one.name, one.manifest_sha256) for one in after.inputs] == [("owner/foreign", None), ("n", "s")]
    assert after.contamination is None


def test_a_run_from_a_reward_model_resumes(
    first: Path, make_recipe: Callable, launch: Callable, tmp_path: Path, read_state: Callable
) -> None:
    recipe = make_recipe(model=start_from(first), run={"save_every": 2}, optimizer={"max_steps": 4})
    assert launch(recipe, tmp_path / "run", kill="after-step:3").codes == [9]
    train(recipe, tmp_path / "run", resume=True)
    train(recipe, tmp_path / "whole")
    state, expected = (read_state(tmp_path / name / "model") for name in ("run", "whole"))
    assert [name for name in expected if not torch.equal(state[name], expected[name])] == []
    assert read_record(tmp_path / "run" / "model") == read_record(tmp_path / "whole" / "model")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"backbone": "FIRST"}, r"is a reward model.*model\.init_from"),
        ({"backbone": None, "init_from": "BACKBONE"}, "no reward head"),
    ],
)
def test_one_is_not_taken_for_the_other_and_known_before_the_data_is_read(
    model: dict[str, Any], words: str, first: Path, world: Any, make_recipe: Callable, tmp_path: Path
) -> None:
    places = {"FIRST": str(first), "BACKBONE": str(world.backbone)}
    named = {key: places.get(value, value) for key, value in model.items()}
    # Reading it as pairs would fail.
    unreadable = tmp_path / "unreadable.jsonl"
    unreadable.write_text("{broken\n")
    data = {"train": [str(unreadable)]}
    with pytest.raises(CheckpointError, match=words):
        train(make_recipe(model=named, data=data), tmp_path / "run")
