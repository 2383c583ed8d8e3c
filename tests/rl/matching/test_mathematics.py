"""Formulas are compared in another process and in time; a comparison that was killed is no wrong answer."""

import importlib.util
import os
import time
from pathlib import Path

import pytest

from basereward.errors import MissingExtraError
from basereward.rl.matching import mathematics
from basereward.rl.matching.match import match
from basereward.rl.matching.mathematics import MathWorker

# Stands for math-verify: its two functions, one answer that never ends, and one that needs all memory.
STAND_IN = """
import os, sys

print("libraries print")

def parse(text, parsing_timeout=5):
    assert parsing_timeout is None
    return [text.strip("$")]

def verify(gold, answer, timeout_seconds=5):
    assert timeout_seconds is None
    if answer == ["endless"]:
        while True:
            pass
    if answer == ["memory"]:
        bytearray(2 ** 60)
    if answer == ["crash"]:
        os.abort()
    if answer == ["write"]:
        open(os.environ["WRITTEN"], "w").write("x" * 100)
    if answer == ["broken"]:
        raise ValueError(answer)
    return gold == answer
"""


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    """A worker with a stand-in for math-verify."""
    folder = tmp_path_factory.mktemp("stand-in")
    (folder / "math_verify.py").write_text(STAND_IN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        patch.setenv("WRITTEN", str(folder / "written"))
        made = MathWorker(seconds=0.3)
        yield made
        made.close()


def test_a_comparison_ends_in_time_and_is_no_wrong_answer(worker):
    assert worker.same("x", "x") is True
    assert worker.same("y", "x") is False
    process = worker._process
    start = time.monotonic()
    assert worker.same("endless", "x") is None
    assert time.monotonic() - start < 5
    # The process that has imported everything lives on.
    assert worker.same("x", "x") is True
    assert worker._process is process


def test_what_breaks_in_a_comparison_stays_there(worker):
    assert worker.same("memory", "x") is None
    assert worker.same("crash", "x") is None
    assert worker.same("broken", "x") is False
    assert worker.same("write", "x") is False
    written = Path(os.environ["WRITTEN"])
    assert not written.exists() or not written.read_text()
    assert worker.same("x", "x") is True


def test_a_worker_that_was_killed_is_started_again(worker):
    assert worker.same("x", "x") is True
    worker._process.kill()
    worker._process.wait()
    assert worker.same("x", "x") is True


def test_a_library_that_cannot_be_imported_is_named(tmp_path, monkeypatch):
    (tmp_path / "math_verify.py").write_text("raise ImportError('half installed')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    with pytest.raises(MissingExtraError, match="import math_verify"):
        MathWorker().same("x", "x")


def test_the_result_tells_a_timeout_from_a_wrong_answer(worker, monkeypatch):
    monkeypatch.setattr(mathematics, "_WORKER", worker)
    monkeypatch.setattr(mathematics, "has_extra", lambda: True)
    monkeypatch.setattr("basereward.rl.matching.match.has_extra", lambda: True)
    assert match(r"\boxed{endless}", "x^2") == (False, "endless", "timeout")
    assert match(r"\boxed{x^3}", "x^2") == (False, "x^3", "math")
    # What would fill any memory is not even asked.
    monkeypatch.setattr(mathematics, "_WORKER", None)
    for answer in (r"9^{9^{9}}", "99999999!", "((" * 20 + "))" * 20, "1" * 100, r"x^{99999}", "x" * 600):
        assert match(rf"\boxed{{{answer}}}", "x^2").method == "too_long"


@pytest.mark.skipif(importlib.util.find_spec("math_verify") is None, reason="needs the extra math")
@pytest.mark.parametrize(
    ("answer", "gold", "expected"),
    [
        ("x^2+2x+1", "(x+1)^2", True),
        (r"\boxed{\frac{\pi}{2}}", r"\frac{1}{2}\pi", True),
        (r"\boxed{\sqrt{8}}", r"2\sqrt{2}", True),
        (r"\boxed{x^3}", "x^2", False),
    ],
)
def test_equal_formulas_match(answer, gold, expected):
    found = match(answer, gold)
    assert (found.matched, found.method) == (expected, "math")
