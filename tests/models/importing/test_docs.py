"""The page says what the command does: its block runs on a tiny checkpoint."""

import re
from pathlib import Path

from typer.testing import CliRunner

from basereward.cli.main import app
from basereward.models.hub import open_folder

GUIDE = (Path(__file__).parents[3] / "docs" / "checkpoints.md").read_text(encoding="utf-8")


def test_the_command_of_the_page_writes_a_backbone(write_tiny, tmp_path, monkeypatch):
    source, _ = write_tiny()
    [line] = re.findall(r"```bash\nbasereward (import .+)\n```", GUIDE)
    words = line.replace("OpenGVLab/InternVL2-8B", str(source), 1).split()
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(app, words)
    assert ended.exit_code == 0, ended.output
    assert ended.output.startswith(f"backbone {words[-1]}\nnext     basereward init ")
    assert open_folder(words[-1]).config.model_type == "internvl"
