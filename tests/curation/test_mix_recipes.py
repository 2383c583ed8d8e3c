"""The recipes of the project name registered sources, and take as many pairs as the paper says."""

from pathlib import Path

import pytest

from basereward.curation.mix_recipe import load_mix_recipe
from basereward.curation.mixture import Modalities, count_mixture
from basereward.sources.registry import SOURCES

ROOT = Path(__file__).parents[2] / "recipes"
RECIPES = {path.stem: path for path in sorted((ROOT / "data").glob("*.yaml"))}
TEXT = ("ultra_all", "ultra_hard", "shp", "tulu3", "olmo2", "wildchat", "swe_arena")
# Pairs in the paper: Table 4 by row of Table 5, their sum (4.1), and D.8 with 200k multimodal pairs.
TABLE_4 = {
    "mmif": 22_000,
    "omni-align": 120_000,
    "rlaif-v": 83_000,
    "mmpr": 2_000_000,
    "r1-reward": 200_000,
    "ultra-all": 300_000,
    "shp": 348_000,
    "others": 63_000,
    "tulu-3": 65_000,
    "olmo-2": 378_000,
    "ultra-hard": 63_000,
}
KEPT = TABLE_4.keys() - {"mmif", "omni-align", "ultra-all", "shp"}
RATIOS = {"1-0": 0, "1-0.5": 100_000, "1-1": 200_000, "1-2": 400_000}


def counts(name):
    """What a recipe takes where every source holds a million pairs, MMPR three."""
    recipe = load_mix_recipe(RECIPES[name])
    sizes = {given.name: 3_000_000 if given.name == "mmpr" else 1_000_000 for given in recipe.inputs}
    available = {key: Modalities(0, size) if key in TEXT else Modalities(size, 0) for key, size in sizes.items()}
    return count_mixture(recipe, available)


def test_there_is_a_recipe_for_every_row():
    assert RECIPES.keys() == {
        "basereward-mix",
        "text-mix",
        *(f"table5-{row}" for row in TABLE_4),
        *(f"ratio-{row}" for row in RATIOS),
    }


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_loads_and_its_sources_hold_pairs(name):
    recipe = load_mix_recipe(RECIPES[name])
    assert recipe.name == name
    for given in recipe.inputs:
        source = SOURCES.get(given.source)
        assert source.kind == "pairs"
        assert (source.modality == "text") == (given.source in TEXT)


@pytest.mark.parametrize("row", TABLE_4)
def test_a_single_set_has_the_size_of_table_4(row):
    assert sum(count.taken.total for count in counts(f"table5-{row}")) == TABLE_4[row]


def test_the_mixture_is_the_seven_kept_sets():
    total = sum(count.taken.total for count in counts("basereward-mix"))
    assert total == sum(TABLE_4[row] for row in KEPT) == 2_852_000
    text = sum(count.taken.text for count in counts("basereward-mix"))
    assert text == 569_000, "D.8: approximately 569K pure-text"
    single = {given.name: given.cap for row in KEPT for given in load_mix_recipe(RECIPES[f"table5-{row}"]).inputs}
    assert single == {given.name: given.cap for given in load_mix_recipe(RECIPES["basereward-mix"]).inputs}


@pytest.mark.parametrize(("row", "text"), RATIOS.items())
def test_ratios_keep_200k_multimodal_pairs(row, text):
    taken = [count.taken for count in counts(f"ratio-{row}")]
    assert sum(count.multimodal for count in taken) == 200_000
    assert sum(count.text for count in taken) == text


@pytest.mark.parametrize("row", TABLE_4)
def test_sizes_agree_with_what_the_sources_say(row):
    sources = [SOURCES.get(given.source) for given in load_mix_recipe(RECIPES[f"table5-{row}"]).inputs]
    assert {source.paper_size for source in sources} <= {TABLE_4[row], None}


def test_the_text_mixture_is_the_text_part_of_the_whole_one():
    whole = load_mix_recipe(RECIPES["basereward-mix"]).inputs
    assert load_mix_recipe(RECIPES["text-mix"]).inputs == [given for given in whole if given.source in TEXT]
