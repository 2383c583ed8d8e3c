"""What a new user does first: a model and data without a recipe, recipes by name, a recipe of one's own, Python."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

import basereward
from basereward import configuration
from basereward.configuration import SHIPPED, find_recipe, shipped_recipes
from basereward.errors import MissingFileError, RecipeError
from basereward.models import saving
from basereward.training.recipe import Recipe, load_recipe, parse_recipe
from basereward.training.recipe_text import recipe_keys
from basereward.training.start import make_recipe

FAST = ["optimizer.pairs_per_step=8", "optimizer.max_steps=1", "hardware.workers=0", "hardware.precision=fp32"]


def test_a_model_and_data_are_enough(tiny, vl_backbone, command):
    ended = command("train", *FAST, "--model", vl_backbone, "--data", tiny.pairs, "--out", "first")
    assert ended.code == 0, ended.err
    [line] = [line for line in ended.out.splitlines() if line.startswith("next")]
    evaluated = command(*line.split()[2:], "--out", "evaluated", "--no-references")
    assert evaluated.code == 0, evaluated.err
    [line] = [line for line in evaluated.out.splitlines() if line.startswith("next")]
    assert line.split()[1:] == ["basereward", "report", f"evaluated/{tiny.folder.name}-pairs"]
    again = command("train", "--model", "first/model", "--data", tiny.pairs, "data.limit=8", *FAST, "--plan", "--json")
    assert again.code == 0, again.err


def test_a_reward_model_trains_on_and_a_backbone_gets_a_head(tiny, vl_backbone):
    continued = make_recipe(tiny.recipe, model=tiny.model, data=["a.jsonl", "b.jsonl:test"])
    assert (continued.model.init_from, continued.model.backbone, continued.model.head) == (str(tiny.model), None, None)
    assert continued.data.train == ["a.jsonl", "b.jsonl:test"]
    fresh = make_recipe(None, vl_backbone, ["data/a.jsonl"], ["data.validation=c.jsonl"])
    assert fresh.model.backbone == str(vl_backbone)
    assert fresh.name == f"{vl_backbone.name}-a"
    assert fresh.data.validation == ["c.jsonl"]
    with pytest.raises(RecipeError, match="--model MODEL --data PAIRS"):
        make_recipe(None, vl_backbone)


def test_recipes_are_found_by_name_in_the_installed_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kinds = {"": 14, "rl": 6, "data": 4, "curation": 1, "sweeps": 2}
    for folder, least in kinds.items():
        names = shipped_recipes(folder)
        assert len(names) >= least, folder
        for name, file in names.items():
            assert file == find_recipe(name, folder) == find_recipe(f"recipes/{folder}/{name}.yaml", folder)
    assert SHIPPED.parent.name == "basereward"
    assert load_recipe("tiny").name == "tiny"
    assert load_recipe("recipes/paper/default.yaml").name == load_recipe("paper/default").name
    with pytest.raises(MissingFileError):
        find_recipe("/tiny.yaml")
    with pytest.raises(MissingFileError, match="Did you mean 'tiny'"):
        find_recipe("tinny")
    # What lies here goes first.
    (tmp_path / "tiny").write_text("name: mine")
    assert find_recipe("tiny").read_text() == "name: mine"


def test_init_writes_recipes_that_load(command, tmp_path):
    assert command("init", "--model", "owner/model", "--data", "p.parquet").code == 0
    file = tmp_path / "recipe.yaml"
    assert load_recipe(file) == make_recipe(None, "./owner/model", ["p.parquet"]).model_copy(
        update={"name": "recipe", "model": load_recipe(file).model}
    )
    assert command("init").err.startswith("error: recipe.yaml is there already")
    # The keys that are commented out are those of the types, and stand where they belong.
    shown = file.read_text()
    rest = shown[shown.index("# objective:") :]
    content = yaml.safe_load(shown + re.sub(r"^# (?= *[a-z_]+:)", "", rest, flags=re.MULTILINE))
    assert set(content) == set(Recipe.model_fields)
    # Sections that are off unless they are named would be on; one that is always there is that of the types.
    default = Recipe.model_fields["optimizer"].default
    assert type(default).model_validate(content["optimizer"]) == default
    assert command("init", "tiny", "--out", "mine.yaml").code == 0
    assert load_recipe(tmp_path / "mine.yaml") == load_recipe("tiny")
    assert "tiny" in command("init", "--list", "--json").json["recipes"]


def test_every_key_of_a_recipe_says_something():
    keys = list(recipe_keys(Recipe))
    assert [key.path for key in keys if not key.text] == []
    assert {"model.lora.rank", "objective[critic].kind", "data.train"} <= {key.path for key in keys}
    assert parse_recipe({"name": "a", "model": {"backbone": "b"}, "data": {"train": "c"}}).data.train == ["c"]


def test_the_public_names_are_there_and_lazy():
    assert set(basereward.__all__) <= set(dir(basereward))
    assert all(getattr(basereward, name) for name in basereward.__all__)
    assert all(getattr(basereward, name).__doc__ for name in basereward.__all__ if name != "__version__")
    code = "import basereward, sys; dir(basereward); print('torch' in sys.modules, 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False False\n"


def test_python_trains_evaluates_saves_and_publishes(tiny, vl_backbone, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = basereward.train(model=vl_backbone, data=tiny.pairs, out="run", changes=FAST)
    assert basereward.evaluate(run.model_folder, tiny.pairs, "out", limit=6).n == 6
    model = basereward.RewardModel.from_pretrained(run.model_folder, device="cpu")
    asked = {"prompt": "Is 7 prime?", "responses": ["yes", "no"]}
    rewards = model.score_groups([asked])
    kept = basereward.RewardModel.from_pretrained(model.save_pretrained("kept"), device="cpu")
    assert kept.score_groups([asked]) == rewards
    calls = []

    class FakeHub:
        def create_repo(self, repo, **options):
            calls.append(("create", repo, options))

        def upload_folder(self, *, repo_id, folder_path, **options):
            files = {path.name for path in Path(folder_path).iterdir()}
            found = basereward.RewardModel.from_pretrained(folder_path, device="cpu").score_groups([asked])
            calls.append(("upload", repo_id, files, found, options))
            return SimpleNamespace(commit_url="https://example.org/commit/1")

    monkeypatch.setattr(saving, "HfApi", FakeHub)
    assert model.push_to_hub("me/model", private=True, revision="dev") == "https://example.org/commit/1"
    [created, (_, repo, files, found, options)] = calls
    assert created == ("create", "me/model", {"private": True, "exist_ok": True})
    assert repo == "me/model"
    assert found == rewards
    assert {"README.md", "config.json"} <= files
    assert options["revision"] == "dev"


def test_what_libraries_print_does_not_stand_beside_json(command, monkeypatch):
    found = configuration.shipped_recipes

    def noisy():
        print("a logger says hello")
        return found()

    monkeypatch.setattr(configuration, "shipped_recipes", noisy)
    ended = command("init", "--list", "--json")
    assert "tiny" in ended.json["recipes"]
    assert "hello" in ended.err
    assert "hello" in command("init", "--list").out
