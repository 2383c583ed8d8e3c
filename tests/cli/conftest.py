"""The command line called in this process, and a tiny world for it to work on."""

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import pytest

RECIPE = """\
name: tiny
model: {{backbone: {backbone}}}
data: {{train: [{folder}/pairs.jsonl]}}
optimizer: {{pairs_per_step: 8, max_steps: 2}}
hardware: {{precision: fp32, workers: 0, use_cpu: true}}
"""


class Ended(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON value on stdout."""
        return json.loads(self.out)


class Tiny(NamedTuple):
    """A folder with ``pairs.jsonl`` (24 pairs), ``recipe.yaml`` and a trained run in ``run/``."""

    folder: Path
    pairs: Path
    recipe: Path
    run: Path
    model: Path


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Files read into Arrow are cached in a folder of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        yield


def call(*arguments: object) -> int:
    """Run ``basereward`` with arguments in this process and return its exit code."""
    from basereward.cli.main import main

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["basereward", *map(str, arguments)])
        for name in ("OMP_WAIT_POLICY", "TOKENIZERS_PARALLELISM"):
            patch.setenv(name, "false" if name == "TOKENIZERS_PARALLELISM" else "PASSIVE")
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0)
    return 0


@pytest.fixture(scope="session")
def basereward():
    """``basereward(*arguments)``: the exit code of a command, for fixtures that outlive a test."""
    return call


@pytest.fixture
def command(capsys, monkeypatch, tmp_path):
    """``command(*arguments)``: run in a fresh working directory; returns the code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Ended:
        capsys.readouterr()
        code = call(*arguments)
        printed = capsys.readouterr()
        return Ended(code, printed.out, printed.err)

    return run


@pytest.fixture(scope="session")
def tiny(vl_backbone, tmp_path_factory) -> Tiny:
    """A world, a recipe, and a run of two steps; do not change them."""
    folder = tmp_path_factory.mktemp("tiny")
    pairs, recipe, run = folder / "pairs.jsonl", folder / "recipe.yaml", folder / "run"
    recipe.write_text(RECIPE.format(backbone=vl_backbone, folder=folder))
    assert call("lab", "world", "--out", pairs, "--pairs", 24) == 0
    assert call("train", recipe, "--out", run) == 0
    return Tiny(folder, pairs, recipe, run, run / "model")
