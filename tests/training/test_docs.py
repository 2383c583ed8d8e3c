"""docs/shortcuts.md: its command runs as it stands, and the recipes of its blocks train on what it writes."""

import re
import shlex
from pathlib import Path

import yaml

from basereward.data.pairs import load_pairs, pair_row
from basereward.data.storage import write_rows
from basereward.lab.world import WorldConfig, draw_pairs
from basereward.training.prepare import prepare_data, prepare_template
from basereward.training.run import train
from basereward.training.shortcuts import proxy_margin
from tests.cli.conftest import call

GUIDE = (Path(__file__).parents[2] / "docs" / "shortcuts.md").read_text()


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def test_every_block_runs(make_recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_rows(map(pair_row, draw_pairs(24, 0, WorldConfig(text_share=0.2))), Path("pairs.parquet"))
    data = {"train": ["pairs.parquet"]}
    proxy = make_recipe(data=data, objective={"kind": "bradley_terry", "blind": True}, optimizer={"max_steps": 1})
    train(proxy, Path("runs/proxy"))
    [command, *others] = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("base")]
    assert not [line for line in others if not line.startswith("basereward lab shortcut")]
    assert call(*shlex.split(command)[1:]) == 0
    margins = [proxy_margin(pair) for pair in load_pairs(["scored.parquet"]).pairs]
    assert len(set(margins)) > 12
    found = [yaml.safe_load(block)["objective"] for block in blocks("yaml")]
    assert [set(own) for own in found] == [{"kind", "shortcut"}, {"kind", "image_swap"}]
    for own in found:
        recipe = make_recipe(data={"train": ["scored.parquet"]}, objective=own)
        prepared = prepare_data(recipe, prepare_template(recipe))
        assert len(prepared.train.pairs) == 24
        assert bool(prepared.train.swaps) == ("image_swap" in own)


def test_a_proxy_that_sees_no_image_says_the_same_of_any(make_recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pairs = list(draw_pairs(6, 0, WorldConfig()))
    write_rows(map(pair_row, pairs), Path("pairs.parquet"))
    for name, blind in (("seen", []), ("blind", ["--blind"])):
        assert call("score", "baseline:longer", "pairs.parquet", "--out", f"{name}.parquet", *blind) == 0
    # A rule on the texts alone cannot tell.
    seen, unseen = (
        [proxy_margin(pair) for pair in load_pairs([f"{name}.parquet"]).pairs] for name in ("seen", "blind")
    )
    assert seen == unseen == [float(len(one.chosen[0].text) - len(one.rejected[0].text)) for one in pairs]
