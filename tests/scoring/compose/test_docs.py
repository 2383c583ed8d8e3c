"""docs/ensembles.md: its files are specs, its commands run, and its numbers are those of the code."""

import re
from pathlib import Path

import pytest
import yaml

from basereward.configuration import parse_configuration
from basereward.scoring.compose.specs import EnsembleOptions, EnsembleSpec
from basereward.scoring.compose.weights import NEARLY_EQUAL
from basereward.scoring.spec import open_scorer
from tests.cli.conftest import call

GUIDE = (Path(__file__).parents[3] / "docs" / "ensembles.md").read_text()
FILES = [yaml.safe_load(found[1]) for found in re.finditer(r"^```yaml\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)]


@pytest.mark.parametrize("content", FILES)
def test_the_files_are_ensembles(content):
    spec = parse_configuration(EnsembleSpec, content)
    assert {member.label for member in spec.members} >= {"qwen", "internvl"}


def test_the_command_runs_on_the_first_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = FILES[0]
    for member, name in zip(content["members"], ("longer", "shorter", "random"), strict=True):
        member.update(model=f"baseline:{name}")
    Path("ensemble.yaml").write_text(yaml.safe_dump(content))
    Path("pairs.jsonl").write_text('{"prompt": "a", "chosen": "bb", "rejected": "c"}\n' * 3)
    [command] = re.findall(r"^basereward (eval .*)$", GUIDE, re.MULTILINE)
    assert call(*command.split()) == 0
    assert open_scorer("ensemble.yaml").members.all[2].spec.only == "text"


def test_rules_and_the_ratio_are_those_of_the_code():
    rules = EnsembleOptions.model_fields["rule"].annotation.__args__
    assert all(f"`{rule}`" in GUIDE for rule in rules)
    assert f"less than {100 * (NEARLY_EQUAL - 1):.0f} %" in GUIDE
