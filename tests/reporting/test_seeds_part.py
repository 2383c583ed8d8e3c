"""Recipes in a report: one row for the runs of each, and whether two differ by more than the spread over seeds."""

import json
from dataclasses import replace

import pytest

from basereward.data.io import write_json
from basereward.evaluation.result import RESULT
from basereward.reporting.documents import to_latex_page, to_markdown_page
from basereward.reporting.html import render
from basereward.reporting.reports import read_models, read_seeds
from basereward.scoring.baselines import BASELINES
from tests.evaluation.conftest import run


@pytest.fixture
def make_run(tmp_path):
    """``make_run(recipe, seed, accuracy)``: an evaluation that says so, in a folder of that name."""

    def make(recipe, seed, accuracy):
        folder = tmp_path / f"{recipe}{seed}"
        run(BASELINES.get("longer"), "vl_rewardbench", folder, references=False)
        result = json.loads((folder / RESULT).read_text())
        result["trained_by"] = {"recipe_sha256": recipe * 64, "seed": seed, "name": f"recipe-{recipe}"}
        result["protocols"]["official"]["model"]["metrics"]["accuracy"]["value"] = accuracy
        write_json(folder / RESULT, result)
        return folder

    return make


def test_runs_of_a_recipe_are_one_row_and_differences_say_whether_they_exceed_the_spread(make_run):
    values = {"a": (0.70, 0.72, 0.74), "b": (0.80, 0.81, 0.85), "c": (0.71, 0.80)}
    folders = [make_run(name, seed, own) for name, each in values.items() for seed, own in enumerate(each)]
    report = read_seeds(folders)
    recipes, differences = (own.table for own in report.chapters[:2])
    rows = {row[0]: row for row in recipes.rows if row[2] == "accuracy"}
    assert rows["recipe-a"][1:] == (
        "0, 1, 2", "accuracy", "72.00 %", "2.00", "67.0 to 77.0", "70.00 %", "74.00 %", "100.00 %",
    )  # fmt: skip
    told = {row[0]: row for row in differences.rows if row[1] == "accuracy"}
    assert told["recipe-a - recipe-b"][2] == "-10.00"
    assert told["recipe-a - recipe-b"][4] == "yes"
    assert told["recipe-a - recipe-c"][4] == "no"
    document = read_models(folders)
    page = replace(document, sections=[*report.chapters, *document.sections])
    for text in (render(page), to_markdown_page(page), to_latex_page(page)):
        assert "recipe-a - recipe-b" in text
        assert "exceeds the spread over seeds" in text


def test_without_two_runs_of_a_recipe_nothing_is_said(make_run):
    assert read_seeds([make_run("a", 0, 0.5), make_run("b", 0, 0.6)]) is None
