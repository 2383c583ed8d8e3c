"""docs/paper_map.md: its commands exist, its recipes are there, and its numbers are those of the pages they link to."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from basereward.cli.main import app
from basereward.models.shapes import backbone_config
from basereward.training.plan import PlannedPairs, make_plan
from basereward.training.recipe import load_recipe

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGE = (DOCS / "paper_map.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| ")]
RESULTS = [row for row in ROWS if len(row) == 5 and row[0] != "paper"]
COSTS = [row for row in ROWS if len(row) == 8 and row[0] != "recipe"]


def check_command(text: str) -> None:
    """Walk a command line down to its command; its options are known, and changes of a recipe apply."""
    program, *words = shlex.split(text)
    assert program == "basereward"
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        assert words[0] in command.commands, f"{text}: no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    known = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known, text
    for word in words:
        if word.startswith("recipes/"):
            assert (ROOT / word).is_file(), text
    if command.name == "train":
        load_recipe(ROOT / words[0], [word for word in words[1:] if "=" in word])


def test_every_result_of_the_paper_has_a_row() -> None:
    first = " ".join(row[0] for row in RESULTS)
    for number in range(1, 17):
        assert re.search(rf"Tables? (\d+, )?{number}\b", first), f"Table {number}"
    for name in (
        "Figure 1",
        "Figure 2",
        "Figure 3",
        "Figure 4",
        "Algorithm 1",
        "3.1",
        "3.2",
        "3.3",
        "3.4",
        "3.5",
        "3.6",
    ):
        assert name in first
    argued = {row[0].split(":")[0] for row in RESULTS if "argued, not measured" in row[4]}
    assert argued >= {"D.5", "D.6", "D.7"}


@pytest.mark.parametrize("row", RESULTS, ids=lambda row: row[0][:24])
def test_a_row_leads_to_what_exists(row: list[str]) -> None:
    _, recipe, command, number, _ = row
    links = re.findall(r"\]\(([^)]+)\)", " ".join(row))
    assert any(link.endswith(".yaml") for link in re.findall(r"\]\(([^)]+)\)", recipe))
    assert all((DOCS / link).exists() for link in links)
    [line] = re.findall(r"`([^`]+)`", command)
    check_command(line)
    figures = re.findall(r"\d+\.\d+", number)
    pages = [(DOCS / link).read_text(encoding="utf-8") for link in re.findall(r"\]\(([^)]+)\)", number)]
    assert not figures or pages, "a number says where it stands"
    for figure in figures:
        assert any(re.search(rf"(?<![\d.]){re.escape(figure)}(?!\d)", page) for page in pages), figure


@pytest.mark.parametrize("row", COSTS, ids=lambda row: row[0])
def test_costs_are_those_of_the_plan(row: list[str]) -> None:
    [place] = re.findall(r"\]\(([^)]+)\)", row[0])
    recipe = load_recipe(DOCS / place)
    few, many = (make_plan(recipe, backbone_config(recipe.model.start), PlannedPairs(None, 0), n) for n in (8, 64))
    assert few.hours is not None
    assert many.hours is not None
    assert few.start is not None
    assert row[1:] == [
        f"{few.pairs:,}",
        f"{few.pairs * few.tokens_per_pair / 1e9:.2f}e9",
        f"{few.steps:,}",
        f"{few.train_flops:.2e}",
        f"{few.memory.total:.1f} / {many.memory.total:.1f}",
        f"{few.hours.hours:.1f} / {many.hours.hours:.1f}",
        f"{few.start.memory_bytes / 1e6:,.0f} MB",
    ]
