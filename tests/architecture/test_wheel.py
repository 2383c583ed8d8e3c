"""What is built to be installed holds the whole package, and README is true of it in an empty folder."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement

import basereward

ROOT = Path(__file__).parents[2]
NEEDED = ("pyproject.toml", "README.md", "LICENSE", "recipes", "src")
GENERATED = shutil.ignore_patterns("__pycache__", "*.egg-info")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A wheel and a source archive, built of a copy: a build folder keeps what was deleted."""
    place = tmp_path_factory.mktemp("build")
    (place / "tree").mkdir()
    for name in NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, place / "tree" / name, symlinks=True, ignore=GENERATED)
        else:
            shutil.copy(ROOT / name, place / "tree" / name)
    return SimpleNamespace(**{kind: build(kind, place / "tree", place / kind) for kind in ("wheel", "sdist")})


def build(kind: str, tree: Path, out: Path) -> Path:
    code = f"from setuptools import build_meta; build_meta.build_{kind}({str(out)!r})"
    out.mkdir()
    subprocess.run([sys.executable, "-c", code], cwd=tree, check=True, capture_output=True)
    [file] = out.iterdir()
    return file


def test_wheel_and_source_archive_hold_the_package(built):
    with zipfile.ZipFile(built.wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        information = f"basereward-{basereward.__version__}.dist-info"
        facts = message_from_bytes(archive.read(f"{information}/METADATA"))
        entries = archive.read(f"{information}/entry_points.txt").decode()
    # Links are followed here as well: the recipes stand at the root of the repository.
    files = {
        (Path(folder) / name).relative_to(ROOT / "src").as_posix()
        for folder, _, inner in os.walk(ROOT / "src" / "basereward", followlinks=True)
        for name in inner
        if "__pycache__" not in folder
    }
    assert {name for name in names if name.startswith("basereward/")} == files
    assert {"basereward/py.typed", "basereward/recipes/tiny.yaml", "basereward/recipes/paper/default.yaml"} <= files
    assert f"{information}/licenses/LICENSE" in names
    with tarfile.open(built.sdist) as archive:
        sources = {member.name.partition("/")[2] for member in archive if member.isfile()}
    assert sources >= {f"src/{name}" for name in files} | {"pyproject.toml", "README.md", "LICENSE"}
    assert facts["License-Expression"] == "Apache-2.0"
    assert "basereward = basereward.cli.main:main" in entries


def test_the_changelog_tells_the_version():
    found = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert found[:2] == ["Unreleased", basereward.__version__]


def test_a_container_gets_pinned_versions_and_no_more_than_it_copies():
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^FROM python:3\.\d+\.\d+-slim", text, re.MULTILINE)
    assert re.search(r"^USER (?!root)", text, re.MULTILINE)
    sources = [source for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE) for source in line.split()[:-1]]
    assert set(NEEDED) | {"requirements.txt"} == {source.removeprefix("./") for source in sources}
    kept = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(kept) == set(sources)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [Requirement(one) for one in project["dependencies"] + project["optional-dependencies"]["serve"]]
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = {pin.name: pin.specifier for pin in map(Requirement, lines)}
    for one in asked:
        [pin] = pins[one.name]
        assert one.specifier.contains(pin.version), f"{one} is pinned to {pin}"


@pytest.mark.slow
def test_readme_runs_from_an_empty_folder_with_the_wheel(built, tmp_path):
    venv.create(tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    [site] = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    # The dependencies of this environment without its own basereward, whose .pth is not read from here.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(built.wheel)], check=True)
    empty = tmp_path / "empty"
    empty.mkdir()
    hidden = ("PYTHONPATH", "VIRTUAL_ENV")
    surroundings = {name: value for name, value in os.environ.items() if name not in hidden}
    surroundings["PATH"] = f"{python.parent}{os.pathsep}{os.environ['PATH']}"

    def run(*words: str) -> str:
        ended = subprocess.run(words, cwd=empty, env=surroundings, capture_output=True, text=True)
        assert ended.returncode == 0, f"{shlex.join(words)}\n{ended.stderr}"
        return ended.stdout

    assert Path(run("python", "-c", "import basereward; print(basereward.__file__)").strip()).is_relative_to(site)
    assert "paper/default" in run("basereward", "init", "--list")
    # As few steps as leave all files: how good the model is, is asked elsewhere.
    run("basereward", "demo", "--steps", "20")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    ran = 0
    for block in re.findall(r"^```bash\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["basereward"] and "runs/demo/data" in line:
                run(*words)
                ran += 1
    assert ran >= 3
    for block in re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL):
        run("python", "-c", block)
