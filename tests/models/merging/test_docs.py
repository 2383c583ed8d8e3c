"""docs/heads-and-soups.md: its recipe trains, its commands run as they stand, and so does its Python."""

import json
import re
import shlex
from pathlib import Path

import pytest
import torch

from basereward.data.storage import write_rows
from basereward.lab.world import WorldConfig, draw_rows
from basereward.models.checkpoint import new_reward_model, save_reward_model
from tests.cli.conftest import call

GUIDE = (Path(__file__).parents[3] / "docs" / "heads-and-soups.md").read_text()
BLOCKS = [(found[1], found[2]) for found in re.finditer(r"^```(\w+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)]


def blocks(kind):
    return [text for own, text in BLOCKS if own == kind]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Where the guide is read: pairs about text and images."""
    monkeypatch.chdir(tmp_path)
    for name, seed in (("train", 0), ("held-out", 1)):
        write_rows(draw_rows(16, seed, WorldConfig(text_share=0.5)), Path(f"{name}.jsonl"))
    return tmp_path


def run(block, **places):
    for line in block.splitlines():
        for name, local in places.items():
            line = re.sub(rf"Qwen/{name}(?= )", str(local), line)
        assert call(*shlex.split(line)[1:]) == 0, line


def test_heads(place, vl_backbone):
    (place / "runs").mkdir()
    (place / "runs" / "backbone").symlink_to(vl_backbone)
    (place / "heads.yaml").write_text(blocks("yaml")[0])
    run(blocks("bash")[0])
    [result] = (place / "runs" / "eval-heads").rglob("result.json")
    assert json.loads(result.read_text())["abstention"]["rows"] == 16
    [code] = blocks("python")
    names = {}
    exec(code, names)
    assert names["model"].heads == 5
    assert len(names["rewards"]) == 2


def test_a_head_that_compares(place, vl_backbone):
    (place / "runs").mkdir()
    (place / "runs" / "backbone").symlink_to(vl_backbone)
    rows = [{"prompt": f"{n} + 1?", "responses": [f"{n + 1}", "one", f"{n}"], "scores": [2, 0, 1]} for n in range(8)]
    (place / "rankings.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (place / "compares.yaml").write_text(blocks("yaml")[1])
    run(blocks("bash")[1])
    [result] = (place / "runs" / "eval-compares").rglob("result.json")
    assert any("comparative" in note for note in json.loads(result.read_text())["notes"])


def test_soups(place, vl_backbone):
    for seed, name in enumerate("ab"):
        model = new_reward_model(vl_backbone, head_seed=0)
        torch.manual_seed(seed)
        with torch.no_grad():
            for weight in model.parameters():
                weight += 0.001 * torch.randn_like(weight)
        save_reward_model(model, place / "runs" / name / "model")
    run(blocks("bash")[2])
    for name in ("soup", "checked", "greedy"):
        assert {"merge.json", "README.md", "data.json"} <= {file.name for file in (place / "runs" / name).iterdir()}


def test_grafts(place, text, vision, base, capsys):
    (place / "runs" / "text").mkdir(parents=True)
    (place / "runs" / "text" / "model").symlink_to(text)
    run(blocks("bash")[3], **{r"Qwen2\.5-VL-7B-Instruct": vision, r"Qwen2\.5-7B-Instruct": base})
    said = capsys.readouterr().out
    assert "graft: vision + 0.7 (text - base)" in said
    assert "reward_head" in said
    assert call("graft", "runs/text/model", str(vision), "--out", "runs/json", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["out"] == "runs/json"
    assert report == {"out": "runs/json", **json.loads((place / "runs" / "json" / "merge.json").read_text())}
    # A soup of one is a mistake of the call.
    assert call("soup", "runs/text/model", "--out", "runs/alone") == 2
    assert call("graft", "runs/text/model", str(vision), "--out", "runs/json") == 1
