"""A command that is given something wrong ends with one line, which names it, and with status 1; nothing is written.

The walk of a new user: a file that is not there, broken, of another kind, a folder instead, a model that is none.
"""

import pytest

from basereward.models import hub
from tests.cli.test_help import COMMANDS

FILES = {
    "broken.jsonl": '{"prompt": ',
    "other.jsonl": '{"x": 1}\n',
    "fake.parquet": "no parquet",
    "broken.yaml": "a: [",
    "list.yaml": "- a\n",
}
PAIRS = ("none.jsonl", "broken.jsonl", "other.jsonl", "fake.parquet")
MODELS = ("./none", "owner/none", "{pairs}", "list.yaml")
RECIPES = ("none.yaml", "broken.yaml", "list.yaml")
# What each command is given with something wrong in one place.
TAKES_PAIRS = (
    "audit baseline:longer --data {wrong}",
    "calibrate baseline:longer {wrong}",
    "data contamination {wrong} --bench {pairs}",
    "data contamination {pairs} --bench {wrong}",
    "data convert {wrong}",
    "data show {wrong}",
    "data split {wrong} --test 0.1",
    "eval baseline:longer --data {wrong}",
    "forecast baseline:longer {wrong}",
    "orders baseline:longer {wrong}",
    "score baseline:longer {wrong}",
    "train {recipe} --data {wrong}",
    "train {recipe} --data {wrong} --plan",
)
TAKES_MODEL = (
    "audit {wrong} --data {pairs}",
    "calibrate {wrong} {pairs}",
    "card {wrong}",
    "data annotate {pairs} --kind thoughts --judge {wrong}",
    "data distill {pairs} --judge {wrong}",
    "data features {wrong} {pairs}",
    "eval {wrong} --data {pairs}",
    "export {wrong}",
    "forecast {wrong} {pairs}",
    "graft {wrong} {model}",
    "import {wrong}",
    "merge {wrong}",
    "orders {wrong} {pairs}",
    "probe {wrong} {pairs} --eval other.jsonl",
    "report {wrong}",
    "score {wrong} {pairs}",
    "serve {wrong} --port 0",
    "soup {model} {wrong}",
    "speed rewards {wrong}",
)
TAKES_RECIPE = (
    "data curate {wrong}",
    "data mix {wrong}",
    "init {wrong}",
    "rl train {wrong}",
    "route {wrong} {pairs}",
    "sweep {wrong}",
    "train {wrong}",
)
# What is drawn or timed takes numbers alone; a policy is shown in command lines before it is there.
NOTHING_TO_GIVE = {
    ("data", "list"),
    ("demo",),
    ("rl", "eval"),
    *(path for path in COMMANDS if path[0] in ("lab", "speed")),
}
CALLS = [(line, wrong) for line in TAKES_PAIRS for wrong in PAIRS]
CALLS += [(line, wrong) for line in TAKES_MODEL for wrong in MODELS]
CALLS += [(line, wrong) for line in TAKES_RECIPE for wrong in RECIPES]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with what a user may give by mistake, and no network."""

    def refuse(*args, **kwargs):
        raise ConnectionError("no network")

    monkeypatch.setattr(hub, "snapshot_download", refuse)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("line", dict.fromkeys(line for line, _ in CALLS))
def test_one_line_says_what_is_wrong(command, tiny, place, line):
    names = tiny._asdict()
    for wrong in [own for asked, own in CALLS if asked == line]:
        given = wrong.format(**names)
        ended = command(*line.format(**names, wrong=given).split())
        assert (ended.code, ended.out) == (1, ""), (wrong, ended)
        last = ended.err.splitlines()[-1]
        assert last.startswith("error: "), (wrong, ended.err)
        assert ended.err.count("error: ") == 1, (wrong, ended.err)
        assert given.removeprefix("./").rpartition("/")[2].partition(".")[0] in last, (wrong, last)
        assert "Traceback" not in ended.err
        assert " at 0x" not in last
    # Nothing is left that a later call would take for work; a recipe alone binds nobody.
    harmless = {*FILES, "recipe.yaml", "identity.json"}
    assert not [path for path in place.rglob("*") if path.is_file() and path.name not in harmless]


def test_every_command_is_given_something_wrong():
    walked = {tuple(word for word in line.split() if word.isalpha())[:2] for line, _ in CALLS}
    assert all(path in walked or path in {one[:1] for one in walked} for path in COMMANDS.keys() - NOTHING_TO_GIVE)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("eval", "give --bench or --data, or both"),
        ("eval baseline:longer --data x --bench judgebench --from-scores y", "give either MODEL or --from-scores"),
        ("data show {pairs} --out page", "ends in .html"),
        ("data contamination {pairs} --bench {pairs} --out drops", "ends in .jsonl"),
        ("calibrate baseline:longer {pairs} --out maps", "ends in .json"),
        ("score baseline:longer", "Missing argument 'IN'"),
        ("soup {model}", "give two or more models"),
        ("report {run} --format pdf", "'pdf' is not one of"),
        ("score baseline:longer {pairs} out.jsonl", "unexpected extra argument"),
        ("data mx x", "No such command 'mx'. Did you mean 'mix'"),
    ],
)
def test_a_call_that_cannot_be_understood_is_one_line_too(command, tiny, line, said):
    ended = command(*line.format(**tiny._asdict()).split())
    assert (ended.code, ended.out) == (2, "")
    [told] = ended.err.splitlines()
    assert told.startswith("error: ")
    assert said in told
    assert told.endswith("--help.")


@pytest.mark.parametrize("line", ["eval baseline:longer --data {pairs}", "data convert {pairs}", "train {recipe}"])
def test_a_file_where_a_folder_is_needed_is_explained(command, tiny, tmp_path, line):
    (tmp_path / "a-file").write_text("x")
    ended = command(*line.format(**tiny._asdict()).split(), "--out", "a-file/inside")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("error: ")
    assert "needs a folder where a file stands" in ended.err
    assert "Choose another place" in ended.err
