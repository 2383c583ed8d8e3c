"""Recipes say what is wrong with them, and survive being written and read."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from basereward.errors import MissingFileError, RecipeError
from basereward.models.head import HeadSettings
from basereward.training.recipe import dump_recipe, load_recipe, parse_recipe

ROOT = Path(__file__).parents[2]
MINIMAL = {"name": "a", "model": {"backbone": "b"}, "data": {"train": ["c.jsonl"]}}


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    """A minimal recipe on disk."""
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump(MINIMAL))
    return path


@pytest.mark.parametrize(
    ("section", "key", "right"),
    [
        ("optimizer", "learning_rat", "learning_rate"),
        ("optimizer", "pair_per_step", "pairs_per_step"),
        ("hardware", "precison", "precision"),
        ("model", "freeze_visoin", "freeze_vision"),
    ],
)
def test_a_misspelt_key_names_the_right_one(section: str, key: str, right: str) -> None:
    with pytest.raises(RecipeError, match=f"Unknown key '{section}.{key}'.*{right}"):
        parse_recipe(MINIMAL | {section: MINIMAL.get(section, {}) | {key: 1}})


def test_a_misspelt_section_names_the_right_one() -> None:
    with pytest.raises(RecipeError, match=r"Unknown key 'optimiser'.*'optimizer'"):
        parse_recipe(MINIMAL | {"optimiser": {}})


def test_a_misspelt_key_deep_inside_names_the_right_one() -> None:
    with pytest.raises(RecipeError, match=r"Unknown key 'model.lora.rnk'.*'rank'.*Known here: rank, alpha, dropout"):
        parse_recipe(MINIMAL | {"model": {"backbone": "b", "lora": {"rnk": 4}}})


def test_every_mistake_is_named_at_once() -> None:
    content = MINIMAL | {"optimizer": {"epochs": "many", "warmup": 0.1}, "run": {"keep": 0}}
    with pytest.raises(RecipeError) as caught:
        parse_recipe(content)
    message = str(caught.value)
    assert "optimizer.epochs: " in message
    assert "(found 'many')" in message
    assert "'optimizer.warmup'" in message
    assert "run.keep: " in message


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("optimizer", {"learning_rate": 0}),
        ("optimizer", {"pairs_per_step": 0}),
        ("optimizer", {"epochs": 1.5}),
        ("optimizer", {"schedule": "step"}),
        ("model", {"backbone": "b", "head": {"layers": 6}}),
        ("model", {"backbone": "b", "head": {"activation": "swish"}}),
        ("data", {"train": []}),
        ("hardware", {"precision": "fp16"}),
        ("objective", {"zero_coefficient": -0.1}),
    ],
)
def test_a_wrong_value_is_refused_where_it_stands(section: str, value: dict) -> None:
    with pytest.raises(RecipeError, match=f"^{section}\\."):
        parse_recipe(MINIMAL | {section: value})


def test_the_objective_is_told_by_its_kind() -> None:
    named = parse_recipe(MINIMAL | {"objective": {"kind": "bradley_terry", "use_margin": True}})
    assert parse_recipe(MINIMAL | {"objective": {"use_margin": True}}) == named
    assert named.objective.kind == parse_recipe(MINIMAL).objective.kind == "bradley_terry"
    with pytest.raises(RecipeError, match=r"^objective: .*'ranking'.*'bradley_terry'"):
        parse_recipe(MINIMAL | {"objective": {"kind": "ranking"}})
    with pytest.raises(RecipeError, match=r"Unknown key 'objective.bradley_terry.use_margins'.*'use_margin'"):
        parse_recipe(MINIMAL | {"objective": {"use_margins": True}})


def test_a_missing_key_is_named() -> None:
    with pytest.raises(RecipeError, match=r"data.train: Field required"):
        parse_recipe(MINIMAL | {"data": {}})


def test_weights_that_train_cannot_be_bfloat16() -> None:
    model = {"backbone": "b", "frozen_dtype": "bfloat16"}
    with pytest.raises(RecipeError, match="frozen_dtype is for LoRA"):
        parse_recipe(MINIMAL | {"model": model})
    assert parse_recipe(MINIMAL | {"model": model | {"lora": {}}}).model.frozen_dtype == "bfloat16"


def test_a_run_starts_from_a_backbone_or_from_a_reward_model() -> None:
    backbone = parse_recipe(MINIMAL)
    assert (backbone.model.start, backbone.model.head) == ("b", HeadSettings())
    trained = parse_recipe(MINIMAL | {"model": {"init_from": "r"}})
    assert (trained.model.start, trained.model.head) == ("r", None)
    assert parse_recipe(yaml.safe_load(dump_recipe(trained))) == trained
    for model, words in (
        ({}, "name either a backbone or, under init_from, a reward model"),
        ({"backbone": "b", "init_from": "r"}, "name either"),
        ({"init_from": "r", "head": {"layers": 3}}, "keeps the head of its model"),
    ):
        with pytest.raises(RecipeError, match=f"^model: .*{words}"):
            parse_recipe(MINIMAL | {"model": model})


def test_overrides_change_keys_of_any_depth(recipe_file: Path) -> None:
    recipe = load_recipe(
        recipe_file,
        [
            "optimizer.learning_rate=3e-6",
            "model.lora.rank=8",
            "data.train=[x.jsonl, y.parquet]",
            "run.eval_every=null",
            "name=other",
        ],
    )
    assert recipe.optimizer.learning_rate == 3e-6
    assert recipe.model.lora is not None
    assert recipe.model.lora.rank == 8
    assert recipe.data.train == ["x.jsonl", "y.parquet"]
    assert recipe.run.eval_every is None
    assert recipe.name == "other"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.epochs", "expected key.sub=value"),
        ("name.sub=1", "'name' is a value, not a section"),
        ("optimizer.epoch=2", "'optimizer.epoch'.*'epochs'"),
        ("data.train=[a", r"override 'data.train=\[a' is no valid YAML"),
        ("optimizer.epochs=some", r"optimizer.epochs: .*found 'some'"),
    ],
)
def test_a_wrong_override_is_an_error(recipe_file: Path, override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(recipe_file, [override])


def test_a_recipe_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse_recipe(MINIMAL).run.seed = 3  # type: ignore[misc]


def test_a_resolved_recipe_reads_back_equal_from_its_run_folder(tmp_path: Path) -> None:
    content = MINIMAL | {"model": {"backbone": "b", "lora": {"dropout": 0.1}}, "optimizer": {"learning_rate": 1e-7}}
    recipe = parse_recipe(content)
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe))
    assert load_recipe(tmp_path) == recipe
    assert load_recipe(tmp_path / "recipe.yaml") == recipe


def test_the_defaults_are_the_paper() -> None:
    recipe = parse_recipe(MINIMAL)
    assert (recipe.model.head.layers, recipe.model.head.activation) == (2, "silu")
    assert (recipe.optimizer.learning_rate, recipe.optimizer.pairs_per_step) == (3e-6, 128)
    assert (recipe.objective.zero_coefficient, recipe.objective.length_normalization) == (0.0, False)


def test_a_missing_file_and_a_list_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="No recipe"):
        load_recipe(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- a\n- b\n")
    with pytest.raises(RecipeError, match="holds a list, expected a mapping"):
        load_recipe(tmp_path / "list.yaml")


def test_broken_yaml_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("name: [a\n")
    with pytest.raises(RecipeError, match=r"broken\.yaml"):
        load_recipe(tmp_path / "broken.yaml")


def test_every_recipe_of_the_project_loads() -> None:
    for path in sorted((ROOT / "recipes").glob("*.yaml")):
        recipe = load_recipe(path)
        assert load_recipe(path, ["run.seed=5"]).run.seed == 5
        assert parse_recipe(yaml.safe_load(dump_recipe(recipe))) == recipe


def test_pairs_are_drawn_together_by_prompt_or_image_within_caps() -> None:
    def parse(objective: str = "bradley_terry", **data: object) -> Any:
        content = {**MINIMAL, "data": {"train": ["c.jsonl"], **data}, "objective": {"kind": objective}}
        return parse_recipe(content).data.grouping

    assert parse() is None
    assert parse(group="prompt") == ("prompt", 8, 16)
    assert parse(group="image", pairs_per_prompt=2, pairs_per_image=6) == ("image", 2, 6)
    with pytest.raises(RecipeError, match="pairs_per_image 4 is less than pairs_per_prompt 8"):
        parse(group="image", pairs_per_image=4)
    with pytest.raises(RecipeError, match=r"objective critic trains one model that writes; leave out data\.group"):
        parse("critic", group="prompt")
