"""What Linux alone has is not asked for where it is missing, and text files are UTF-8 wherever they are written."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from basereward.data import process
from basereward.data.content import file_state
from basereward.data.held import HeldShard, ImagePlace, read_bytes

SOURCES = sorted((Path(__file__).parents[2] / "src" / "basereward").rglob("*.py"))
# As on Windows.
MISSING = """
import os, signal, sys
for name in ("resource", "fcntl"):
    sys.modules[name] = None
del os.fork, os.pread, signal.SIGKILL, signal.SIGHUP
import basereward.data.held, basereward.data.work, basereward.rl.matching.worker
from basereward.cli.main import main
from basereward.data.process import peak_resident_bytes
assert peak_resident_bytes() == 0
main()
"""


def test_commands_start_without_what_windows_lacks():
    ended = subprocess.run([sys.executable, "-c", MISSING, "--help"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "train" in ended.stdout


def test_bytes_are_read_where_a_place_cannot_be_named(tmp_path, monkeypatch):
    (tmp_path / "shard").write_bytes(bytes(range(100)))
    shard = HeldShard(tmp_path / "shard", file_state(tmp_path / "shard"))
    expected = [read_bytes(shard, ImagePlace(start, 5)) for start in (90, 3, 26)]
    monkeypatch.delattr(os, "pread")
    assert [read_bytes(shard, ImagePlace(start, 5)) for start in (90, 3, 26)] == expected
    assert expected[1] == bytes(range(3, 8))


def test_peak_memory_is_in_bytes(monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrusage", lambda who: type("Usage", (), {"ru_maxrss": 3000}))
    for platform, expected in (("linux", 3000 * 1024), ("darwin", 3000)):
        monkeypatch.setattr(sys, "platform", platform)
        assert process.peak_resident_bytes() == expected


def test_text_files_are_utf_8():
    """The default of Windows is another encoding for each country."""
    named = re.compile(r"\.(read_text|write_text|open)\(")
    texts = {path: path.read_text(encoding="utf-8") for path in SOURCES}
    unnamed = [
        f"{path.name}:{node.lineno}"
        for path, text in texts.items()
        if named.search(text)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and is_text(node.func.attr, node)
        if not any(keyword.arg == "encoding" for keyword in node.keywords)
    ]
    assert unnamed == []


def is_text(method: str, call: ast.Call) -> bool:
    if method in ("read_text", "write_text"):
        return method == "write_text" or not call.args
    mode = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
    return method == "open" and mode in ("r", "w", "a", "x", "r+", "w+", "a+")
