"""docs/annotations.md: its commands run as they stand, and its files are what they say."""

import json
import re
import shlex
from pathlib import Path, PurePosixPath

import pytest

from basereward.data.io import read_records
from basereward.data.judging.formats import FORMATS
from basereward.data.judging.official import OFFICIAL
from basereward.data.judging.prompts import make_prompt
from basereward.data.judging.ratings import RATINGS
from basereward.data.manifest import read_manifest
from basereward.data.pairs import load_pairs
from basereward.scoring.annotation.task import ANNOTATION_REASONS
from basereward.scoring.spec import is_judge, open_judge
from tests.cli.conftest import call

GUIDE = (Path(__file__).parents[3] / "docs" / "annotations.md").read_text()
BLOCKS = [(found[1], found[2]) for found in re.finditer(r"^```(\w+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)]
ADDRESS = "http://127.0.0.1:8000/v1"


def block(kind):
    return next(text for own, text in BLOCKS if own == kind)


@pytest.fixture
def address(chat_server):
    def answer(request):
        if request.body is None:
            return (200, {"data": [{"id": "m"}]}, {})
        shown = [word in request.text for word in ("apple", "pear")]
        place = 1 + (all(shown) and request.text.index("apple") > request.text.index("pear"))
        if "Answer 1 or 2" in request.text:
            return str(place)
        if all(shown):
            return f"<think>It is {place}.</think><answer>{place}</answer>"
        return f"A fruit.\nScore: {9 if shown[0] else 2}"

    return chat_server(answer).url


def test_the_commands_run(address, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"Q{n}?", "chosen": "apple", "rejected": "pear"} for n in range(3)]
    Path("pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for line in block("bash").splitlines():
        assert call(*shlex.split(line.replace(ADDRESS, address))[1:]) == 0
    for folder, column in (("thoughts", "thoughts"), ("critiques", "critiques"), ("distilled", "weight")):
        assert column in load_pairs([f"data/{folder}"]).pairs[0].extra
        assert [use.wrote for use in read_manifest(Path("data") / folder).judges] in (
            [[folder], ["preferences"]] if folder == "distilled" else [[folder]]
        )
        assert not list(read_records(Path("data") / folder / "dropped.jsonl"))
    assert "3 of 3 have thoughts" in capsys.readouterr().out


def test_the_files_are_read(address, tmp_path, say):
    (tmp_path / "judge.yaml").write_text(block("yaml").replace(ADDRESS, address))
    judge = open_judge(str(tmp_path / "judge.yaml"))
    assert is_judge(str(tmp_path / "judge.yaml"))
    assert (judge.prompt.max_tokens, judge.options.concurrency) == (4096, 32)
    (tmp_path / "mine.txt").write_text(block("text"))
    assert make_prompt(str(tmp_path / "mine.txt")).max_tokens == 1024


def test_every_name_and_reason_is_explained():
    for name in (*FORMATS.names(), *RATINGS.names(), *OFFICIAL.names(), *ANNOTATION_REASONS):
        assert f"`{name}" in GUIDE, name
    for name in OFFICIAL.names():
        own = OFFICIAL.get(name)
        assert f"{PurePosixPath(own.file).name}`" in GUIDE
        assert own.form == "none" or f"`{own.form}`" in GUIDE
        assert own.max_tokens == 4096
