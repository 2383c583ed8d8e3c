"""Evaluation during training counts every validation pair once, with the weights of that step."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import TrainerState

from basereward.curation.seen import pair_fingerprints
from basereward.data.pairs import PairDataset, load_pairs
from basereward.errors import RecipeError, TrainingError, WorkError
from basereward.models.reward_model import RewardModel
from basereward.training.best import BestCheckpoint, judge_evaluation
from basereward.training.run import train


def rewards_by_hand(model_folder: Path, pairs: PairDataset) -> np.ndarray:
    """Rewards of chosen and rejected, each pair scored alone with the saved model."""
    model = RewardModel.from_pretrained(model_folder)
    return np.array(
        [
            model.score(
                [message.to_dict() for message in pair.prompt],
                pair.images,
                [pair.chosen[0].text, pair.rejected[0].text],
            )
            for pair in pairs
        ]
    )


@pytest.fixture(scope="module")
def evaluated(make_recipe: Callable, world: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that evaluates 11 pairs after every second step and keeps the weights of these steps."""
    folder = tmp_path_factory.mktemp("evaluated") / "run"
    data = {"train": [str(world.train)], "validation": [str(world.validation)]}
    train(make_recipe(data=data, run={"eval_every": 2, "save_every": 2, "keep": 9}), folder)
    return folder


def test_evaluation_equals_the_saved_model_by_hand(evaluated: Path, world: Any, read_metrics: Callable) -> None:
    pairs = load_pairs([world.validation]).pairs
    assert len(pairs) == 11
    lines = [line for line in read_metrics(evaluated) if "eval_accuracy" in line]
    assert [line["step"] for line in lines] == [2, 4, 6, 8]
    seen = set()
    for line in lines:
        chosen, rejected = rewards_by_hand(evaluated / "checkpoints" / f"checkpoint-{line['step']}", pairs).T
        assert line["eval_accuracy"] == pytest.approx(np.mean(chosen > rejected), abs=1e-12)
        assert line["eval_ties"] == 0
        assert line["eval_margin"] == pytest.approx(np.mean(chosen - rejected), rel=1e-3, abs=1e-6)
        assert line["eval_chosen_mean"] == pytest.approx(chosen.mean(), rel=1e-4)
        assert line["eval_rejected_std"] == pytest.approx(rejected.std(), rel=1e-3)
        seen.add(line["eval_margin"])
    assert len(seen) == 4


def test_evaluation_does_not_disturb_training(
    evaluated: Path, make_recipe: Callable, tmp_path: Path, read_metrics: Callable
) -> None:
    train(make_recipe(), tmp_path / "run")
    losses = [
        [line["loss"] for line in read_metrics(folder) if "loss" in line] for folder in (evaluated, tmp_path / "run")
    ]
    assert losses[0] == losses[1]


def test_swapped_labels_turn_the_accuracy_around(
    evaluated: Path, make_recipe: Callable, world: Any, tmp_path: Path, read_metrics: Callable
) -> None:
    swapped = tmp_path / "swapped.jsonl"
    text = world.validation.read_text().replace('"chosen"', '"other"')
    swapped.write_text(text.replace('"rejected"', '"chosen"').replace('"other"', '"rejected"'))
    (tmp_path / "images").symlink_to(world.validation.parent / "images")
    data = {"train": [str(world.train)], "validation": [str(swapped)]}
    train(make_recipe(data=data, run={"eval_every": 2}), tmp_path / "run")
    names = ("eval_accuracy", "eval_margin")
    right, wrong = (
        np.array([[line[name] for name in names] for line in read_metrics(folder) if "eval_margin" in line])
        for folder in (evaluated, tmp_path / "run")
    )
    np.testing.assert_allclose(wrong[:, 0], 1 - right[:, 0])
    np.testing.assert_allclose(wrong[:, 1], -right[:, 1], rtol=1e-6)


@pytest.mark.slow
def test_the_best_evaluation_is_kept_and_patience_ends_a_run(
    world: Any, make_recipe: Callable, read_state: Callable, read_metrics: Callable, launch: Callable, tmp_path: Path
) -> None:
    """A rate far too high makes later evaluations worse; the run resumes to the same end."""
    data = {"train": [str(world.train)], "validation": [str(world.validation)]}
    run = {"eval_every": 1, "save_every": 3, "keep": 1, "best": {"metric": "margin", "patience": 3}, "log_every": 5}
    optimizer = {"learning_rate": 0.05, "schedule": "constant", "epochs": 5}
    recipe = make_recipe(data=data, run=run, optimizer=optimizer)
    facts = train(recipe, tmp_path / "run").facts
    values = [line["eval_margin"] for line in read_metrics(tmp_path / "run") if "eval_margin" in line]
    best = max(range(len(values)), key=values.__getitem__)
    assert facts["best"] == {"step": best + 1, "margin": values[best]}
    assert facts["steps"] == min(best + 1 + 3, 20) == len(values)
    kept = tmp_path / "run" / "checkpoints" / f"checkpoint-{best + 1}"
    state, expected = read_state(tmp_path / "run" / "model"), read_state(kept)
    assert all(torch.equal(state[name], expected[name]) for name in expected)
    assert launch(recipe, tmp_path / "killed", kill=f"after-step:{best + 2}").codes != [0]
    assert train(recipe, tmp_path / "killed", resume=True).facts["best"] == facts["best"]
    assert read_metrics(tmp_path / "killed") == read_metrics(tmp_path / "run")


