"""Scored files in small: a scorer by length, and files of pairs."""

import json
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from basereward.data.images import load_image
from basereward.data.outcomes import About, Failure, Score
from basereward.errors import RowError


@dataclass
class LengthScorer:
    """Scores by length; reads every image, refuses the word 'long', and remembers the groups."""

    name: str = "length"
    seen: list = field(default_factory=list)

    @property
    def about(self):
        return About(self.name, sees_images=True)

    def score(self, groups):
        self.seen += groups
        return [[self._score(group, response) for response in group.responses] for group in groups]

    def _score(self, group, response):
        try:
            sizes = [load_image(image).width for image in group.images]
        except RowError as error:
            return Failure(error.reason, str(error))
        if "long" in response.text:
            return Failure("too_long", "shorten it")
        return Score(len(response.text) + 100.0 * sum(sizes))


class WritingScorer(LengthScorer):
    """The same, and says of every response what it is about."""

    @property
    def about(self):
        return About(self.name, sees_images=True, writes=True)

    def _score(self, group, response):
        scored = super()._score(group, response)
        return scored if isinstance(scored, Failure) else replace(scored, text=f"on {response.text}")


def pair(number, **extra):
    return {"prompt": f"Question {number}?", "chosen": f"answer {'x' * (number % 7)}", "rejected": "no", **extra}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def lines(path):
    return [json.loads(line) for line in path.read_text().split("\n") if line]


@pytest.fixture
def many(tmp_path):
    """A file of 150 pairs: more than two batches, each fourth with extra columns."""
    rows = [pair(number, **({"axis": [number], "note": None} if number % 4 == 0 else {})) for number in range(150)]
    return write(tmp_path / "many.jsonl", rows)


def folder_contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def kill_jobs(kills, model, source, folder, *settings, seed=0):
    """Kill bulk jobs, see ``bulk_kills.py``; their scores are those of one left alone, byte for byte."""
    command = [
        sys.executable,
        Path(__file__).with_name("bulk_kills.py"),
        kills,
        seed,
        model,
        source,
        folder,
        *map(json.dumps, settings),
    ]
    ended = subprocess.run([*map(str, command)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout.splitlines()[-1])
    assert len(told["done"]) == kills
    for name in told["jobs"]:
        assert folder_contents(folder / name) == folder_contents(folder / "whole"), told
    assert not list(folder.glob("*.partial"))
    return told


@pytest.fixture
def records(tmp_path):
    (tmp_path / "in").mkdir()
    for n in range(3):
        write(tmp_path / "in" / f"{n}.jsonl", [pair(m, chosen="" if m % 9 == 0 else "yes") for m in range(200)])
    return tmp_path / "in"
