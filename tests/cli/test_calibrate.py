"""``basereward calibrate``: docs/calibration.md runs as it stands, and what the command prints, writes and refuses."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import call

GUIDE = (Path(__file__).parents[2] / "docs" / "calibration.md").read_text()
BLOCKS = [(found[1], found[2]) for found in re.finditer(r"^```(\w+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)]
MODEL = "runs/demo/model"


def write_pairs(path, likely, seed=0, count=500):
    """Write pairs of which the longer response wins as ``likely`` says of both numbers of characters."""
    rng = np.random.default_rng(seed)
    lines = []
    for number in range(count):
        texts = ["x" * int(size) for size in rng.integers(20, 400, 2)]
        first = rng.random() < likely(len(texts[0]), len(texts[1]))
        chosen, rejected = texts if first else texts[::-1]
        lines.append(json.dumps({"prompt": f"Q {seed} {number}", "chosen": chosen + "a", "rejected": rejected + "b"}))
    Path(path).write_text("\n".join(lines) + "\n")


def likely(one, other):
    return 1 / (1 + np.exp((other - one) / 100))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_pairs("pairs.jsonl", likely)
    write_pairs("other.jsonl", likely, 1)
    return tmp_path


def test_the_guide_runs(folder, capsys):
    scope = {}
    for kind, text in BLOCKS:
        own = text.replace(MODEL, "baseline:longer")
        if kind == "yaml":
            Path("calibrated.yaml").write_text(own)
        elif kind == "python":
            exec(own, scope)
        else:
            for line in own.splitlines():
                assert call(*shlex.split(line)[1:]) == 0
    assert scope["scorer"].calibration.maps.scale.text == pytest.approx(100, rel=0.15)
    assert json.loads(Path("zscore.json").read_text())["maps"]["scale"]["kind"] == "zscore"
    page = Path("calibration.html").read_text()
    for text in ("What is gained", "The choice", "scale: temperature", "Reliability", "baseline:longer"):
        assert text in page
    printed = capsys.readouterr().out
    assert "margins as log odds: ECE " in printed
    [result] = Path("runs").glob("*/*/result.json")
    reliability = json.loads(result.read_text())["reliability"]
    assert reliability["ece"] < 0.1
    assert len(reliability["bins"]) == 10


def test_json_is_the_file_and_its_names(folder, capsys):
    assert call("calibrate", "baseline:longer", "pairs.jsonl", "--out", "out.json", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed.pop("files") == ["out.json", "out.yaml", "out.html"]
    assert printed == json.loads(Path("out.json").read_text())


def test_nothing_to_remove_is_status_1_and_no_file(folder, capsys):
    write_pairs("chance.jsonl", lambda one, other: 0.5 + 0.1 * np.sign(one - other) * (abs(one - other) < 2))
    assert call("calibrate", "baseline:random", "chance.jsonl", "--out", "out.json") == 1
    assert "error: " in capsys.readouterr().err
    assert not Path("out.json").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "out.txt"], "ends in .json"),
        (["--out", "out.json", "--maps", "zscor"], "--maps takes zscore"),
        (["--out", "out.json", "--alpha", "0"], "alpha"),
    ],
)
def test_a_wrong_call_is_status_2(folder, capsys, arguments, said):
    assert call("calibrate", "baseline:longer", "pairs.jsonl", *arguments) == 2
    assert said in " ".join(capsys.readouterr().err.replace("\u2502", " ").split())


def test_two_scales_are_refused_before_anything_is_scored(folder, capsys):
    assert call("calibrate", "baseline:longer", "none.jsonl", "--out", "out.json", "--maps", "zscore,isotonic") == 1
    assert "zscore and isotonic are scales; ask for one of them" in capsys.readouterr().err
