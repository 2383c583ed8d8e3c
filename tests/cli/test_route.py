"""``basereward route``: the folder that it writes is a model, and what it refuses."""

import json

import pytest

from basereward.data.work import open_work
from basereward.scoring.spec import open_scorer
from tests.cli.conftest import call

MEMBERS = "members: [{model: 'baseline:longer', name: long}, {model: 'baseline:shorter', name: short}]\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Members, and pairs whose prompts ask for a long or for a short answer."""
    place = tmp_path_factory.mktemp("route")
    (place / "members.yaml").write_text(MEMBERS)
    rows = []
    for number in range(120):
        wanted, answers = (("tell", ["x" * 9, "x"]), ("shorten", ["x", "x" * 9]))[number % 2]
        rows.append({"prompt": f"{wanted} {number}", "chosen": answers[0], "rejected": answers[1]})
    (place / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place


COSTS = ("--cost", "long=1", "--cost", "short=2")


def test_a_router_is_written_with_its_page(folder, tmp_path, capsys):
    out = tmp_path / "router"
    asked = ("route", folder / "members.yaml", folder / "pairs.jsonl", "--out", out, "--budget", "1.6", *COSTS)
    assert call(*asked, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["pairs"], told["router"]["value"], told["regret"]["value"]) == (120, 1.0, 0.0)
    assert told["router_cost"] == told["oracle_cost"] == 1.5
    assert told["experts"]["long"]["accuracy"]["value"] == 0.5
    assert "What is asked" in (out / "report.html").read_text()
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "router.json", "router.yaml"]
    assert open_scorer(str(out / "router.yaml")).options.by == "trained"
    assert call(*asked) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert call(*asked, "--overwrite") == 0
    assert "Pairs held out" in capsys.readouterr().out


def test_a_folder_that_another_process_writes_is_refused(folder, tmp_path, capsys):
    out = tmp_path / "router"
    with open_work(out, out):
        asked = ("route", folder / "members.yaml", folder / "pairs.jsonl", "--out", out, "--budget", "1.6", *COSTS)
        assert call(*asked) == 1
    assert str(out) in capsys.readouterr().err
    assert not (out / "router.json").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "long, short has no weights in this process"),
        (("--cost", "long=1"), "Costs are of long, the members are long, short"),
        (("--cost", "long=0", "--cost", "short=1"), "cost of long is not positive"),
        ((*COSTS, "--budget", "1"), "not shown to be better than long alone"),
    ],
)
def test_what_cannot_be_routed_is_refused_and_leaves_nothing(folder, tmp_path, capsys, options, words):
    assert call("route", folder / "members.yaml", folder / "pairs.jsonl", "--out", tmp_path / "r", *options) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_a_single_model_and_a_wrong_cost_are_refused(folder, tmp_path, capsys):
    (tmp_path / "one.yaml").write_text("model: baseline:longer\n")
    assert call("route", tmp_path / "one.yaml", folder / "pairs.jsonl", "--out", tmp_path / "r") == 1
    assert "no members to choose between" in capsys.readouterr().err
    assert (
        call("route", folder / "members.yaml", folder / "pairs.jsonl", "--out", tmp_path / "r", "--cost", "long") == 2
    )
    assert "--cost is NAME=NUMBER" in capsys.readouterr().err
