"""Training a head that compares: its rewards are those that scoring gives to groups of the same responses."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from basereward.data.schema import PreferencePair, Response, ResponseGroup, messages_from_text
from basereward.errors import RecipeError, TrainingError
from basereward.models.cross_response import cross_parameters
from basereward.models.flops import measure_backbone
from basereward.models.reward_model import RewardModel
from basereward.models.shapes import backbone_config
from basereward.training.collator import PreferenceCollator
from basereward.training.listwise import Listwise
from basereward.training.objectives import BradleyTerry
from basereward.training.plan import trained_parameters
from basereward.training.prepare import prepare_data, prepare_model, prepare_template
from basereward.training.run import train

HEAD = {"cross_response": 2}
RANKED = Listwise(kind="listwise")
ANSWERS = {"2 + 2?": ("4", "5", "6", "4 or so"), "Which colour?": ("red", "blue", "it is green")}


def pair(prompt: str, chosen: int, rejected: int, **changes: Any) -> PreferencePair:
    """A pair of the answers to a prompt, the first of which have the higher scores."""
    said = [messages_from_text(ANSWERS[prompt][place], "assistant") for place in (chosen, rejected)]
    made = PreferencePair(f"{prompt}{chosen}{rejected}", "s", messages_from_text(prompt), *said)
    return replace(made, scores=(9.0 - chosen, 9.0 - rejected), **changes)


# Two prompts in one row; the last pair of the first has no scores, and stands alone.
PAIRS = [
    pair("2 + 2?", 0, 1),
    pair("Which colour?", 0, 2),
    pair("2 + 2?", 1, 2),
    pair("Which colour?", 1, 2),
    pair("2 + 2?", 0, 2),
    replace(pair("2 + 2?", 3, 0), scores=()),
]


@pytest.fixture(scope="module")
def model(make_recipe: Callable) -> RewardModel:
    made = prepare_model(make_recipe(model={"head": HEAD})).eval()
    torch.nn.init.normal_(made.head.layers[-1].weight)
    return made


def scored(model: RewardModel, prompt: str, *places: int) -> dict[str, float]:
    """What scoring gives to a group of the answers to a prompt at these places."""
    answers = [messages_from_text(ANSWERS[prompt][place], "assistant") for place in places]
    group = ResponseGroup(
        "g", messages_from_text(prompt), tuple(Response(str(n), own) for n, own in enumerate(answers))
    )
    return dict(zip([ANSWERS[prompt][place] for place in places], model.score_groups([group])[0], strict=True))


def batch_rewards(model: RewardModel, objective: Any, **options: Any) -> list[tuple[float, float]]:
    """The rewards of both sides of all pairs in a batch of training."""
    batch: Any = PreferenceCollator(model.template, objective, **options)(PAIRS)
    keys = ("pairs", "margins", "weights", "word_weights", "rankings", "pair_rankings", "unranked")
    with torch.no_grad():
        rewards = model(**{key: value for key, value in batch.items() if key not in keys})
    return [(float(rewards[chosen]), float(rewards[rejected])) for chosen, rejected in batch["pairs"].tolist()]


def expected(model: RewardModel, groups: list[tuple[int, ...]]) -> list[tuple[float, float]]:
    """What scoring gives to both sides of all pairs, each in the group of these answers to its prompt."""
    found = []
    for one, places in zip(PAIRS, groups, strict=True):
        own = scored(model, one.prompt[0].text, *places)
        found.append((own[one.chosen[0].text], own[one.rejected[0].text]))
    return found


def close(found: list[tuple[float, float]], wanted: list[tuple[float, float]]) -> None:
    torch.testing.assert_close(torch.tensor(found), torch.tensor(wanted), rtol=1e-5, atol=1e-5)


def test_bradley_terry_compares_within_each_pair(model: RewardModel) -> None:
    alone = [(0, 1), (0, 2), (1, 2), (1, 2), (0, 2), (3, 0)]
    close(batch_rewards(model, BradleyTerry()), expected(model, alone))
    # So is every pair of validation, whatever shares its batch.
    close(batch_rewards(model, RANKED, compares_rankings=False), expected(model, alone))


def test_rankings_are_compared_as_a_whole(model: RewardModel) -> None:
    close(batch_rewards(model, RANKED), expected(model, [*[(2, 0, 1)] * 5, (3, 0)]))
    # It is no matter of rounding who is in the group.
    assert abs(scored(model, "2 + 2?", 0, 1)["4"] - scored(model, "2 + 2?", 0, 1, 2)["4"]) > 1e-3


def test_a_run_measures_and_stores_what_scoring_gives(
    make_recipe: Callable, tmp_path: Path, read_metrics: Callable
) -> None:
    rows = [
        {
            "id": str(n),
            "prompt": f"What is {n} + {n}?",
            "responses": [f"{2 * n + k}" for k in range(3)],
            "scores": [2, 1, 0],
        }
        for n in range(8)
    ]
    source = tmp_path / "rankings.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = make_recipe(
        model={"head": HEAD},
        data={"train": [str(source)], "validation": [str(source)], "group": "prompt"},
        objective={"kind": "listwise", "form": "best"},
        optimizer={"pairs_per_step": 12, "epochs": 2},
        run={"eval_every": 4},
    )
    run = train(recipe, tmp_path / "run")
    trained = RewardModel.from_pretrained(run.model_folder, device="cpu")
    assert trained.compares
    pairs = prepare_data(recipe, prepare_template(recipe)).train.pairs
    margins = []
    for one in pairs:
        group, chosen, rejected = one.comparison()
        rewards = trained.score_groups(list(group))[0]
        margins.append(rewards[chosen] - rewards[rejected])
    [*_, last] = [line for line in read_metrics(tmp_path / "run") if "eval_margin" in line]
    assert last["eval_margin"] == pytest.approx(sum(margins) / len(margins), rel=1e-4)
    further = make_recipe(
        model={"backbone": None, "init_from": str(run.model_folder)}, objective={"image_swap": {"weight": 1.0}}
    )
    with pytest.raises(TrainingError, match="cross_response"):
        prepare_model(further)


@pytest.mark.parametrize(
    "objective", [{"kind": "critic"}, {"image_swap": {"weight": 1.0}}], ids=["critic", "image_swap"]
)
def test_objectives_that_have_no_group_refuse_it(make_recipe: Callable, objective: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=r"cross_response"):
        make_recipe(model={"head": HEAD}, objective=objective)


def test_the_plan_counts_it(make_recipe: Callable, world: Any) -> None:
    config = backbone_config(world.backbone)
    counts = [
        trained_parameters(make_recipe(model={"head": head, "freeze_backbone": True}), config, measure_backbone(config))
        for head in (HEAD, {})
    ]
    assert counts[0] - counts[1] == cross_parameters(config.get_text_config().hidden_size, 2)


@pytest.mark.slow
@pytest.mark.parametrize("sharding", ["none", "fsdp2"])
def test_two_processes_train_as_one(
    make_recipe: Callable, launch: Callable, read_state: Callable, tmp_path: Path, sharding: str
) -> None:
    recipe = make_recipe(
        model={"head": HEAD}, optimizer={"max_steps": 3, "pairs_per_step": 8}, hardware={"sharding": sharding}
    )
    alone = make_recipe(model={"head": HEAD}, optimizer={"max_steps": 3, "pairs_per_step": 8})
    assert launch(alone, tmp_path / "1").codes == [0]
    assert launch(recipe, tmp_path / "2", ranks=2).codes == [0, 0]
    one, two = (read_state(tmp_path / name / "model") for name in "12")
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-4, atol=1e-5)
