"""What a run does beside training: a trace of steps, and its model on the hub."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from basereward.errors import RecipeError, TrainingError, WorkError
from basereward.models import saving
from basereward.models.reward_model import RewardModel
from basereward.training.folder import FACTS
from basereward.training.recipe import load_recipe
from basereward.training.run import train


class Commit(NamedTuple):
    """What the hub answers."""

    commit_url: str


class Hub:
    """Stands for the hub: keeps what is uploaded, or fails."""

    def __init__(self) -> None:
        self.made: list[tuple[str, bool | None]] = []
        self.uploads: list[dict[str, Any]] = []
        self.is_down = False

    def create_repo(self, repo: str, private: bool | None, exist_ok: bool) -> None:
        if self.is_down:
            raise ConnectionError("401 Client Error: invalid token.")
        self.made.append((repo, private))

    def upload_folder(self, repo_id: str, folder_path: Path, commit_message: str, revision: str | None) -> Commit:
        rewards = RewardModel.from_pretrained(folder_path).score("What is 2 + 3?", responses=["5", "6"])
        names = {path.name for path in Path(folder_path).iterdir()}
        self.uploads.append({"names": names, "rewards": rewards, "message": commit_message})
        return Commit(f"https://hub.invalid/{repo_id}/commit/{len(self.uploads)}")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    found = Hub()
    monkeypatch.setattr(saving, "HfApi", lambda: found)
    return found


def test_a_finished_model_is_pushed_with_its_card(make_recipe: Callable, hub: Hub, tmp_path: Path) -> None:
    run = {"push_to_hub": "me/rewards", "push_private": True}
    recipe = make_recipe(optimizer={"max_steps": 1}, run=run)
    result = train(recipe, tmp_path / "run")
    [upload] = hub.uploads
    assert hub.made == [("me/rewards", True)]
    assert {"README.md", "card.yaml", "data.json", "config.json", "model.safetensors"} <= upload["names"]
    assert upload["message"] == "Upload the reward model of test at step 1"
    model = RewardModel.from_pretrained(result.model_folder)
    assert upload["rewards"] == model.score("What is 2 + 3?", responses=["5", "6"])
    assert result.facts["pushed"] == {"repository": "me/rewards", "commit": "https://hub.invalid/me/rewards/commit/1"}
    assert json.loads((tmp_path / "run" / FACTS).read_text())["pushed"] == result.facts["pushed"]
    with pytest.raises(TrainingError, match="holds a finished run of 1 steps"):
        train(recipe, tmp_path / "run", resume=True)


def test_a_push_that_fails_costs_nothing_and_is_made_again(make_recipe: Callable, hub: Hub, tmp_path: Path) -> None:
    folder, hub.is_down = tmp_path / "run", True
    recipe = make_recipe(optimizer={"max_steps": 1}, run={"push_to_hub": "me/rewards"})
    with pytest.raises(TrainingError, match=r"is finished.*me/rewards did not take it: 401 .*--resume to push again"):
        train(recipe, folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(TrainingError, match="did not take it"):
        train(recipe, folder, resume=True)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    hub.is_down = False
    with pytest.raises(WorkError, match=r"optimizer\.learning_rate"):
        train(load_recipe(folder, ["optimizer.learning_rate=1e-5"]), folder, resume=True)
    assert train(recipe, folder, resume=True).facts["pushed"]["repository"] == "me/rewards"
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert {path for path in after if after[path] != before.get(path)} == {folder / FACTS}
    # To another repository, asked for afterwards.
    train(load_recipe(folder, ["run.push_to_hub=me/others"]), folder, resume=True)
    assert [repo for repo, _ in hub.made] == ["me/rewards", "me/others"]
    assert load_recipe(folder).run.push_to_hub == "me/others"


def test_a_run_that_ended_early_is_pushed_again_and_by_what_made_it(
    make_recipe: Callable, hub: Hub, world: Any, tmp_path: Path
) -> None:
    data = {"train": [str(world.train)], "validation": [str(world.validation)]}
    # All evaluations are equal: no step moves a weight in fp32.
    optimizer = {"learning_rate": 1e-30, "schedule": "constant", "max_steps": 5}
    run = {"eval_every": 1, "save_every": 1, "best": {"patience": 1}, "push_to_hub": "me/rewards"}
    run |= {"profile_steps": {"start": 2, "steps": 3}}
    folder, hub.is_down = tmp_path / "run", True
    recipe = make_recipe(data=data, optimizer=optimizer, run=run)
    with pytest.raises(TrainingError, match="--resume to push again"):
        train(recipe, folder)
    assert [trace.name for trace in folder.glob("trace-*")] == ["trace-2-2.json.gz"], "of the step that was taken"
    hub.is_down = False
    for change in ("run.eval_every=2", "run.save_dtype=bfloat16", "optimizer.max_steps=4"):
        with pytest.raises(WorkError, match=change.partition("=")[0].replace(".", r"\.")):
            train(load_recipe(folder, [change]), folder, resume=True)
    facts = train(load_recipe(folder, ["hardware.workers=1"]), folder, resume=True).facts
    assert (facts["steps"], facts["pushed"]["repository"]) == (2, "me/rewards")
    with pytest.raises(TrainingError, match="ended early"):
        train(recipe, folder, resume=True)


@pytest.mark.parametrize("run", [{"push_to_hub": "rewards"}, {"push_to_hub": "a/b/c"}, {"push_private": True}])
def test_a_push_needs_a_repository(run: dict, make_recipe: Callable) -> None:
    with pytest.raises(RecipeError, match=r"push_to_hub"):
        make_recipe(run=run)


def test_a_trace_is_of_the_steps_that_are_asked_for_and_changes_nothing(
    make_recipe: Callable, read_state: Callable, read_metrics: Callable, tmp_path: Path
) -> None:
    optimizer, asked = {"max_steps": 4}, {"start": 2, "steps": 2}
    train(make_recipe(optimizer=optimizer), tmp_path / "plain")
    recipe = make_recipe(optimizer=optimizer, run={"profile_steps": asked, "save_every": 2})
    train(recipe, tmp_path / "traced")
    found, expected = (read_state(tmp_path / name / "model") for name in ("traced", "plain"))
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert read_metrics(tmp_path / "traced") == read_metrics(tmp_path / "plain")
    [trace] = (tmp_path / "traced").glob("*trace*")
    assert trace.name == "trace-2-3.json.gz"
    names = [event.get("name", "") for event in json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]]
    steps = [name for name in names if name.startswith("Optimizer.step")]
    assert len(steps) == 2, "of two steps"
    # A resumed run that is past the first of them writes none, and one whose steps are no such ones is refused.
    trace.unlink()
    (tmp_path / "traced" / FACTS).unlink()
    train(recipe, tmp_path / "traced", resume=True)
    assert not list((tmp_path / "traced").glob("*trace*"))
    with pytest.raises(TrainingError, match=r"asks for steps 4 to 5, and the run has 4; lower start"):
        train(make_recipe(optimizer=optimizer, run={"profile_steps": {"start": 4, "steps": 2}}), tmp_path / "late")