def test_a_run_ends_with_an_evaluation_of_every_set(
    world: Any, make_recipe: Callable, read_metrics: Callable, tmp_path: Path
) -> None:
    train_pairs, validation = [str(world.train)], [str(world.validation)]
    data = {
        "train": train_pairs,
        "validation": validation,
        "validation_sets": {"seen": train_pairs, "held": validation},
    }
    facts = train(make_recipe(data=data, optimizer={"max_steps": 2}), tmp_path / "run").facts
    [line] = [line for line in read_metrics(tmp_path / "run") if "eval_accuracy" in line]
    assert line["step"] == 2
    names = {name.removeprefix("eval_held_") for name in line if name.startswith("eval_held_")}
    assert "accuracy" in names
    assert all(line[f"eval_held_{name}"] == line[f"eval_{name}"] for name in names)
    assert line["eval_seen_margin"] != line["eval_margin"]
    seen, held = facts["validation_sets"]["seen"], facts["validation_sets"]["held"]
    trained, validated = (pair_fingerprints(load_pairs(paths).pairs) for paths in (train_pairs, validation))
    common = np.isin(validated, trained).sum()
    assert facts["validation_pairs_in_training"] == held["validation_pairs_in_training"] == common
    assert seen["validation_pairs_in_training"] == seen["validation_pairs"] == facts["pairs"]


def test_a_best_needs_evaluations_and_a_set(make_recipe: Callable, world: Any) -> None:
    sets = {"held": [str(world.validation)]}
    for data, best, message in (
        ({}, {}, "set run.eval_every and data.validation"),
        ({"validation_sets": sets}, {}, "run.best.of says by which of held"),
        ({"validation_sets": sets}, {"of": "other"}, "no set 'other' in data.validation_sets: held"),
        ({"validation_sets": {"own": ["a"]}}, {"of": "own"}, "found set 'own'"),
    ):
        with pytest.raises(RecipeError, match=message):
            make_recipe(data={"train": [str(world.train)], **data}, run={"eval_every": 1, "best": best})


def test_patience_is_counted_from_the_log() -> None:
    state, best = TrainerState(), BestCheckpoint(patience=2)
    found = []
    for step, value in enumerate([0.5, 0.7, 0.7, 0.6, 0.9], start=1):
        state.global_step = step
        state.log_history.append({"step": step, "eval_accuracy": value})
        found.append(judge_evaluation(best, state, {"eval_accuracy": value}))
    assert [own.is_best for own in found] == [True, True, False, False, True]
    assert [own.ends for own in found] == [False, False, False, True, False]
    assert (state.best_metric, state.best_global_step) == (0.9, 5)


def test_what_is_no_number_is_never_the_best() -> None:
    state, best, found = TrainerState(), BestCheckpoint(metric="margin", patience=2), []
    for step, value in enumerate([math.nan, 0.5, math.nan, math.nan], start=1):
        state.global_step = step
        state.log_history.append({"step": step, "eval_margin": value})
        found.append(judge_evaluation(best, state, {"eval_margin": value}))
    assert [own.is_best for own in found] == [False, True, False, False]
    assert [own.ends for own in found] == [False, False, False, True]


def test_a_run_that_patience_ended_is_finished(
    world: Any, make_recipe: Callable, read_metrics: Callable, tmp_path: Path
) -> None:
    """Saved at its last step and killed before its model, it does not train on; with its model it is refused."""
    data = {"train": [str(world.train)], "validation": [str(world.validation)]}
    # All evaluations are equal: no step moves a weight in fp32.
    optimizer = {"learning_rate": 1e-30, "schedule": "constant", "epochs": 2}
    run = {"eval_every": 1, "save_every": 1, "best": {"patience": 2}, "log_every": 1}
    recipe, folder = make_recipe(data=data, run=run, optimizer=optimizer), tmp_path / "run"
    facts = train(recipe, folder).facts
    assert (facts["steps"], facts["best"]["step"], facts["ended_early"]) == (3, 1, True)
    with pytest.raises(TrainingError, match="ended early, for want of a better evaluation"):
        train(recipe, folder, resume=True)
    expected = read_metrics(folder)
    (folder / "train.json").unlink()
    again = train(recipe, folder, resume=True).facts
    assert (again["steps"], again["best"]) == (3, facts["best"])
    assert read_metrics(folder) == expected
    (folder / "train.json").unlink()
    other = recipe.model_copy(update={"data": recipe.data.model_copy(update={"validation": [str(world.train)]})})
    with pytest.raises(WorkError, match="inputs"):
        train(other, folder, resume=True)
    rarer = recipe.model_copy(update={"run": recipe.run.model_copy(update={"eval_every": 2})})
    with pytest.raises(WorkError, match=r"run\.eval_every"):
        train(rarer, folder, resume=True)
