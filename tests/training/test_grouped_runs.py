"""Runs whose pairs are drawn by prompt or image: as planned, resumed to the bit, each image opened once a row."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig

from basereward.data.pairs import load_pairs
from basereward.data.storage import write_rows
from basereward.encoding import template as encoding
from basereward.lab.world import WorldConfig, draw_rows
from basereward.training.collator import PreferenceCollator
from basereward.training.objectives import BradleyTerry
from basereward.training.plan import PlannedPairs, make_plan
from basereward.training.prepare import prepare_data, prepare_template
from basereward.training.run import train
from basereward.training.trainer import RewardTrainer

CAP = 300
GROUPS = ("prompt", "image")


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight questions, six of them about two images each asked about three times; three pairs of each, one opposed."""
    path = tmp_path_factory.mktemp("ranked") / "pairs.jsonl"
    drawn = [*draw_rows(2, 0, WorldConfig(text_share=0.0)), *draw_rows(2, 1, WorldConfig(text_share=1.0))]
    rows = []
    for number, row in enumerate(drawn):
        for question in range(3 if row["images"] else 1):
            for turn in range(3):
                own = copy.deepcopy(row) | {"id": f"{number}-{question}-{turn}"}
                own["prompt"][-1]["content"][-1]["text"] += " Say it shortly." * question
                own["chosen"][-1]["content"][0]["text"] += " Yes." * (turn // 2)
                if turn == 1:
                    own["chosen"], own["rejected"] = own["rejected"], own["chosen"]
                rows.append(own)
    write_rows(rows, path)
    return path


@pytest.fixture
def recipe_by(make_recipe: Callable, ranked: Path) -> Callable:
    def make(group: str, **sections: dict[str, Any]) -> Any:
        data = {"train": [str(ranked)], "group": group, "pairs_per_prompt": 3, "pairs_per_image": 6}
        optimizer = {"pairs_per_step": 8, "tokens_per_microbatch": CAP} | sections.pop("optimizer", {})
        return make_recipe(data=data, optimizer=optimizer, **sections)

    return make


@pytest.mark.parametrize("group", GROUPS)
def test_a_run_is_as_planned(group: str, recipe_by: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens: dict[str, list[int]] = {group: [], "pair": []}
    collate = PreferenceCollator.__call__
    for name in tokens:
        recipe = recipe_by(name)

        def watch(self: Any, pairs: Any, own: list[int] = tokens[name]) -> Any:
            batch = collate(self, pairs)
            own.append(batch["input_ids"].numel())
            return batch

        data = prepare_data(recipe, prepare_template(recipe))
        config = AutoConfig.from_pretrained(recipe.model.start)
        plan = make_plan(recipe, config, PlannedPairs(data.train.lengths, 0, data.reserved, pairs=data.train.pairs))
        monkeypatch.setattr(PreferenceCollator, "__call__", watch)
        facts = train(recipe, tmp_path / name).facts
        assert (facts["steps"], facts["microbatches"]) == (plan.steps, plan.microbatches) == (6, plan.microbatches)
        assert max(tokens[name]) <= CAP
        shared = {"pairs": 24, "prompts": 8, "image_prompts": 6, "images": 2}
        assert shared.items() <= facts["shared"].items()
        assert (facts["shared"]["contradicting"], facts["shared"]["repeated"]) == (16, 0)
        assert facts["shared"] == plan.to_dict()["shared"]
        assert [(gain["group"], gain["ranks"]) for gain in plan.to_dict()["gains"]] == [("prompt", 1), ("image", 1)]
        assert any(line.startswith("steps ") for _, line in plan.lines())
    assert sum(tokens[group]) < 0.9 * sum(tokens["pair"])


@pytest.mark.slow
def test_a_grouped_run_that_was_killed_goes_on_in_mid_epoch(
    recipe_by: Callable, launch: Callable, tmp_path: Path, read_metrics: Callable, read_state: Callable
) -> None:
    recipe = recipe_by("image", run={"save_every": 1, "log_every": 1})
    train(recipe, tmp_path / "whole")
    assert launch(recipe, tmp_path / "killed", kill="after-step:5").codes != [0]
    train(recipe, tmp_path / "killed", resume=True)
    whole, killed = (read_state(tmp_path / name / "model") for name in ("whole", "killed"))
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
    assert read_metrics(tmp_path / "killed") == read_metrics(tmp_path / "whole")


def test_swapped_images_train_in_groups(recipe_by: Callable, tmp_path: Path) -> None:
    objective = {"kind": "bradley_terry", "image_swap": {}}
    facts = train(recipe_by("image", objective=objective, optimizer={"max_steps": 2}), tmp_path / "run").facts
    assert facts["image_swaps"]["swapped"] == 18


def test_a_row_opens_each_image_once(recipe_by: Callable, ranked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []
    load_image = encoding.load_image
    monkeypatch.setattr(encoding, "load_image", lambda *given: opened.append(given) or load_image(*given))
    collate = PreferenceCollator(prepare_template(recipe_by("pair")), BradleyTerry())
    pairs = [pair for pair in load_pairs([str(ranked)]).pairs if pair.images]
    row = collate(pairs)
    assert (len(pairs), len(opened), len(row["image_rows"])) == (18, 2, 2)
    assert collate.template.memory is None


def test_bf16_is_compared_on_one_pair(recipe_by: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    compare = RewardTrainer._backend_difference

    def watch(self: Any, batch: Any) -> Any:
        seen.append(len(batch["pairs"]))
        return compare(self, batch)

    monkeypatch.setattr(RewardTrainer, "_backend_difference", watch)
    train(recipe_by("prompt", hardware={"precision": "bf16"}, optimizer={"max_steps": 1}), tmp_path / "run")
    assert seen == [1]
    assert "backend_difference" in json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])


@pytest.mark.ranks
@pytest.mark.parametrize("sharding", ["none", "fsdp2"])
def test_two_ranks_compute_what_one_does_on_rows_of_three_levels(
    sharding: str, recipe_by: Callable, launch: Callable, tmp_path: Path, read_metrics: Callable, read_state: Callable
) -> None:
    optimizer = {"max_steps": 3, "schedule": "constant"}
    one = recipe_by("image", optimizer=optimizer)
    two = recipe_by("image", optimizer=optimizer, hardware={"sharding": sharding})
    train(one, tmp_path / "one")
    outcome = launch(two, tmp_path / "two", 2)
    assert outcome.codes == [0, 0], outcome.printed(0, "err")
    lines = [
        [own for own in read_metrics(tmp_path / name) if "train_loss" not in own and "loss" in own]
        for name in ("one", "two")
    ]
    assert len(lines[0]) == len(lines[1]) > 0
    for expected, found in zip(*lines, strict=True):
        assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5, abs=2e-6)
    state, reference = (read_state(tmp_path / name / "model") for name in ("two", "one"))
    assert state.keys() == reference.keys()
    for name, weight in reference.items():
        torch.testing.assert_close(state[name], weight, rtol=0, atol=1e-5, msg=name)
