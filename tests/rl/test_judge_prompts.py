"""What a judge is asked in reinforcement learning, and the recipes that say so."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from basereward.data.schema import ResponseGroup
from basereward.errors import DataError, RecipeError, TrainingError, UnknownNameError
from basereward.models.inputs import load_template
from basereward.rl.grpo import grpo_arguments
from basereward.rl.judge_prompts import is_chosen_first, load_judge_prompts
from basereward.rl.recipe import JudgeRlRecipe, PairRecipe, RlRecipe, load_rl_recipe, parse_judge_recipe
from basereward.rl.run import run_steps

RECIPES = Path(__file__).parents[2] / "recipes" / "rl"
CPU = {"hardware": {"use_cpu": True, "precision": "fp32"}}
CONTENT = {"task": "judge", "name": "x", "policy": {"model": "nowhere"}, "data": {"pairs": ["gone.jsonl"]}}


def text_of(row):
    return "".join(part.get("text") or f"[{part['type']}]" for part in row["prompt"][0]["content"])


@pytest.fixture
def write_pairs(tmp_path, picture):
    """``write_pairs(rows)``: a file of pairs beside the images a.png, b.png and c.png, each of one gray."""
    for name, gray in (("a", 10), ("b", 100), ("c", 200)):
        Image.fromarray(np.full((56, 56, 3), gray, dtype=np.uint8)).save(tmp_path / f"{name}.png")

    def write(rows, name="pairs.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return write


def pair(number, **changes):
    return {"id": f"p{number}", "images": ["a.png"], "prompt": "Q?", "chosen": "good", "rejected": "bad", **changes}


def test_each_pair_is_asked_about_once_or_in_both_orders(write_pairs):
    path = write_pairs([pair(number) for number in range(40)])
    both = load_judge_prompts(PairRecipe(pairs=[path], order="both", limit=3), 64)
    rows = [both.read(row) for row in both.rows]
    assert [(row["id"], row["answer"]) for row in rows] == [(f"p{n}", a) for n in range(3) for a in ("1", "2")]
    assert text_of(rows[0]).startswith("[image]Q?\nResponse 1: good\nResponse 2: bad\n")
    assert text_of(rows[1]).startswith("[image]Q?\nResponse 1: bad\nResponse 2: good\n")
    drawn = load_judge_prompts(PairRecipe(pairs=[path]), 64)
    answers = [drawn.read(row)["answer"] for row in drawn.rows]
    assert answers == ["1" if is_chosen_first(f"p{number}") else "2" for number in range(40)]
    assert 10 < Counter(answers)["1"] < 30
    # To evaluate, all of other pairs are asked about in both.
    held_out = load_judge_prompts(PairRecipe(pairs=["gone"], limit=1), 64, [path])
    assert len(held_out.rows) == 80
    assert held_out.has_images


def test_pairs_of_one_id_are_not_all_shown_in_one_order(write_pairs):
    found = load_judge_prompts(PairRecipe(pairs=[write_pairs([pair(0, chosen=f"good {n}") for n in range(40)])]), 64)
    answers = [found.read(row)["answer"] for row in found.rows]
    assert 10 < Counter(answers)["1"] < 30
    assert answers[0] == ("1" if is_chosen_first("p0") else "2")


def test_swapped_images_change_what_is_shown_and_not_what_is_right(write_pairs):
    shown = []
    for image in ("a.png", "b.png"):
        path = write_pairs([pair(0, images=[image])], f"{image}.jsonl")
        prompts = load_judge_prompts(PairRecipe(pairs=[path]), 64)
        shown.append(prompts.read(prompts.rows[0]))
    first, second = shown
    assert (text_of(first), first["answer"]) == (text_of(second), second["answer"])
    assert [np.asarray(row["images"][0])[0, 0, 0] for row in shown] == [10, 100]


def test_images_of_responses_go_where_the_response_is_shown(write_pairs):
    def said(text):
        return [{"role": "assistant", "content": [{"type": "text", "text": text}, {"type": "image"}]}]

    asked = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Q?"}]}]
    row = pair(0, images=["a.png", "b.png", "c.png"], prompt=asked, chosen=said("good"), rejected=said("bad"))
    prompts = load_judge_prompts(PairRecipe(pairs=[write_pairs([row])], order="both"), 64)
    grays = [[np.asarray(image)[0, 0, 0] for image in prompts.read(row)["images"]] for row in prompts.rows]
    assert grays == [[10, 100, 200], [10, 200, 100]]
    assert "Response 1: bad[image]\nResponse 2: good[image]" in text_of(prompts.read(prompts.rows[1]))


def test_pairs_that_cannot_be_asked_about_are_counted_or_refused(write_pairs):
    rows = [pair(0), pair(1, images=["gone.png"]), pair(2, chosen="bad")]
    found = load_judge_prompts(PairRecipe(pairs=[write_pairs(rows)]), 64)
    assert len(found.rows) == 1
    assert found.ledger.counts == {"image_missing": 1, "equal_responses": 1}
    with pytest.raises(DataError, match="image_missing"):
        load_judge_prompts(PairRecipe(pairs=[write_pairs(rows)], strict=True), 64)
    with pytest.raises(DataError, match="1 of 2 prompts have images"):
        load_judge_prompts(PairRecipe(pairs=[write_pairs([pair(0), pair(1, images=[])])]), 64)
    film = {"images": [], "videos": [{"frames": ["a.png", "b.png"], "fps": 1.0}]}
    with pytest.raises(DataError, match="1 videos"):
        load_judge_prompts(PairRecipe(pairs=[write_pairs([pair(0, **film)])]), 64)


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3"])
def test_a_question_without_room_for_its_answer_is_dropped_and_counted(family, backbone_of, write_pairs):
    """A question of exactly as many tokens as are left fits, one with a token more does not."""
    template = load_template(backbone_of(family))
    shown = {} if template.vision else {"images": []}
    rows = [pair(number, chosen="good " * (5 * number + 1), **shown) for number in range(4)]
    recipe = PairRecipe(pairs=[write_pairs(rows)], order="both")
    whole = load_judge_prompts(recipe, 64)
    lengths = []
    for row in whole.rows:
        own = whole.find(row)
        group = ResponseGroup("q", whole.prompt.ask(own.question), (), own.question.images)
        lengths.append(len(template.encode_prompt(group).ids))
    for spare, kept in ((0, 3), (-1, 2)):
        template.positions = lengths[4] + 64 + spare
        found = load_judge_prompts(recipe, 64, template=template)
        assert [row["id"] for row in map(found.read, found.rows)] == [f"p{n}" for n in range(kept) for _ in "12"]
        assert found.ledger.counts == {"too_long": 4 - kept}
    with pytest.raises(DataError, match="64 of the answer"):
        load_judge_prompts(recipe.model_copy(update={"strict": True}), 64, template=template)
    template.positions = 70
    with pytest.raises(DataError, match="No pair can be asked about"):
        load_judge_prompts(recipe, 64, template=template)


def test_recipes_are_told_apart_by_their_task(tmp_path):
    recipes = {path.stem: load_rl_recipe(path) for path in RECIPES.glob("*.yaml")}
    kinds = {name: type(recipe) for name, recipe in recipes.items()}
    assert {name for name, kind in kinds.items() if kind is JudgeRlRecipe} == {"longcot-tiny", "longcot-paper"}
    assert {kind for name, kind in kinds.items() if "longcot" not in name} == {RlRecipe}
    paper = recipes["longcot-paper"]
    assert (paper.grpo.rollouts, paper.grpo.minibatches, paper.grpo.learning_rate) == (256, 2, 3e-7)
    assert paper.grpo.stable.model_dump() == pytest.approx({"log_ratio": 6.907755, "advantage_sigmas": 3.0})
    (tmp_path / "x.yaml").write_text("task: jugde\nname: x\n")
    with pytest.raises(RecipeError, match="'policy' or 'judge'"):
        load_rl_recipe(tmp_path / "x.yaml")


@pytest.mark.parametrize(
    ("section", "content", "error", "message"),
    [
        ("data", {"pairs": ["a"], "ordr": "both"}, RecipeError, "'order'"),
        ("reward", {"consistency": 1}, RecipeError, "consistency_weight"),
        ("grpo", {"stable": {"sigmas": 2}}, RecipeError, "advantage_sigmas"),
        ("grpo", {"batch": 24, "minibatches": 5}, RecipeError, "cut into 5 minibatches"),
        ("data", {"pairs": ["a"], "prompt": "digit"}, RecipeError, "not for thoughts"),
        ("data", {"pairs": ["a"], "prompt": "thin"}, UnknownNameError, "think"),
    ],
)
def test_a_recipe_with_a_mistake_names_it(section, content, error, message):
    with pytest.raises(error, match=message):
        parse_judge_recipe({**CONTENT, section: content})


def test_a_batch_is_cut_into_steps(tmp_path):
    recipe = parse_judge_recipe({**CONTENT, "grpo": {"batch": 64, "minibatches": 2, "iterations": 3}, **CPU})
    arguments = grpo_arguments(recipe, tmp_path, 2)
    assert (arguments.per_device_train_batch_size, arguments.gradient_accumulation_steps) == (8, 2)
    assert (arguments.steps_per_generation, arguments.num_iterations) == (4, 3)
    assert run_steps(recipe, 20) == 2 * 2 * 3
    with pytest.raises(TrainingError, match="A step of 32 rollouts is no multiple of 3 ranks"):
        grpo_arguments(recipe, tmp_path, 3)
