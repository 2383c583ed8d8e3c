"""docs/routing.md: its files are routers, its commands and its Python run, and its words are those of the code."""

import json
import re
import shlex
from pathlib import Path
from typing import get_args

import pytest
import yaml

from basereward.configuration import parse_configuration
from basereward.scoring.compose.routing.features import MOST_WORDS
from basereward.scoring.compose.routing.fit import FOLDS
from basereward.scoring.compose.specs import NO_ROUTE, RouterOptions, RouterSpec
from tests.cli.conftest import call

GUIDE = (Path(__file__).parents[3] / "docs" / "routing.md").read_text()
BLOCKS = [(found[1], found[2]) for found in re.finditer(r"^```(\w+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)]


def blocks(kind):
    return [text for own, text in BLOCKS if own == kind]


@pytest.mark.parametrize("text", blocks("yaml"))
def test_the_files_are_routers(text):
    spec = parse_configuration(RouterSpec, yaml.safe_load(text))
    assert spec.router.by in ("images", "task", "classifier")


def test_the_commands_and_the_code_run(tmp_path, monkeypatch, capsys, make_group):
    monkeypatch.chdir(tmp_path)
    first = yaml.safe_load(blocks("yaml")[0])
    small, large = (
        {"model": f"baseline:{own}", "name": name} for own, name in (("longer", "small"), ("shorter", "large"))
    )
    first["members"] = [{**small, "name": "text"}, {**large, "name": "images"}]
    Path("router.yaml").write_text(yaml.safe_dump(first))
    Path("members.yaml").write_text(yaml.safe_dump({"members": [small, large]}))
    rows = [
        {"prompt": f"{'shorten' if short else 'tell'} {n}", "chosen": "x" * (1 if short else 9), "rejected": "x" * 5}
        for n in range(60)
        for short in [n % 10 == 0]
    ]
    Path("pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("asked.jsonl").write_text(json.dumps({"prompt": "shorten it", "responses": ["a", "bbb"]}) + "\n")
    for line in "".join(blocks("bash")).splitlines():
        assert call(*shlex.split(line)[1:]) == 0, line
    assert json.loads(Path("scores.jsonl").read_text())["scores"] == [-1, -3]
    capsys.readouterr()
    exec(blocks("python")[0], {"groups": [make_group("tell it", ["a"])]})
    assert capsys.readouterr().out == "{'small': 1.0}\n"


def test_names_and_numbers_are_those_of_the_code():
    assert all(f"| `{by}` |" in GUIDE for by in get_args(RouterOptions.model_fields["by"].annotation))
    assert f"`{NO_ROUTE}`" in GUIDE
    assert f"{MOST_WORDS:,} words" in GUIDE
    assert {5: "five folds"}[FOLDS] in GUIDE
