"""docs/probe.md: its command runs as it stands, and prints one JSON object."""

import re
import shlex
from pathlib import Path

import pytest

from basereward.data.storage import write_rows
from basereward.lab.backbone import write_backbone
from basereward.lab.world import WorldConfig, draw_rows

GUIDE = (Path(__file__).parents[2] / "docs" / "probe.md").read_text(encoding="utf-8")


def test_the_command_of_the_docs_runs(command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_backbone(tmp_path / "runs" / "backbone", "qwen2", "test")
    for seed, name in enumerate(("a", "b", "test")):
        write_rows(draw_rows(12, seed, WorldConfig(text_share=1)), tmp_path / f"{name}.jsonl")
    [block] = re.findall(r"^```bash\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    ended = command(*shlex.split(block)[1:], "--json")
    assert ended.code == 0
    assert len(ended.json["heads"]) == 2 * 2 * 2
    assert {len(one["accuracies"]) for head in ended.json["heads"] for one in head["measured"]} == {3}
    assert all(Path(path).is_file() for path in ended.json["files"])
    ended = command(*shlex.split(block)[1:], "--head", "2:swish")
    assert ended.code == 1
    assert "swish" in ended.err
