"""``basereward report``: pages of runs, comparisons of two, formats, errors."""

import json
import shlex
from pathlib import Path

import pytest

FIXTURES = Path(__file__).parents[1] / "benchmarks" / "fixtures"


@pytest.fixture
def evaluated(command):
    """``evaluated(baseline, *names, options)``: a run on benchmarks of the fixtures in the folder of the baseline."""

    def run(baseline, *names, options=()):
        benches = [word for name in names for word in ("--bench", name)]
        ended = command("eval", f"baseline:{baseline}", *benches, "--data-root", FIXTURES, "--out", baseline, *options)
        assert ended.code == 0

    return run


def test_one_run_gets_its_pages(command, evaluated):
    evaluated("longer", "rm_bench", "judgebench")
    ended = command("report", "longer", "--format", "html", "--format", "markdown")
    assert ended.out.splitlines()[:2] == ["longer/report.html", "longer/report.md"]
    assert all(Path(line).is_file() for line in ended.out.splitlines())
    one = command("report", "longer/rm_bench", "--out", "pages", "--format", "latex", "--json")
    assert one.json == {"files": ["pages/report.tex"]}


def test_two_runs_are_compared(command, evaluated):
    for baseline in ("longer", "shorter"):
        evaluated(baseline, "vl_rewardbench")
    ended = command("report", "longer", "shorter")
    assert ended.code == 0
    for text in ("baseline:longer", "baseline:shorter", "McNemar's exact test", "right only in the first", "macro"):
        assert text in ended.out
    assert ended.out.splitlines()[-1] == "longer/comparison.html"
    assert not Path("longer/report.html").exists()
    found = command("report", "longer/vl_rewardbench", "shorter/vl_rewardbench", "--json", "--out", "both").json
    assert found["files"] == ["both/comparison.html"]
    compared = found["comparisons"]["vl_rewardbench"]
    assert compared["n"] == compared["scored_by_both"] == 3
    assert set(compared["metrics"]["accuracy"]) == {"first", "second", "difference", "low", "high", "p", "n"}


def test_runs_that_cannot_be_compared_say_why(command, evaluated):
    evaluated("longer", "vl_rewardbench")
    evaluated("shorter", "vl_rewardbench", options=("--ties", "half"))
    ended = command("report", "longer", "shorter")
    assert (ended.code, ended.out) == (1, "")
    assert "error: " in ended.err
    assert "protocol: 'official:" in ended.err
    assert not Path("longer/comparison.html").exists()


def test_runs_of_pairs_are_compared_too(command):
    Path("pairs.jsonl").write_text(json.dumps({"prompt": "Why?", "chosen": "Because it is.", "rejected": "No."}) + "\n")
    for baseline in ("longer", "shorter"):
        assert command("eval", f"baseline:{baseline}", "--data", "pairs.jsonl", "--out", baseline).code == 0
    ended = command("report", "longer", "shorter", "--json")
    [compared] = ended.json["comparisons"].values()
    assert compared["counts"]["only_first"] == 1
    assert command("report", "longer", "--format", "pdf").code != 0


def test_more_than_two_runs_are_rows_of_one_table(command, evaluated):
    for baseline in ("longer", "shorter", "random"):
        evaluated(baseline, "vl_rewardbench", "judgebench")
    ended = command("report", "longer", "shorter", "random", "--format", "latex", "--out", "tables")
    assert ended.code == 0
    assert ended.out.splitlines()[-1] == "tables/models.tex"
    for text in ("baseline:random", "vl_rewardbench, r1_reward", "judgebench, official", "published in"):
        assert text in ended.out
    found = command("report", "longer", "shorter", "random", "--json").json
    assert found["files"] == ["longer/models.html"]
    assert len(found["tables"]["judgebench, official"]["rows"]) == 3 + 5


def test_folders_of_an_older_version_say_what_to_do(command):
    Path("old").mkdir()
    Path("old/result.json").write_text(json.dumps({"benchmark": "rm_bench", "scorer": "x", "evaluations": {}}))
    ended = command("report", "old")
    assert (ended.code, ended.out) == (1, "")
    assert "older version" in ended.err
    assert "--overwrite" in ended.err


def test_runs_of_one_recipe_are_one_row_as_the_guide_says(command, evaluated):
    guide = (Path(__file__).parents[2] / "docs" / "reports.md").read_text()
    [line] = [line for line in guide.splitlines() if line.startswith("basereward report runs/a-0")]
    folders = shlex.split(line)[2:]
    for folder in folders:
        recipe, seed = folder.split("/")[1].split("-")
        evaluated("longer", "vl_rewardbench", options=("--out", folder))
        [path] = Path(folder).rglob("result.json")
        told = {"recipe_sha256": recipe * 64, "seed": int(seed), "name": recipe}
        path.write_text(json.dumps(json.loads(path.read_text()) | {"trained_by": told}))
    ended = command(*shlex.split(line)[1:])
    assert ended.code == 0
    assert f"a: 2 runs of recipe {'a' * 12}: {folders[0]} (seed 0), {folders[1]} (seed 1)" in ended.out
    found = command(*shlex.split(line)[1:], "--json").json
    [difference] = found["recipes"][0]["differences"]
    # The same scorer four times: no spread, from which nothing can be told.
    assert (difference["difference"], difference["interval"], difference["exceeds"]) == (0.0, None, "cannot be told")
    # Two runs of one recipe are compared row by row, too.
    both = command("report", *folders[:2], "--json").json
    assert both["comparisons"]["vl_rewardbench"]["counts"]["only_first"] == 0
    assert list(both["recipes"][0]["spreads"]) == ["a"]
