"""README and docs: every command line is understood, what is said of the demo's files runs, references are of today."""

import importlib.util
import re
import shlex
import shutil
from pathlib import Path

import click
import pytest
import typer

from basereward.cli.main import app
from basereward.data.storage import write_rows
from basereward.lab.world import draw_rows
from basereward.models import hub

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = {path.name: path.read_text(encoding="utf-8") for path in FILES}
# Nine steps of 128 pairs are for the demo's own data.
SMALL = ["optimizer.max_steps=1", "optimizer.pairs_per_step=8", "hardware.workers=0"]


def blocks(page: str, kind: str) -> list[str]:
    return [
        re.sub(rf"^{found[1]}", "", found[2], flags=re.MULTILINE)
        for found in re.finditer(rf"^( *)```{kind}\n(.*?)^ *```$", PAGES[page], re.MULTILINE | re.DOTALL)
    ]


def command_lines(page: str) -> list[str]:
    """What follows ``basereward`` in the blocks of a page, launchers and variables left out."""
    text = "\n".join(blocks(page, "bash")).replace("\\\n", " ")
    found = [
        re.match(r"\s*(?:\w+=\S*\s+)*(?:(?:torchrun|accelerate|srun|python)\b.*-m )?basereward (.*)", line)
        for line in text.splitlines()
    ]
    return [match[1].partition(" #")[0].strip() for match in found if match]


def header_lines(recipe: Path) -> list[str]:
    """What follows ``basereward`` in the comments of a recipe where it stands on a line of its own."""
    found = re.findall(r"^#   basereward (.*)", recipe.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.split(r" #|   | -> ", line)[0].strip() for line in found]


LINES = [(page, line) for page in PAGES for line in command_lines(page)]
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))
LINES += [(str(path.relative_to(ROOT)), line) for path in RECIPES for line in header_lines(path)]


@pytest.mark.parametrize(("page", "line"), LINES, ids=[f"{page}: {line}" for page, line in LINES])
def test_command_lines_are_understood(page: str, line: str) -> None:
    words = [word for word in shlex.split(line) if word not in ("...", "&", "|")]
    if {"--help", "--version", "-h"} & set(words):
        return
    command, context, name = typer.main.get_command(app), None, "basereward"
    while hasattr(command, "commands"):
        context = click.Context(command, info_name=name, parent=context)
        if name == "rl" and words[0] not in command.commands:
            # As its group does: a recipe is trained.
            words = ["train", *words]
        name, command, words = command.resolve_command(context, words)
    command.make_context(name, words, parent=context)


@pytest.fixture
def demo(tiny, vl_backbone, tmp_path):
    """What the demo leaves, in miniature."""
    folder = tmp_path / "runs" / "demo"
    shutil.copytree(tiny.run, folder)
    (folder / "backbone").symlink_to(vl_backbone)
    (folder / "data").mkdir()
    for name in ("train", "test"):
        write_rows(draw_rows(8, 3), folder / "data" / f"{name}.parquet")
    image = next(row for row in draw_rows(8, 3) if row["images"])["images"][0]
    (folder / "scene.png").write_bytes(image["bytes"] if isinstance(image, dict) else image)
    return folder


@pytest.mark.parametrize("page", ["README.md", "index.md"])
def test_the_python_of_the_demo_runs(demo, page, monkeypatch):
    monkeypatch.chdir(demo.parents[1])
    code = next(block for block in blocks(page, "python") if "from_pretrained" in block)
    exec(compile(code.replace("model.score(", "found = model.score("), page, "exec"), names := {})
    assert len(names["found"]) == 2


def test_the_references_are_of_today(monkeypatch):
    def refuse(*args, **kwargs):
        raise ConnectionError("no network")

    monkeypatch.setattr(hub, "snapshot_download", refuse)
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, text in module.pages().items():
        assert text == (ROOT / "docs" / name).read_text(encoding="utf-8"), "python scripts/reference.py --write"
